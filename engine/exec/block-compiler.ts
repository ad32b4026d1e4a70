/**
 * The second execution of the same semantics: a loop of one block as one WebAssembly function, registers and flags in
 * locals, operands as constants. State is spilled on the way out only; every exit is exact.
 */
import { fieldAddress, gprAddress } from '../cpu/state-layout.ts';
import type { DecodedInstruction } from '../isa/decode.ts';
import { formOf, type InstructionForm } from '../isa/form.ts';
import type { OperandWidth } from '../isa/operand.ts';
import type { AddressRef, RegisterRef } from '../isa/operation.ts';
import { FunctionBody, I32, I64, memoryOp, op } from '../wasm/encoder.ts';
import type { Block } from './block.ts';
import { handlerForm } from './code-cache.ts';
import { Exit } from './exits.ts';
import { fixedSegmentAddress } from './handler-emitter.ts';
import { DefinedFunctionList } from './module-parts.ts';
import type { AddressingForm } from './operand-emitter.ts';
import { OperationEmitter } from './operation-emitter.ts';
import { RECORD_BYTES } from './record.ts';
import { SharedType } from './shared-functions.ts';

interface Step {
  readonly instruction: DecodedInstruction;
  readonly form: InstructionForm;
  readonly addressing: AddressingForm;
  readonly record: number;
}

/** Whether the block's last instruction goes back to its first. */
export function isLoop(block: Block): boolean {
  const last = block.instructions[block.count - 1];
  if (!last || block.pages.length !== 1) return false;
  const transfer = formOf(last, block.location.stackSize)?.operation.transfer;
  if (transfer?.kind !== 'direct') return false;
  const target = last.operands.find((operand) => operand.kind === 'near-branch')?.value;
  return target !== undefined && BigInt.asIntN(64, target) === BigInt(block.location.rip);
}

/** A module that exports the loop as `run`, with a handler's signature. */
export function compileLoop(block: Block): Uint8Array {
  const parts = new DefinedFunctionList({ withDispatcher: false });
  parts.add({ type: SharedType.handler, body: new LoopEmitter(block).run(), export: 'run' });
  return parts.encode();
}

const NO_FORM: AddressingForm = { segmentation: 'long', addressSize: 64 };

class LoopEmitter extends OperationEmitter {
  readonly #steps: readonly Step[];
  readonly #block: Block;
  readonly #registers = new Map<number, number>();
  readonly #result: number;
  readonly #aux: number;
  #step: Step;

  constructor(block: Block) {
    super(new FunctionBody(1), NO_FORM);
    this.#block = block;
    this.#steps = block.instructions.map((instruction, index) => stepOf(block, instruction, index));
    this.#step = this.#steps[0] as Step;
    this.#result = this.body.local(I64);
    this.#aux = this.body.local(I64);
    for (let number = 0; number < 16; number++) this.#registers.set(number, this.body.local(I64));
  }

  run(): Uint8Array {
    const { body } = this;
    this.#load();
    this.stopLocal = body.local(I32);
    body.loop();
    for (const step of this.#steps) this.#emitStep(step);
    body.end();
    return body.emit(op.unreachable).bytes();
  }

  #emitStep(step: Step): void {
    const { body } = this;
    this.#step = step;
    this.startInstruction(step.addressing);
    const { condition } = this.emitOperation(step.form.operation);
    if (step !== this.#steps[this.#steps.length - 1]) {
      this.#leaveIfStopped(Exit.StopAfter, () => this.#setExitRecord());
      return;
    }
    if (condition !== undefined) {
      body.get(condition).emit(op.i32Eqz).if();
      this.#leaveAt(() => this.emitNextIp());
      body.end();
    }
    this.#again();
  }

  /** Back to the loop's head, if the budget covers another round. */
  #again(): void {
    const { body } = this;
    const start = () => this.#emitRip(this.#block.location.rip);
    const left = body.local(I64);
    this.#leaveIfStopped(Exit.StopAtTarget, () => this.#setRip(start));
    body.i32(fieldAddress.budget).memory(memoryOp.i64Load).i64(BigInt(this.#block.count)).emit(op.i64Sub);
    body.tee(left).i64(0n).emit(op.i64LtS).if();
    this.#setRip(start);
    this.#spill();
    body.i32(Exit.Budget).emit(op.return).end();
    body.i32(fieldAddress.budget).get(left).memory(memoryOp.i64Store).branch(0);
  }

  #leaveAt(emitRip: () => void): void {
    this.#leaveIfStopped(Exit.StopAtTarget, () => this.#setRip(emitRip));
    this.#setRip(emitRip);
    this.#spill();
    this.body.i32(Exit.Dispatch).emit(op.return);
  }

