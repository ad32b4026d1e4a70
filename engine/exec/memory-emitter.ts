/**
 * Emits memory accesses: segment checks, an inlined look-up in the fast TLB, and the slow path out of line. An
 * instruction that writes what it read looks the address up once.
 */

import { Vector } from '../cpu/events.ts';
import { SCRATCH_ADDRESS } from '../cpu/memory-map.ts';
import { SS } from '../cpu/state.ts';
import { fieldAddress, segmentLayout } from '../cpu/state-layout.ts';
import type { Expr } from '../expr/expr.ts';
import type { OperandWidth } from '../isa/operand.ts';
import type {
  AddressRef,
  Alignment,
  LoadStatement,
  ProbeStatement,
  RaiseStatement,
  ReadStatement,
  StoreStatement,
} from '../isa/operation.ts';
import { type FunctionBody, I32, I64, memoryOp, op } from '../wasm/encoder.ts';
import { FIRST_HALF, FOR_WRITE, ON_STACK, PROBE, SlowStatus, WITHOUT_RETRY } from './exits.ts';
import { emitFastTlbLookup, emitHostAddress, emitTlbBase } from './fast-tlb-emitter.ts';
import { FlagsEmitter } from './flags-emitter.ts';
import type { AddressingForm } from './operand-emitter.ts';
import { callRuntime } from './runtime-functions.ts';
import { loadValue, storeValue, valueType } from './value-types.ts';

export abstract class MemoryEmitter extends FlagsEmitter {
  protected form: AddressingForm;
  /** Local that becomes non-zero when a memory access asks to leave after the instruction; made on demand. */
  protected stopLocal: number | undefined;
  protected readonly linears = new Map<string, { linear: number; host: number }>();

  constructor(body: FunctionBody, form: AddressingForm) {
    super(body);
    this.form = form;
  }

  /** Starts on another instruction: nothing known about values or addresses carries over. */
  protected startInstruction(form: AddressingForm): void {
    this.form = form;
    this.forgetValues();
    this.linears.clear();
    this.loads.clear();
  }

  protected readonly loads = new Map<LoadStatement, number>();

  protected override emitLoaded(statement: LoadStatement): void {
    const local = this.loads.get(statement);
    if (local === undefined) throw new Error('a load is used before it is done');
    this.body.get(local);
  }

  protected emitRead(statement: ReadStatement): void {
    if (statement.kind === 'raise') return this.#raise(statement);
    if (statement.kind === 'probe') return this.#emitProbe(statement);
    const { body } = this;
    const { width, forWrite } = statement;
    const linear = this.emitLinear(statement.address, width, forWrite);
    this.emitAlignmentCheck(linear, statement.alignment);
    const value = body.local(valueType(width));
    const host = forWrite ? body.local(I32) : undefined;
    body.block().block();
    this.emitHostLookup(linear, width, forWrite);
    body.branchIf(0);
    this.#slowAccess('slowRead', linear, sizeOf(statement) + (forWrite ? FOR_WRITE : 0));
    body.i32(SCRATCH_ADDRESS);
    loadValue(body, width);
    body.set(value);
    if (host !== undefined) body.i32(0).set(host);
    body.branch(1).end();
    this.emitHostAddress(linear);
    if (host !== undefined) body.tee(host);
    loadValue(body, width);
    body.set(value).end();
    this.loads.set(statement, value);
    if (host !== undefined) this.linears.set(addressKey(statement.address), { linear, host });
  }

