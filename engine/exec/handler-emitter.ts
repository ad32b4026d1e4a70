/** The interpreter's handlers: an Operation with its operands taken from the decoded record and the CPU state. */
import { Vector } from '../cpu/events.ts';
import { fieldAddress, gprAddress, segmentAddress, vectorAddress } from '../cpu/state-layout.ts';
import type { InstructionForm } from '../isa/form.ts';
import { HALF_BYTES } from '../isa/halves.ts';
import type { OperandWidth } from '../isa/operand.ts';
import type { AddressRef, Operation, RegisterRef, SegmentRef } from '../isa/operation.ts';
import { FunctionBody, memoryOp, op } from '../wasm/encoder.ts';
import { Exit } from './exits.ts';
import type { AddressingForm } from './operand-emitter.ts';
import { OperationEmitter } from './operation-emitter.ts';
import { LINK_DISPATCH, LINK_UNRESOLVED, RECORD_BYTES, record } from './record.ts';
import { emitEnterBlock, SharedFunction, SharedType } from './shared-functions.ts';
import { emitStringBulk } from './string-bulk.ts';
import { loadValue, storeValue } from './value-types.ts';

/** Index of the only parameter of a handler: the record's address. */
const REC = 0;

/** What distinguishes two handlers. */
export interface HandlerForm extends AddressingForm {
  readonly form: InstructionForm;
  readonly hasIndex: boolean;
}

export const handlerKey = (handler: HandlerForm): string =>
  [
    handler.form.key,
    handler.segmentation,
    handler.hasIndex && '+index',
    handler.branchesAstray && `+astray-${handler.branchesAstray}`,
  ]
    .filter(Boolean)
    .join(' ');

/** Encodes the body of the handler. */
export function emitHandler(handler: HandlerForm): Uint8Array {
  return new HandlerEmitter(handler).run();
}

class HandlerEmitter extends OperationEmitter {
  readonly #handler: HandlerForm;

  constructor(handler: HandlerForm) {
    super(new FunctionBody(1), handler);
    this.#handler = handler;
  }

  run(): Uint8Array {
    const { operation } = this.#handler.form;
    if (operation.transfer?.kind === 'repeat') this.#bulk();
    const { condition, target } = this.emitOperation(operation);
    const { transfer } = operation;
    if (!transfer) this.#next();
    else if (transfer.kind === 'indirect') this.#indirect(target as number);
    else if (transfer.kind === 'repeat') this.#repeat(condition as number);
    else if (condition !== undefined) this.#conditional(condition);
    else this.#follow(record.taken, () => this.#emitBranchTarget(true));
    return this.body.bytes();
  }

