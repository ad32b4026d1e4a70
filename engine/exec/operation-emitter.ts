/**
 * Emits WebAssembly for an Operation, in its fixed order: reads and checks, stores, register commits and flags, then
 * the transfer. Where registers, immediates and flags live is the subclass's business: the interpreter's handlers
 * take them from the decoded record and the CPU state, compiled blocks from locals and constants.
 */

import { Vector } from '../cpu/events.ts';
import { FAST_TLB_ENTRIES, FAST_TLB_ENTRY_BYTES } from '../cpu/memory-map.ts';
import { CS } from '../cpu/state.ts';
import { fieldAddress, segmentAddress, segmentLayout } from '../cpu/state-layout.ts';
import { constant, type Expr } from '../expr/expr.ts';
import type { OperandWidth } from '../isa/operand.ts';
import type {
  AddressRef,
  Commit,
  FlagsCommit,
  LoadStatement,
  Operation,
  RaiseStatement,
  RegisterRef,
  StatusFlag,
  StoreStatement,
  Temp,
} from '../isa/operation.ts';
import { type FunctionBody, I32, I64, memoryOp, op } from '../wasm/encoder.ts';
import { SlowStatus } from './exits.ts';
import { ExpressionEmitter, valueType } from './expression-emitter.ts';
import { SharedFunction } from './shared-functions.ts';

/** How the address of a memory operand is made; part of what distinguishes handlers. */
export interface AddressingForm {
  /** `long`: 64-bit code, no limit checks; `legacy`: base and limit of every segment count. */
  readonly segmentation: 'long' | 'legacy';
  readonly addressSize: 16 | 32 | 64;
}

export abstract class OperationEmitter extends ExpressionEmitter {
  protected form: AddressingForm;
  /** Local that becomes non-zero when a memory access asks to leave after the instruction; made on demand. */
  protected stopLocal: number | undefined;
  readonly #linears = new Map<string, { linear: number; host: number }>();

  constructor(body: FunctionBody, form: AddressingForm) {
    super(body);
    this.form = form;
  }

  /** Starts on another instruction: nothing known about values or addresses carries over. */
  protected startInstruction(form: AddressingForm): void {
    this.form = form;
    this.forgetValues();
    this.#linears.clear();
    this.#loads.clear();
  }

  protected abstract emitRegister(register: RegisterRef): void;
  /** Before the value is pushed: what the write needs below it on the stack (an address, or nothing). */
  protected abstract beginCommit(register: RegisterRef): void;
  /** Consumes what beginCommit and the value left on the stack. */
  protected abstract endCommit(register: RegisterRef): void;
  protected abstract emitImmediate(position: number, width: OperandWidth): void;
  /** Pushes the effective address of the memory operand (i64), cut to the address size. */
  protected abstract emitEffectiveAddress(position: number): void;
  /** Pushes the base of the segment (i64) of the memory operand or of a fixed segment. */
  protected abstract emitSegmentBase(address: AddressRef): void;
  /** Pushes the wasm address of the segment register. */
  protected abstract emitSegmentAddress(address: AddressRef): void;
  protected abstract emitNextIp(): void;
  protected abstract emitFlagsResult(): void;
  protected abstract emitFlagsAux(): void;
  /** Store the lazy flags: `emitValue` pushes the i64. Called with all register values already on the stack. */
  protected abstract storeFlagsResult(emitValue: () => void): void;
  protected abstract storeFlagsAux(emitValue: () => void): void;
  /** Pushes the record's address, which slow paths pass on. */
  protected abstract emitRecord(): void;
  /** Leaves because of the pending event; the instruction has changed nothing. */
  protected abstract emitEventExit(): void;

  /** Everything but the transfer. `transferLocals` are evaluated before anything changes. */
  protected emitOperation(operation: Operation): { condition: number | undefined; target: number | undefined } {
    const transfer = operation.transfer;
    const condition = transfer && transfer.kind !== 'indirect' ? transfer.condition : undefined;
    const target = transfer?.kind === 'indirect' ? transfer.target : undefined;
    this.#countAll(operation);
    const locals = {
      condition: condition && this.body.local(I32),
      target: target && this.body.local(I64),
    };
    const emitAll = (): void => {
      for (const statement of operation.reads) this.#read(statement);
      if (condition && locals.condition !== undefined) this.#evaluateInto(condition, locals.condition);
      if (target && locals.target !== undefined) {
        this.#evaluateInto(target, locals.target);
        this.#checkTarget(locals.target);
      }
      for (const store of operation.stores) this.#store(store);
      this.#commit(operation);
    };
    if (operation.guard) this.#guarded(operation.guard, emitAll);
    else emitAll();
    return locals;
  }