  #leaveIfStopped(exit: Exit, prepare: () => void): void {
    this.body.get(this.stopLocal as number).if();
    prepare();
    this.#spill();
    this.body.i32(exit).emit(op.return).end();
  }

  #setRip(emitRip: () => void): void {
    this.body.i32(fieldAddress.rip);
    emitRip();
    this.body.memory(memoryOp.i64Store);
  }
  #setExitRecord(): void {
    this.body.i32(fieldAddress.exitRecord).i32(this.#step.record).memory(memoryOp.i32Store);
  }
  /** The block may run at another linear address than it was decoded at, but never at another RIP. */
  #emitRip(rip: number): void {
    this.body.i64(BigInt(rip));
  }

  // ---- registers and flags in locals -------------------------------------------------------------------------------

  #load(): void {
    for (const [number, local] of this.#registers) {
      this.body.i32(gprAddress(number)).memory(memoryOp.i64Load).set(local);
    }
    this.body.i32(fieldAddress.flagsResult).memory(memoryOp.i64Load).set(this.#result);
    this.body.i32(fieldAddress.flagsAux).memory(memoryOp.i64Load).set(this.#aux);
  }
  #spill(): void {
    for (const [number, local] of this.#registers) {
      this.body.i32(gprAddress(number)).get(local).memory(memoryOp.i64Store);
    }
    this.body.i32(fieldAddress.flagsResult).get(this.#result).memory(memoryOp.i64Store);
    this.body.i32(fieldAddress.flagsAux).get(this.#aux).memory(memoryOp.i64Store);
  }

  #registerOf(register: RegisterRef): { local: number; high: boolean } {
    const operand =
      register.kind === 'operand' ? this.#step.instruction.operands[register.position]?.register : register;
    const local = operand && this.#registers.get(operand.number);
    if (!operand || local === undefined) throw new Error(`${this.#step.form.key} names no general-purpose register`);
    return { local, high: operand.high };
  }

  protected override emitRegister(register: RegisterRef): void {
    const { local, high } = this.#registerOf(register);
    const { body } = this;
    body.get(local);
    if (register.width === 64) return;
    if (high) body.i64(8n).emit(op.i64ShrU);
    body.emit(op.i32WrapI64);
    if (register.width < 32) body.i32(2 ** register.width - 1).emit(op.i32And);
  }
  protected override beginCommit(): void {}
  protected override endCommit(register: RegisterRef): void {
    const { local, high } = this.#registerOf(register);
    const { body } = this;
    if (register.width < 64) body.emit(op.i64ExtendI32U);
    if (register.width < 32) {
      const shift = high ? 8n : 0n;
      const mask = ((1n << BigInt(register.width)) - 1n) << shift;
      if (high) body.i64(shift).emit(op.i64Shl);
      body.get(local).i64(~mask).emit(op.i64And, op.i64Or);
    }
    body.set(local);
  }
  protected override emitFlagsResult(): void {
    this.body.get(this.#result);
  }
  protected override emitFlagsAux(): void {
    this.body.get(this.#aux);
  }
  protected override storeFlagsResult(emitValue: () => void): void {
    emitValue();
    this.body.set(this.#result);
  }
  protected override storeFlagsAux(emitValue: () => void): void {
    emitValue();
    this.body.set(this.#aux);
  }

  // ---- constants ---------------------------------------------------------------------------------------------------

  protected override emitImmediate(position: number, width: OperandWidth): void {
    const value = this.#step.instruction.operands[position]?.value ?? 0n;
    if (width === 64) this.body.i64(value);
    else this.body.i32(Number(BigInt.asIntN(32, value)));
  }
  protected override emitEffectiveAddress(): void {
    const { memory } = this.#step.instruction;
    const { body } = this;
    if (!memory) throw new Error(`${this.#step.form.key} has no memory operand`);
    body.i64(memory.displacement);
    if (memory.base === 'ip') {
      this.emitNextIp();
      body.emit(op.i64Add);
    } else if (memory.base !== undefined) {
      body.get(this.#registers.get(memory.base) as number).emit(op.i64Add);
    }
    if (memory.index !== undefined) {
      body.get(this.#registers.get(memory.index) as number);
      if (memory.shift > 0) body.i64(BigInt(memory.shift)).emit(op.i64Shl);
      body.emit(op.i64Add);
    }
    if (this.form.addressSize < 64) body.i64((1n << BigInt(this.form.addressSize)) - 1n).emit(op.i64And);
  }
  #segmentAddress(address: AddressRef): number {
    const fixed = address.kind === 'computed' && address.segment.kind === 'fixed' ? address.segment.index : undefined;
    return fixedSegmentAddress(fixed ?? this.#step.instruction.memory?.segment ?? 3, this.form);
  }
  protected override emitSegmentBase(address: AddressRef): void {
    const at = this.#segmentAddress(address);
    if (at === fieldAddress.zero) this.body.i64(0n);
    else this.body.i32(at).memory(memoryOp.i64Load);
  }
  protected override emitSegmentAddress(address: AddressRef): void {
    this.body.i32(this.#segmentAddress(address));
  }
  protected override emitNextIp(): void {
    const { ip, lengthBytes, codeSize } = this.#step.instruction;
    this.#emitRip(codeSize === 64 ? ip + lengthBytes : (ip + lengthBytes) >>> 0);
  }

  protected override emitRecord(): void {
    this.body.i32(this.#step.record);
  }
  protected override emitEventExit(): void {
    this.#setExitRecord();
    this.#spill();
    this.body.i32(Exit.Event).emit(op.return);
  }
}

function stepOf(block: Block, instruction: DecodedInstruction, index: number): Step {
  const form = formOf(instruction, block.location.stackSize);
  if (!form) throw new Error(`${instruction.codeName} has no recorded semantics`);
  return { instruction, form, addressing: handlerForm(instruction, form), record: block.record + index * RECORD_BYTES };
}