  #bulk(): void {
    emitStringBulk(this.body, this.#handler.form, this.form, {
      emitBase: (address) => this.emitSegmentBase(address),
      emitAddress: (address) => this.emitSegmentAddress(address),
    });
  }

  #state(name: keyof typeof fieldAddress): FunctionBody {
    return this.body.i32(fieldAddress[name]);
  }
  #field(opcode: number, offset: number): FunctionBody {
    return this.body.get(REC).memory(opcode, offset);
  }

  // ---- operands ----------------------------------------------------------------------------------------------------

  #emitRegisterAddress(register: RegisterRef): void {
    const { body } = this;
    switch (register.kind) {
      case 'operand':
        this.#field(memoryOp.i32Load, record.register + 4 * register.position);
        return;
      case 'gpr':
        body.i32(gprAddress(register.number) + (register.high ? 1 : 0));
        return;
      case 'vector':
        body.i32(vectorAddress(register.number));
        return;
      case 'state':
        body.i32(fieldAddress[register.field]);
    }
  }
  protected override emitRegister(register: RegisterRef): void {
    this.#emitRegisterAddress(register);
    loadValue(this.body, register.width, halfOffset(register));
  }
  protected override beginCommit(register: RegisterRef): void {
    this.#emitRegisterAddress(register);
  }
  protected override endCommit(register: RegisterRef): void {
    const { body } = this;
    const extends64 = register.width === 32 && register.kind !== 'state';
    if (extends64) body.emit(op.i64ExtendI32U);
    storeValue(body, extends64 ? 64 : register.width, halfOffset(register));
  }
  protected override emitImmediate(position: number, width: OperandWidth): void {
    const immediates = this.#handler.form.operands.filter((o) => o.kind === 'immediate');
    const second = immediates.findIndex((o) => o.position === position) === 1;
    const offset = second ? record.immediate2 : record.immediate;
    this.#field(width === 64 ? memoryOp.i64Load : memoryOp.i32Load, offset);
  }
  protected override emitEffectiveAddress(): void {
    const { body } = this;
    this.#field(memoryOp.i32Load, record.base).memory(memoryOp.i64Load);
    if (this.#handler.hasIndex) {
      this.#field(memoryOp.i32Load, record.index).memory(memoryOp.i64Load);
      this.#field(memoryOp.i64Load32U, record.shift).emit(op.i64Shl, op.i64Add);
    }
    this.#field(memoryOp.i64Load, record.displacement).emit(op.i64Add);
    if (this.form.addressSize < 64) body.i64((1n << BigInt(this.form.addressSize)) - 1n).emit(op.i64And);
  }
  protected override emitSegmentBase(address: AddressRef): void {
    this.emitSegmentAddress(address);
    this.body.memory(memoryOp.i64Load);
  }
  protected override emitSegmentAddress(address: AddressRef): void {
    const segment: SegmentRef = address.kind === 'operand' ? { kind: 'operand' } : address.segment;
    if (segment.kind === 'operand') this.#field(memoryOp.i32Load, record.segment);
    else this.body.i32(fixedSegmentAddress(segment.index, this.form));
  }
  protected override emitNextIp(): void {
    this.#state('pageBase').memory(memoryOp.i64Load);
    this.#field(memoryOp.i64Load32U, record.nextOffset).emit(op.i64Add);
    this.#cutToCode();
  }
  /** A branch with a 16-bit operand size cuts RIP to 16 bits; a REP that repeats does not. */
  #emitBranchTarget(branches: boolean): void {
    this.#state('pageBase').memory(memoryOp.i64Load);
    this.#field(memoryOp.i64Load, record.immediate).emit(op.i64Add);
    this.#cutToCode();
    if (branches && this.#handler.form.sizes.operandSize === 16) this.body.i64(0xffffn).emit(op.i64And);
  }
  #cutToCode(): void {
    if (this.form.segmentation === 'legacy') this.body.i64(0xffff_ffffn).emit(op.i64And);
  }

  /** Outside of 64-bit code, #GP(0) also for a branch that is taken beyond the limit of CS. */
  protected override checkBranch(condition: number | undefined, operation: Operation): void {
    super.checkBranch(condition, operation);
    if (this.form.segmentation === 'long') return;
    this.#emitBranchTarget(true);
    this.emitIsBeyondLimit();
    if (condition !== undefined) this.body.get(condition).emit(op.i32And);
    this.body.if();
    this.emitFault(Vector.GP, 0);
    this.body.end();
  }

  // ---- flags -------------------------------------------------------------------------------------------------------

  protected override emitFlagsResult(): void {
    this.#state('flagsResult').memory(memoryOp.i64Load);
  }
  protected override emitFlagsAux(): void {
    this.#state('flagsAux').memory(memoryOp.i64Load);
  }
  protected override storeFlagsResult(emitValue: () => void): void {
    this.#state('flagsResult');
    emitValue();
    this.body.memory(memoryOp.i64Store);
  }
  protected override storeFlagsAux(emitValue: () => void): void {
    this.#state('flagsAux');
    emitValue();
    this.body.memory(memoryOp.i64Store);
  }

  // ---- leaving -----------------------------------------------------------------------------------------------------

  protected override emitRecord(): void {
    this.body.get(REC);
  }
  protected override emitEventExit(): void {
    this.#state('exitRecord').get(REC).memory(memoryOp.i32Store);
    this.body.i32(Exit.Event).emit(op.return);
  }

  #next(): void {
    const { body } = this;
    if (this.stopLocal !== undefined) {
      body.get(this.stopLocal).if();
      this.#state('exitRecord').get(REC).memory(memoryOp.i32Store);
      body.i32(Exit.StopAfter).emit(op.return).end();
    }
    body.get(REC).i32(RECORD_BYTES).emit(op.i32Add).tee(REC);
    body.get(REC).memory(memoryOp.i32Load, record.handler).returnCallIndirect(SharedType.handler);
  }

  /** Leaves at `state.rip` if a memory access asked to. */
  #stopAtTarget(emitTarget: () => void): void {
    if (this.stopLocal === undefined) return;
    this.body.get(this.stopLocal).if();
    this.#setRip(emitTarget);
    this.body.i32(Exit.StopAtTarget).emit(op.return).end();
  }

  #setRip(emitTarget: () => void): void {
    this.#state('rip');
    emitTarget();
    this.body.memory(memoryOp.i64Store);
  }

  #indirect(target: number): void {
    const emitTarget = () => {
      this.body.get(target);
      this.#cutToCode();
    };
    this.#stopAtTarget(emitTarget);
    this.#setRip(emitTarget);
    this.body.get(REC).returnCall(SharedFunction.dispatch);
  }

  #conditional(condition: number): void {
    this.body.get(condition).if();
    this.#follow(record.taken, () => this.#emitBranchTarget(true));
    this.body.end();
    this.#follow(record.fallThrough, () => this.emitNextIp());
  }

  /** Who leaves with RIP at an instruction that goes on says so: an interrupt that is taken there saves RF as 1. */
  #repeat(condition: number): void {
    this.body.get(condition).if();
    this.#follow(record.taken, () => {
      this.#setRepeating(1);
      this.#emitBranchTarget(false);
    });
    this.body.end();
    this.#setRepeating(0);
    this.#follow(record.fallThrough, () => this.emitNextIp());
  }
  #setRepeating(value: 0 | 1): void {
    this.#state('repeating').i32(value).memory(memoryOp.i32Store);
  }

  /** Goes to a direct successor: by its link if it is resolved, else through the jump cache or the run loop. */
  #follow(linkOffset: number, emitTarget: () => void): void {
    const { body } = this;
    this.#stopAtTarget(emitTarget);
    const link = body.local(0x7f);
    this.#field(memoryOp.i32Load, linkOffset).tee(link).i32(LINK_DISPATCH).emit(op.i32LeU).if();
    this.#setRip(emitTarget);
    body.get(link).i32(LINK_UNRESOLVED).emit(op.i32Eq).if();
    this.#state('linkSite').get(REC).i32(linkOffset).emit(op.i32Add).memory(memoryOp.i32Store);
    body.i32(Exit.Lookup).emit(op.return).end();
    body.get(REC).returnCall(SharedFunction.dispatch).end();
    emitEnterBlock(body, link, () => this.#setRip(emitTarget));
  }
}