  /** #GP(0) for an indirect transfer beyond the code segment's limit, or to an address that is not canonical. */
  #checkTarget(target: number): void {
    const { body } = this;
    body.get(target);
    if (this.form.segmentation === 'long') {
      body.get(target).i64(16n).emit(op.i64Shl).i64(16n).emit(op.i64ShrS, op.i64Ne).if();
    } else {
      body.i32(segmentAddress(CS)).memory(memoryOp.i64Load32U, segmentLayout.limit).emit(op.i64GtU).if();
    }
    this.emitRecord();
    body.i32(Vector.GP).i32(0).call(SharedFunction.raise);
    this.emitEventExit();
    body.end();
  }

  #guarded(guard: Expr<1>, emitAll: () => void): void {
    this.emit(guard);
    this.body.if();
    this.scoped(emitAll);
    this.body.end();
  }

  #evaluateInto(expr: Expr, local: number): void {
    this.emit(expr);
    this.body.set(local);
    this.bind(expr, local);
  }

  #countAll(operation: Operation): void {
    const addressParts = (address: AddressRef): void => {
      this.countUses(address.kind === 'operand' ? address.plus : address.offset);
    };
    this.countUses(operation.guard);
    for (const statement of operation.reads) {
      if (statement.kind === 'raise') this.countUses(statement.condition);
      else addressParts(statement.address);
    }
    for (const store of operation.stores) {
      addressParts(store.address);
      this.countUses(store.value);
    }
    for (const commit of operation.commits) this.countUses(commit.value);
    this.#countFlags(operation);
    const transfer = operation.transfer;
    if (transfer) this.countUses(transfer.kind === 'indirect' ? transfer.target : transfer.condition);
  }

  #countFlags(operation: Operation): void {
    this.countUses(operation.directionFlag);
    const { flags } = operation;
    if (!flags) return;
    this.countUses(flags.condition);
    if (flags.arithmetic) {
      this.countUses(flags.arithmetic.result);
      this.countUses(flags.arithmetic.carries);
      return;
    }
    for (const value of Object.values(flags.values)) {
      if (!('undefined' in value)) this.countUses(value);
      else if (value.value !== 'unchanged') this.countUses(value.value);
    }
  }

  // ---- leaves ------------------------------------------------------------------------------------------------------

  protected override emitTemp(_expr: Expr, opaque: unknown): void {
    const { source, width } = opaque as Temp;
    switch (source.kind) {
      case 'register':
        return this.emitRegister(source.register);
      case 'immediate':
        return this.emitImmediate(source.position, width as OperandWidth);
      case 'flag':
        return this.#emitFlag(source.flag);
      case 'other-flags':
        this.body.i32(fieldAddress.flagsOther).memory(memoryOp.i32Load);
        return;
      case 'effective-address':
        return this.emitEffectiveAddress(source.position);
      case 'next-ip':
        return this.emitNextIp();
      case 'load':
        this.body.get(this.#loadLocal(source.statement));
        return;
    }
  }

  #emitFlag(flag: StatusFlag): void {
    const { body } = this;
    switch (flag) {
      case 'CF':
        this.emitFlagsAux();
        body.i64(63n).emit(op.i64ShrU, op.i32WrapI64);
        return;
      case 'OF':
        this.emitFlagsAux();
        this.emitFlagsAux();
        body.i64(1n).emit(op.i64Shl, op.i64Xor).i64(63n).emit(op.i64ShrU, op.i32WrapI64);
        return;
      case 'AF':
        this.emitFlagsAux();
        body.emit(op.i32WrapI64).i32(3).emit(op.i32ShrU).i32(1).emit(op.i32And);
        return;
      case 'ZF':
        this.emitFlagsResult();
        body.emit(op.i64Eqz);
        return;
      case 'SF':
        this.emitFlagsResult();
        body.i64(63n).emit(op.i64ShrU);
        this.emitFlagsAux();
        body.emit(op.i64Xor, op.i32WrapI64).i32(1).emit(op.i32And);
        return;
      case 'PF':
        this.emitFlagsResult();
        body.emit(op.i32WrapI64);
        this.emitFlagsAux();
        body.emit(op.i32WrapI64).i32(8).emit(op.i32ShrU, op.i32Xor).i32(0xff);
        body.emit(op.i32And, op.i32Popcnt).i32(1).emit(op.i32And).i32(1).emit(op.i32Xor);
        return;
    }
  }

  // ---- memory ------------------------------------------------------------------------------------------------------

  readonly #loads = new Map<LoadStatement, number>();

  #loadLocal(statement: LoadStatement): number {
    const local = this.#loads.get(statement);
    if (local === undefined) throw new Error('a load is used before it is done');
    return local;
  }

  #read(statement: LoadStatement | RaiseStatement): void {
    if (statement.kind === 'raise') return this.#raise(statement);
    const { width, forWrite } = statement;
    const linear = this.#emitLinear(statement.address, width, forWrite);
    const value = this.body.local(valueType(width));
    const host = forWrite ? this.body.local(I32) : undefined;
    this.#emitHostLookup(linear, width, forWrite);
    this.body.if();
    this.#emitHostAddress(linear);
    if (host !== undefined) this.body.tee(host);
    this.body.memory(loadOpcode[width]).set(value).else();
    this.#slowAccess(SharedFunction.slowRead, linear, width / 8 + (forWrite ? 16 : 0));
    this.body.i32(fieldAddress.scratch).memory(loadOpcode[width]).set(value);
    if (host !== undefined) this.body.i32(0).set(host);
    this.body.end();
    this.#loads.set(statement, value);
    if (host !== undefined) this.#linears.set(addressKey(statement.address), { linear, host });
  }

  #store(statement: StoreStatement): void {
    const { width } = statement;
    const value = this.emitToLocal(statement.value);
    const read = this.#linears.get(addressKey(statement.address));
    const linear = read?.linear ?? this.#emitLinear(statement.address, width, true);
    if (read) this.body.get(read.host);
    else this.#emitHostLookup(linear, width, true);
    this.body.if();
    if (read) this.body.get(read.host);
    else this.#emitHostAddress(linear);
    this.body.get(value).memory(storeOpcode[width]).else();
    this.body
      .i32(fieldAddress.scratch)
      .get(value)
      .memory(width === 64 ? memoryOp.i64Store : memoryOp.i32Store);
    this.#slowAccess(SharedFunction.slowWrite, linear, width / 8);
    this.body.end();
  }

  /** Leaves the linear address of the access in a local (i64), after the segment's checks. */
  #emitLinear(address: AddressRef, width: OperandWidth, forWrite: boolean): number {
    const { body } = this;
    const linear = body.local(I64);
    this.#emitOffset(address);
    if (this.form.segmentation === 'legacy') {
      body.set(linear);
      this.#checkSegment(address, linear, width, forWrite);
      body.get(linear);
      this.emitSegmentBase(address);
      body.emit(op.i64Add).i64(0xffff_ffffn).emit(op.i64And).set(linear);
    } else {
      this.emitSegmentBase(address);
      body.emit(op.i64Add).set(linear);
    }
    return linear;
  }

  #emitOffset(address: AddressRef): void {
    if (address.kind === 'computed') return this.emit(address.offset);
    this.emitEffectiveAddress(address.position);
    if (!address.plus) return;
    this.emit(address.plus);
    this.body.emit(op.i64Add);
    if (this.form.addressSize < 64) this.body.i64((1n << BigInt(this.form.addressSize)) - 1n).emit(op.i64And);
  }

  #checkSegment(address: AddressRef, offset: number, width: OperandWidth, forWrite: boolean): void {
    const { body } = this;
    const bytes = width / 8;
    body.get(offset);
    if (bytes > 1) body.i64(BigInt(bytes - 1)).emit(op.i64Add);
    this.emitSegmentAddress(address);
    body.memory(memoryOp.i64Load, forWrite ? segmentLayout.fastWriteLimit : segmentLayout.fastReadLimit);
    body.emit(op.i64GtS).if();
    this.emitRecord();
    body.get(offset).emit(op.f64ConvertI64S);
    this.emitSegmentAddress(address);
    body
      .i32(bytes + (forWrite ? 16 : 0))
      .call(SharedFunction.segmentCheck)
      .if();
    this.emitEventExit();
    body.end().end();
  }

  /** Looks the page up in the fast TLB: pushes 1 on a hit. The entry's address stays in a local for the addend. */
  #emitHostLookup(linear: number, width: OperandWidth, forWrite: boolean): void {
    const { body } = this;
    const bytes = width / 8;
    this.#entryLocal ??= body.local(I32);
    body
      .get(linear)
      .i64(12n)
      .emit(op.i64ShrU, op.i32WrapI64)
      .i32(FAST_TLB_ENTRIES - 1)
      .emit(op.i32And);
    body.i32(Math.log2(FAST_TLB_ENTRY_BYTES)).emit(op.i32Shl);
    body.i32(fieldAddress.tlbBase).memory(memoryOp.i32Load).emit(op.i32Add).tee(this.#entryLocal);
    body.memory(memoryOp.i64Load, forWrite ? 8 : 0).get(linear);
    if (bytes > 1) body.i64(BigInt(bytes - 1)).emit(op.i64Add);
    body.i64(~0xfffn).emit(op.i64And, op.i64Eq);
  }
  #entryLocal: number | undefined;

  #emitHostAddress(linear: number): void {
    if (this.#entryLocal === undefined) throw new Error('no fast TLB entry was looked up');
    this.body.get(linear).emit(op.i32WrapI64).get(this.#entryLocal).memory(memoryOp.i32Load, 16).emit(op.i32Add);
  }

  /** Calls the slow path; leaves on an event, remembers a request to stop. */
  #slowAccess(slowFunction: number, linear: number, size: number): void {
    const { body } = this;
    const status = body.local(I32);
    this.stopLocal ??= body.local(I32);
    body.get(linear).emit(op.f64ConvertI64S).i32(size);
    this.emitRecord();
    body.call(slowFunction).tee(status).i32(SlowStatus.Event).emit(op.i32Eq).if();
    this.emitEventExit();
    body.end().get(status).get(this.stopLocal).emit(op.i32Or).set(this.stopLocal);
    body.release(I32, status);
  }

  #raise(statement: RaiseStatement): void {
    this.emit(statement.condition);
    this.body.if();
    this.emitRecord();
    this.body
      .i32(statement.vector)
      .i32(statement.errorCode ?? -1)
      .call(SharedFunction.raise);
    this.emitEventExit();
    this.body.end();
  }

  // ---- commits -----------------------------------------------------------------------------------------------------

  /** All values are computed before any register changes: pushed first, stored last, in reverse order. */
  #commit(operation: Operation): void {
    for (const { register, value } of operation.commits) {
      this.beginCommit(register);
      this.emit(value);
    }
    if (operation.flags) this.#flags(operation.flags);
    if (operation.directionFlag) this.#directionFlag(operation.directionFlag);
    for (const commit of [...operation.commits].reverse() as Commit[]) this.endCommit(commit.register);
  }

  #directionFlag(value: Expr<1>): void {
    const { body } = this;
    body.i32(fieldAddress.flagsOther).i32(fieldAddress.flagsOther).memory(memoryOp.i32Load);
    body.i32(~0x400).emit(op.i32And);
    this.emit(value);
    body.i32(10).emit(op.i32Shl, op.i32Or).memory(memoryOp.i32Store);
  }

  #flags(flags: FlagsCommit): void {
    if (!flags.condition) return this.#flagValues(flags);
    this.emit(flags.condition);
    this.body.if();
    this.scoped(() => this.#flagValues(flags));
    this.body.end();
  }

  #flagValues(flags: FlagsCommit): void {
    if (flags.arithmetic) return this.#arithmeticFlags(flags.arithmetic.result, flags.arithmetic.carries);
    const values = definiteValues(flags);
    const shared = sharedResult(values);
    if (shared) return this.#flagsOfResult(shared, values);
    if (values.SF || values.ZF || values.PF) return this.#allFlags(values);
    this.#carryFlags(values);
  }

  #arithmeticFlags(result: Expr, carries: Expr): void {
    const { body } = this;
    this.storeFlagsResult(() => this.#emitExtended(result));
    this.storeFlagsAux(() => {
      if (carries.width === 64) {
        this.emit(carries);
        body.i64(0xffff_ffff_0000_0008n).emit(op.i64And);
        return;
      }
      const vector = this.emitToLocal(carries);
      body
        .get(vector)
        .emit(op.i64ExtendI32U)
        .i64(BigInt(64 - carries.width))
        .emit(op.i64Shl);
      body.get(vector).i32(8).emit(op.i32And, op.i64ExtendI32U, op.i64Or);
    });
  }

  #emitExtended(value: Expr): void {
    this.emit(value.width === 64 ? value : value.signExtend(64));
  }

  /** SF, ZF and PF are those of one result; the others are given or keep their value. */
  #flagsOfResult(result: Expr, values: Values): void {
    const aux = this.body.local(I64);
    this.#emitAux(values);
    this.body.set(aux);
    this.storeFlagsResult(() => this.#emitExtended(result));
    this.storeFlagsAux(() => this.body.get(aux));
    this.body.release(I64, aux);
  }

  /** CF, OF and AF change; SF, ZF and PF and their corrections stay. */
  #carryFlags(values: Values): void {
    const { body } = this;
    const aux = body.local(I64);
    this.#emitAux(values);
    this.emitFlagsAux();
    body.i64(0xff01n).emit(op.i64And, op.i64Or).set(aux);
    this.storeFlagsAux(() => body.get(aux));
    body.release(I64, aux);
  }

  /** Any combination: the result becomes ZF's witness, SF and PF go to the corrections. */
  #allFlags(values: Values): void {
    const { body } = this;
    const [zf, aux] = [body.local(I32), body.local(I64)];
    this.#emitFlagOr(values.ZF, 'ZF');
    body.set(zf);
    this.#emitAux(values);
    this.#emitFlagOr(values.SF, 'SF');
    body.emit(op.i64ExtendI32U, op.i64Or);
    this.#emitFlagOr(values.PF, 'PF');
    body.get(zf).emit(op.i32Xor, op.i64ExtendI32U).i64(8n).emit(op.i64Shl, op.i64Or).set(aux);
    this.storeFlagsResult(() => body.get(zf).i32(1).emit(op.i32Xor, op.i64ExtendI32U));
    this.storeFlagsAux(() => body.get(aux));
    body.release(I32, zf);
    body.release(I64, aux);
  }

  /** Pushes CF<<63 | (CF^OF)<<62 | AF<<3. */
  #emitAux(values: Values): void {
    const { body } = this;
    const cf = body.local(I64);
    this.#emitFlagOr(values.CF, 'CF');
    body.emit(op.i64ExtendI32U).tee(cf).i64(63n).emit(op.i64Shl);
    this.#emitFlagOr(values.OF, 'OF');
    body.emit(op.i64ExtendI32U).get(cf).emit(op.i64Xor).i64(62n).emit(op.i64Shl, op.i64Or);
    this.#emitFlagOr(values.AF, 'AF');
    body.emit(op.i64ExtendI32U).i64(3n).emit(op.i64Shl, op.i64Or);
    body.release(I64, cf);
  }

  #emitFlagOr(value: Expr<1> | undefined, flag: StatusFlag): void {
    if (value) this.emit(value);
    else this.#emitFlag(flag);
  }
}

