/**
 * The functions that every module of compiled code has at the same indices: arithmetic that WebAssembly lacks first, then
 * the dispatcher (in modules of handlers only, as it needs their table).
 */

import { fieldAddress } from '../cpu/state-layout.ts';
import { type DefinedFunction, FunctionBody, type FunctionType, I32, I64, memoryOp, op } from '../wasm/encoder.ts';
import { KEYS_OF_GENERATION } from './code-world.ts';
import { deferredAuxFunction, deferredResultFunction } from './compiler/deferred-flags.ts';
import { Exit } from './exits.ts';
import { emitFastTlbEntry, emitHostAddress } from './fast-tlb-emitter.ts';
import { emitJumpCacheEntry, jumpCacheEntry, KEY_SIZES, keyOfSizes } from './jump-cache.ts';
import { record } from './record.ts';
import { callRuntime, RuntimeType, runtimeTypes } from './runtime-functions.ts';

export const SharedType = {
  ...RuntimeType,
  ternary64: 6,
  binary64: 7,
  hostAddress: 8,
  deliverEvent: 9,
  lazyFlags: 10,
  leaveGuest: 11,
  exitInstruction: 12,
} as const;

export const sharedTypes: readonly FunctionType[] = [
  ...runtimeTypes,
  { parameters: [I64, I64, I64], results: [I64] },
  { parameters: [I64, I64], results: [I64] },
  { parameters: [I64, I32, I32, I32], results: [I32] },
  { parameters: [I32, I32, I32], results: [I32] },
  { parameters: [I32, I64, I64], results: [I64] },
  { parameters: [I32, I64, I64, I64, I32, I32, I32, I32, I32], results: [I32] },
  { parameters: [I32, I32], results: [I32] },
];

export const SharedFunction = {
  divideUnsigned128: 0,
  multiplyHighUnsigned: 1,
  multiplyHighSigned: 2,
  /** (kind, a, b) → the word that ZF, SF and PF derive from; see compiler/deferred-flags.ts. */
  deferredResult: 3,
  /** (kind, a, b) → the word that CF, OF and AF derive from. */
  deferredAux: 4,
  /** (record, unused) → Exit: goes to the block at `state.rip` through the jump cache. */
  dispatch: 5,
  /** (record) → Exit: takes the block's budget and runs it. */
  enterBlock: 6,
  /**
   * (linear, fast TLB set, offset of the tag, length) → wasm address of the bytes, or 0 if the fast TLB does not have
   * the page, or not all bytes are on it. This and the next only in the first module of handlers.
   */
  hostAddress: 7,
  /** (vector, error code, EventKind) → 1 if the event of the instruction at `state.rip` was delivered. */
  deliverEvent: 8,
  /** (unused) → 1 if the page fault that a refill found was dealt with. */
  deliverPageFault: 9,
  /** (instructions taken from the budget) → 1 if the guest of the current VMCS was entered; world-entry-emitter.ts. */
  enterGuest: 10,
  /** Makes a VM exit; world-exit-emitter.ts. */
  leaveGuest: 11,
  /** (record, reason) → 1 if the instruction made its VM exit. */
  exitInstruction: 12,
} as const;

/** The arithmetic, in the order of its indices; made once, as it is part of every module. */
export function sharedArithmetic(): readonly DefinedFunction[] {
  arithmetic ??= [
    { type: SharedType.ternary64, body: divideUnsigned128() },
    { type: SharedType.binary64, body: multiplyHighUnsigned() },
    { type: SharedType.binary64, body: multiplyHighSigned() },
    { type: SharedType.lazyFlags, body: deferredResultFunction() },
    { type: SharedType.lazyFlags, body: deferredAuxFunction() },
  ];
  return arithmetic;
}
let arithmetic: readonly DefinedFunction[] | undefined;

/** Shift-and-subtract division of 128 by 64 bits; high < divisor. 64 rounds: rare in compiled code. */
function divideUnsigned128(): Uint8Array {
  const [high, low, divisor] = [0, 1, 2];
  const f = new FunctionBody(3);
  const round = f.local(I32);
  const carry = f.local(I32);
  f.get(high).emit(op.i64Eqz).if();
  f.get(low).get(divisor).emit(op.i64DivU, op.return).end();
  f.i32(64).set(round).loop();
  f.get(high).i64(0n).emit(op.i64LtS).set(carry);
  f.get(high).i64(1n).emit(op.i64Shl).get(low).i64(63n).emit(op.i64ShrU, op.i64Or).set(high);
  f.get(low).i64(1n).emit(op.i64Shl).set(low);
  f.get(carry).get(high).get(divisor).emit(op.i64GeU, op.i32Or).if();
  f.get(high).get(divisor).emit(op.i64Sub).set(high);
  f.get(low).i64(1n).emit(op.i64Or).set(low).end();
  f.get(round).i32(1).emit(op.i32Sub).tee(round).branchIf(0).end();
  return f.get(low).bytes();
}

/** High half of a 64 × 64-bit product from four 32-bit products. */
function multiplyHighUnsigned(): Uint8Array {
  const [a, b] = [0, 1];
  const f = new FunctionBody(2);
  const middle = f.local(I64);
  const other = f.local(I64);
  const low32 = (x: number) => f.get(x).i64(0xffff_ffffn).emit(op.i64And);
  const high32 = (x: number) => f.get(x).i64(32n).emit(op.i64ShrU);
  low32(a);
  low32(b);
  f.emit(op.i64Mul).i64(32n).emit(op.i64ShrU);
  high32(a);
  low32(b);
  f.emit(op.i64Mul, op.i64Add).set(middle);
  low32(a);
  high32(b);
  f.emit(op.i64Mul);
  low32(middle);
  f.emit(op.i64Add).set(other);
  high32(a);
  high32(b);
  f.emit(op.i64Mul);
  high32(middle);
  f.emit(op.i64Add);
  high32(other);
  return f.emit(op.i64Add).bytes();
}

