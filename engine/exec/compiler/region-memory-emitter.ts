/**
 * Emits memory accesses of regions: through the fast TLB only. What it does not have and cannot get (device memory,
 * watched pages, code, faults) is left to the interpreter.
 */
import type { OperandWidth } from '../../isa/operand.ts';
import type { AddressRef, ReadStatement, StoreStatement } from '../../isa/operation.ts';
import { FunctionBody, I32, I64, memoryOp, op } from '../../wasm/encoder.ts';
import { emitTlbBase, fastTlbEntry } from '../fast-tlb-emitter.ts';
import { addressKey } from '../memory-emitter.ts';
import { loadValue, storeValue, valueType } from '../value-types.ts';
import { DeferredFlagsEmitter } from './deferred-flags-emitter.ts';

/** Equal to no linear address of which an access keeps the page and the bits that must be clear for its alignment. */
const NO_PAGE = 0x800n;

export abstract class RegionMemoryEmitter extends DeferredFlagsEmitter {
  /** Address of the set of the fast TLB, which does not change while a region runs. */
  readonly #tlbBase = this.body.local(I32);
  /** Linear address of a page of the stack that the fast TLB has for reads and writes, or NO_PAGE; and its addend. */
  readonly #stack = { page: this.body.local(I64), addend: this.body.local(I32) };
  /** Segments outside 64-bit code that reach from 0 to 4 GiB, and those of them that the region relies on. */
  readonly #flat: ReadonlySet<number>;
  protected readonly flatUsed = new Set<number>();

  constructor(flat: ReadonlySet<number>) {
    super(new FunctionBody(1), { segmentation: 'long', addressSize: 64 });
    this.#flat = flat;
    this.entryLocal = this.body.local(I32);
  }

  /** Number of the segment register of an access. */
  protected abstract segmentIndex(address: AddressRef): number;
  /** Whether an access is to the stack, as far as the instruction tells. */
  protected abstract isOnStack(address: AddressRef): boolean;
  /** Leaves the instruction under way, which has changed nothing, to the interpreter. */
  protected abstract leaveInstruction(): void;

  /** What accesses need; to be emitted where the region begins. */
  protected emitLoadMemoryState(): void {
    this.body.i64(NO_PAGE).set(this.#stack.page);
    emitTlbBase(this.body);
    this.body.set(this.#tlbBase);
  }

  /** An offset in a flat segment is a linear address; one that wraps around leaves its page, and so the fast TLB. */
  protected override emitLinear(address: AddressRef, width: OperandWidth, forWrite: boolean): number {
    const segment = this.segmentIndex(address);
    if (this.form.segmentation === 'long' || !this.#flat.has(segment))
      return super.emitLinear(address, width, forWrite);
    this.flatUsed.add(segment);
    const linear = this.body.local(I64);
    this.emitOffset(address);
    this.body.set(linear);
    return linear;
  }

  protected override emitTlbBase(): void {
    emitTlbBase(this.body);
  }

  protected override emitRead(statement: ReadStatement): void {
    if (statement.kind === 'raise') return super.emitRead(statement);
    const { body } = this;
    const { address, width, alignment } = statement;
    const forWrite = statement.kind === 'probe' || statement.forWrite;
    const linear = this.emitLinear(address, width, forWrite);
    this.emitAlignmentCheck(linear, alignment);
    this.#emitHost(address, linear, width, forWrite);
    if (statement.kind === 'probe') {
      const host = body.local(I32);
      body.set(host);
      this.linears.set(addressKey(address), { linear, host });
      return;
    }
    const value = body.local(valueType(width));
    if (forWrite) {
      const host = body.local(I32);
      body.tee(host);
      this.linears.set(addressKey(address), { linear, host });
    }
    loadValue(body, width);
    body.set(value);
    this.loads.set(statement, value);
  }

  protected override emitStore(statement: StoreStatement): void {
    const { body } = this;
    const { address, width } = statement;
    const value = this.emitToLocal(statement.value);
    const read = this.linears.get(addressKey(address));
    if (read) body.get(read.host);
    else {
      const linear = this.emitLinear(address, width, true);
      this.emitAlignmentCheck(linear, statement.alignment);
      this.#emitHost(address, linear, width, true);
    }
    body.get(value);
    storeValue(body, width);
  }

  /** Goes on only with the page in the fast TLB; its entry is the one looked up. */
  #ensureFast(linear: number, width: OperandWidth, forWrite: boolean): void {
    this.emitHostLookup(linear, width, forWrite);
    this.body.emit(op.i32Eqz).if();
    this.leaveInstruction();
    this.body.end();
  }

  /** Pushes the wasm address of an access. */
  #emitHost(address: AddressRef, linear: number, width: OperandWidth, forWrite: boolean): void {
    if (this.isOnStack(address)) return this.#emitStackHost(linear, width, forWrite);
    this.#ensureFast(linear, width, forWrite);
    this.emitHostAddress(linear);
  }

  /**
   * One page of the stack is used again and again: as long as it is, the fast TLB need not be asked. An access that is
   * not aligned asks all the same, as it may lie on two pages.
   */
  #emitStackHost(linear: number, width: OperandWidth, forWrite: boolean): void {
    const { body } = this;
    const { page, addend } = this.#stack;
    const host = body.local(I32);
    const kept = ~0xfffn | BigInt(width / 8 - 1);
    body.get(linear).i64(kept).emit(op.i64And).get(page).emit(op.i64Eq).if();
    body.get(linear).emit(op.i32WrapI64).get(addend).emit(op.i32Add).set(host).else();
    this.#ensureFast(linear, width, forWrite);
    this.emitHostAddress(linear);
    body.set(host);
    this.#keepStack(this.entryLocal as number);
    body.end().get(host);
  }

  /** Keeps a page if the fast TLB has it both for reads and for writes. */
  #keepStack(entry: number): void {
    const { body } = this;
    const tag = (offset: number) => body.get(entry).memory(memoryOp.i64Load, offset);
    tag(fastTlbEntry.readTag);
    tag(fastTlbEntry.writeTag).emit(op.i64Eq).if();
    tag(fastTlbEntry.readTag).set(this.#stack.page);
    body.get(entry).memory(memoryOp.i32Load, fastTlbEntry.addend).set(this.#stack.addend).end();
  }
}