  /** Finds the place of a store to come, or faults as it would. Where no fast store is possible, the host address is 0. */
  #emitProbe(statement: ProbeStatement): void {
    const { body } = this;
    const { address, width, alignment } = statement;
    const linear = this.emitLinear(address, width, true);
    this.emitAlignmentCheck(linear, alignment);
    const host = body.local(I32);
    body.block().block();
    this.emitHostLookup(linear, width, true);
    body.branchIf(0);
    this.#slowAccess('slowWrite', linear, sizeOf(statement) + PROBE);
    body.i32(0).set(host).branch(1).end();
    this.emitHostAddress(linear);
    body.set(host).end();
    this.linears.set(addressKey(address), { linear, host });
  }

  /** Faults as stores to come would; they look their addresses up anew. */
  protected emitStoreFaults(stores: readonly StoreStatement[]): void {
    for (const { address, width, alignment } of stores) {
      this.#emitProbe({ kind: 'probe', address, width, alignment });
      this.linears.delete(addressKey(address));
    }
  }

  /** #GP(0) for a linear address that is not a multiple of `alignment` bytes. */
  protected emitAlignmentCheck(linear: number, alignment: Alignment | undefined): void {
    if (alignment === undefined) return;
    this.body
      .get(linear)
      .emit(op.i32WrapI64)
      .i32(alignment - 1)
      .emit(op.i32And)
      .if();
    this.emitFault(Vector.GP, 0);
    this.body.end();
  }

  protected emitStore(statement: StoreStatement): void {
    const { body } = this;
    const { width } = statement;
    const value = this.emitToLocal(statement.value);
    const read = this.linears.get(addressKey(statement.address));
    const linear = read?.linear ?? this.emitLinear(statement.address, width, true);
    if (!read) this.emitAlignmentCheck(linear, statement.alignment);
    const host = read?.host ?? body.local(I32);
    body.block().block();
    if (read) body.get(host);
    else this.emitHostLookup(linear, width, true);
    body.branchIf(0);
    body.i32(SCRATCH_ADDRESS).get(value);
    storeValue(body, width);
    this.#slowAccess('slowWrite', linear, sizeOf(statement), read === undefined);
    body.branch(1).end();
    if (read) body.get(host);
    else this.emitHostAddress(linear);
    body.get(value);
    storeValue(body, width);
    body.end();
  }

  /** Leaves the linear address of the access in a local (i64), after the segment's checks. */
  protected emitLinear(address: AddressRef, width: OperandWidth, forWrite: boolean): number {
    const { body } = this;
    const linear = body.local(I64);
    this.emitOffset(address);
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

  /** Pushes the offset of an access in its segment (i64), cut to the address size. */
  protected emitOffset(address: AddressRef): void {
    if (address.kind === 'computed') return this.emit(address.offset);
    this.emitEffectiveAddress(address.position);
    if (!address.plus) return;
    this.emit(address.plus);
    this.body.emit(op.i64Add);
    if (this.form.addressSize < 64) this.body.i64((1n << BigInt(this.form.addressSize)) - 1n).emit(op.i64And);
  }

  #checkSegment(address: AddressRef, offset: number, width: OperandWidth, forWrite: boolean): void {
    const { body } = this;
    const bytes = extentOf(address) ?? width / 8;
    body.get(offset);
    if (bytes > 1) body.i64(BigInt(bytes - 1)).emit(op.i64Add);
    this.emitSegmentAddress(address);
    body.memory(memoryOp.i64Load, forWrite ? segmentLayout.fastWriteLimit : segmentLayout.fastReadLimit);
    body.emit(op.i64GtS).if();
    this.emitSlowSegmentCheck(address, offset, bytes + (forWrite ? FOR_WRITE : 0));
    body.end();
  }
  /** The offset may be beyond the segment's limit: checks in full, and leaves on a fault. */
  protected emitSlowSegmentCheck(address: AddressRef, offset: number, size: number): void {
    const { body } = this;
    this.emitRecord();
    body.get(offset).emit(op.f64ConvertI64S);
    this.emitSegmentAddress(address);
    callRuntime(body.i32(size), 'segmentCheck').if();
    this.emitEventExit();
    body.end();
  }

  /** Looks the page up in the fast TLB: pushes 1 on a hit. The entry's address stays in a local for the addend. */
  protected emitHostLookup(linear: number, width: OperandWidth, forWrite: boolean): void {
    this.entryLocal ??= this.body.local(I32);
    const access = { bytes: width / 8, write: forWrite };
    emitFastTlbLookup(this.body, linear, this.entryLocal, access, () => this.emitTlbBase());
  }
  /** Address of the fast TLB's entry for the access under way. */
  protected entryLocal: number | undefined;
  /** Pushes the address of the set of the fast TLB. */
  protected emitTlbBase(): void {
    emitTlbBase(this.body);
  }

  protected emitHostAddress(linear: number): void {
    if (this.entryLocal === undefined) throw new Error('no fast TLB entry was looked up');
    emitHostAddress(this.body, linear, this.entryLocal);
  }

  /**
   * Calls the slow path inside the innermost block, which it leaves if the fast TLB has the page now. Leaves the
   * function on an event, remembers a request to stop.
   */
  #slowAccess(slowFunction: 'slowRead' | 'slowWrite', linear: number, size: number, mayRetry = true): void {
    const { body } = this;
    const status = body.local(I32);
    this.stopLocal ??= body.local(I32);
    body.get(linear).i32(mayRetry ? size : size + WITHOUT_RETRY);
    this.emitRecord();
    callRuntime(body, slowFunction).tee(status).i32(SlowStatus.Retry).emit(op.i32Eq).branchIf(0);
    body.get(status).i32(SlowStatus.Event).emit(op.i32Eq).if();
    this.emitEventExit();
    body.end().get(status).get(this.stopLocal).emit(op.i32Or).set(this.stopLocal);
    body.release(I32, status);
  }

  #raise(statement: RaiseStatement): void {
    const { condition, vector, errorCode, leaves = [], instead } = statement;
    const { body } = this;
    this.emit(condition);
    body.if();
    this.scoped(() => {
      // A region then leaves the instruction to the interpreter, which finds that it leaves the same.
      for (const { field, value } of leaves) {
        body.i32(fieldAddress[field]);
        this.emit(value);
        body.memory(memoryOp.i32Store);
      }
      if (instead) {
        this.emit(instead.condition);
        body.if();
        this.emitFault(instead.vector, errorCode);
        body.end();
      }
      this.emitFault(vector, errorCode);
    });
    body.end();
  }
  /** Leaves with an exception; the instruction has changed nothing. */
  protected emitFault(vector: number, errorCode: number | undefined): void {
    this.emitRecord();
    callRuntime(this.body.i32(vector).i32(errorCode ?? -1), 'raise');
    this.emitEventExit();
  }
}

const expressionIds = new WeakMap<Expr, number>();
let nextExpressionId = 1;
function expressionId(expr: Expr | undefined): number {
  if (!expr) return 0;
  let id = expressionIds.get(expr);
  if (id === undefined) expressionIds.set(expr, (id = nextExpressionId++));
  return id;
}

/** Same key, same address: a store to what was read for writing needs no second look-up. */
const extentOf = (address: AddressRef): number | undefined =>
  address.kind === 'operand' ? address.extentBytes : undefined;

/** The size of a slow access in bytes, with what else has to be known of it. */
function sizeOf({ address, width }: Pick<LoadStatement, 'address' | 'width'>): number {
  const isOnStack = address.kind === 'computed' && address.segment.kind === 'fixed' && address.segment.index === SS;
  return width / 8 + (isOnStack ? ON_STACK : 0) + (extentOf(address) === undefined ? 0 : FIRST_HALF);
}

export function addressKey(address: AddressRef): string {
  return address.kind === 'operand'
    ? `operand${address.position}+${expressionId(address.plus)}`
    : `${JSON.stringify(address.segment)}:${expressionId(address.offset)}`;
}