function multiplyHighSigned(): Uint8Array {
  const [a, b] = [0, 1];
  const f = new FunctionBody(2);
  f.get(a).get(b).call(SharedFunction.multiplyHighUnsigned);
  f.get(a).i64(63n).emit(op.i64ShrS).get(b).emit(op.i64And, op.i64Sub);
  f.get(b).i64(63n).emit(op.i64ShrS).get(a).emit(op.i64And, op.i64Sub);
  return f.bytes();
}

const state64 = keyOfSizes(64, 64);

/**
 * In 64-bit code, whether a block that the jump cache knew under another generation of the same key is still what a
 * fetch finds: renews its entry, else leaves. Locals: the entry (i32), the RIP (i64).
 */
function emitRenewal(f: FunctionBody, entry: number, rip: number): void {
  f.block().block();
  f.get(entry).memory(memoryOp.i64Load, jumpCacheEntry.rip).get(rip).emit(op.i64Ne).branchIf(0);
  f.i32(fieldAddress.jumpKey).memory(memoryOp.i32Load).i32(KEY_SIZES).emit(op.i32And).i32(state64).emit(op.i32Ne);
  f.branchIf(0);
  f.get(entry).memory(memoryOp.i32Load, jumpCacheEntry.key);
  f.i32(fieldAddress.jumpKey).memory(memoryOp.i32Load).emit(op.i32Xor);
  f.i32(KEYS_OF_GENERATION - 1)
    .emit(op.i32And)
    .branchIf(0);
  // Where a slice ends, nothing is fetched.
  f.i32(fieldAddress.budget).memory(memoryOp.i64Load).emit(op.i64Eqz).branchIf(0);
  callRuntime(f.get(rip), 'translateFetch').i32(~0xfff).emit(op.i32And).i32(1).emit(op.i32Add);
  // The walk may have set flags where the block's code was.
  f.get(entry).memory(memoryOp.i32Load, jumpCacheEntry.record).memory(memoryOp.i32Load, record.physicalPage);
  f.emit(op.i32Eq).branchIf(1).end();
  f.i32(fieldAddress.linkSite).i32(0).memory(memoryOp.i32Store).i32(Exit.Lookup).emit(op.return).end();
  f.get(entry).i32(fieldAddress.jumpKey).memory(memoryOp.i32Load).memory(memoryOp.i32Store, jumpCacheEntry.key);
}

/** Goes to the block at `state.rip` if the jump cache knows it and the budget covers it, else leaves. */
export function dispatchFunction(): Uint8Array {
  const f = new FunctionBody(1);
  const rec = 0;
  const entry = f.local(I32);
  const rip = f.local(I64);
  const state = (name: keyof typeof fieldAddress) => f.i32(fieldAddress[name]);
  state('rip').memory(memoryOp.i64Load).set(rip);
  emitJumpCacheEntry(f, rip, entry);
  f.get(entry).memory(memoryOp.i64Load, jumpCacheEntry.rip).get(rip).emit(op.i64Eq);
  f.get(entry).memory(memoryOp.i32Load, jumpCacheEntry.key);
  state('jumpKey').memory(memoryOp.i32Load).emit(op.i32Eq, op.i32And, op.i32Eqz).if();
  emitRenewal(f, entry, rip);
  f.end();
  f.get(entry).memory(memoryOp.i32Load, jumpCacheEntry.record).set(rec);
  state('pageBase').get(rip).get(rec).memory(memoryOp.i32Load16U, record.pageOffset);
  f.emit(op.i64ExtendI32U, op.i64Sub).memory(memoryOp.i64Store);
  emitEnterBlock(f, rec, () => {});
  return f.bytes();
}

/** Looks a linear address up in a set of the fast TLB. */
export function hostAddressFunction(): Uint8Array {
  const [linear, set, tag, length] = [0, 1, 2, 3];
  const f = new FunctionBody(4);
  const entry = f.local(I32);
  f.get(linear).emit(op.i32WrapI64).i32(0xfff).emit(op.i32And).get(length).emit(op.i32Add).i32(0x1000);
  f.emit(op.i32GtU).if().i32(0).emit(op.return).end();
  emitFastTlbEntry(f, linear, entry, () => f.get(set));
  f.get(entry).get(tag).emit(op.i32Add).memory(memoryOp.i64Load).get(linear).i64(~0xfffn).emit(op.i64And, op.i64Ne);
  f.if().i32(0).emit(op.return).end();
  emitHostAddress(f, linear, entry);
  return f.bytes();
}

/**
 * Takes the budget of the block at `rec` and tail-calls its first handler; if the budget does not cover it,
 * `setRip` runs and the code returns Exit.Budget.
 */
export function emitEnterBlock(f: FunctionBody, rec: number, setRip: () => void): void {
  const left = f.local(I64);
  f.i32(fieldAddress.budget).memory(memoryOp.i64Load);
  f.get(rec).memory(memoryOp.i32Load16U, record.blockCount).emit(op.i64ExtendI32U, op.i64Sub).tee(left);
  f.i64(0n).emit(op.i64LtS).if();
  setRip();
  f.i32(Exit.Budget).emit(op.return).end();
  f.i32(fieldAddress.budget).get(left).memory(memoryOp.i64Store);
  f.get(rec).get(rec).memory(memoryOp.i32Load, record.handler).returnCallIndirect(SharedType.handler);
  f.release(I64, left);
}