export const halfOffset = (register: RegisterRef): number =>
  'half' in register && register.half === 1 ? HALF_BYTES : 0;

/** In 64-bit code the bases of ES, CS, SS and DS are taken as 0 (SDM volume 1, "Segmentation in 64-Bit Mode"). */
export function fixedSegmentAddress(index: number, form: AddressingForm): number {
  return form.segmentation === 'long' && index < 4 ? fieldAddress.zero : segmentAddress(index);
}

/** Handler of the pseudo-record that ends a block without a transfer: goes on at the next instruction. */
export function emitFallThrough(): Uint8Array {
  const f = new FunctionBody(1);
  const link = f.local(0x7f);
  const setRip = () => {
    f.i32(fieldAddress.rip).i32(fieldAddress.pageBase).memory(memoryOp.i64Load);
    f.get(REC).memory(memoryOp.i64Load32U, record.nextOffset).emit(op.i64Add).memory(memoryOp.i64Store);
  };
  f.get(REC).memory(memoryOp.i32Load, record.fallThrough).tee(link).i32(LINK_DISPATCH).emit(op.i32LeU).if();
  setRip();
  f.get(link).i32(LINK_UNRESOLVED).emit(op.i32Eq).if();
  f.i32(fieldAddress.linkSite).get(REC).i32(record.fallThrough).emit(op.i32Add).memory(memoryOp.i32Store);
  f.i32(Exit.Lookup).emit(op.return).end();
  f.get(REC).returnCall(SharedFunction.dispatch).end();
  emitEnterBlock(f, link, setRip);
  return f.bytes();
}

/** Handler of a marked instruction: leaves before it. */
export function emitMarkHandler(): Uint8Array {
  const f = new FunctionBody(1);
  f.i32(fieldAddress.exitRecord).get(REC).memory(memoryOp.i32Store);
  f.i32(fieldAddress.rip).i32(fieldAddress.pageBase).memory(memoryOp.i64Load);
  f.get(REC).memory(memoryOp.i64Load32U, record.nextOffset).emit(op.i64Add).memory(memoryOp.i64Store);
  return f.i32(Exit.Mark).bytes();
}