type Values = { readonly [F in StatusFlag]?: Expr<1> };

/** The values to store: undefined flags get the value chosen for them. */
function definiteValues(flags: FlagsCommit): Values {
  const values: { [F in StatusFlag]?: Expr<1> } = {};
  for (const [flag, value] of Object.entries(flags.values)) {
    if (!('undefined' in value)) values[flag as StatusFlag] = value;
    else if (value.value !== 'unchanged') values[flag as StatusFlag] = value.value;
  }
  return values;
}

/** The expression whose sign, zeroness and parity the three flags are, if they are of one. */
function sharedResult({ SF, ZF, PF }: Values): Expr | undefined {
  const result = PF?.node.kind === 'unary' && PF.node.op === 'parity' ? PF.node.a : undefined;
  if (!result || !SF || !ZF) return undefined;
  const isZero = ZF.node.kind === 'compare' && ZF.node.op === 'eq' && ZF.node.a === result;
  const shifted = SF.node.kind === 'unary' && SF.node.op === 'trunc' ? SF.node.a.node : undefined;
  const isSign =
    shifted?.kind === 'binary' &&
    shifted.op === 'shr' &&
    shifted.a === result &&
    shifted.b === constant(result.width, result.width - 1);
  return isZero && ZF.node.kind === 'compare' && ZF.node.b === constant(result.width, 0) && isSign ? result : undefined;
}

const loadOpcode: Readonly<Record<OperandWidth, number>> = {
  8: memoryOp.i32Load8U,
  16: memoryOp.i32Load16U,
  32: memoryOp.i32Load,
  64: memoryOp.i64Load,
};
const storeOpcode: Readonly<Record<OperandWidth, number>> = {
  8: memoryOp.i32Store8,
  16: memoryOp.i32Store16,
  32: memoryOp.i32Store,
  64: memoryOp.i64Store,
};

const expressionIds = new WeakMap<Expr, number>();
let nextExpressionId = 1;
function expressionId(expr: Expr | undefined): number {
  if (!expr) return 0;
  let id = expressionIds.get(expr);
  if (id === undefined) expressionIds.set(expr, (id = nextExpressionId++));
  return id;
}

/** Same key, same address: a store to what was read for writing needs no second look-up. */
function addressKey(address: AddressRef): string {
  return address.kind === 'operand'
    ? `operand${address.position}+${expressionId(address.plus)}`
    : `${JSON.stringify(address.segment)}:${expressionId(address.offset)}`;
}
