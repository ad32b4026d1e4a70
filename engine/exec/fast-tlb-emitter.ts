/** Emits look-ups in the fast TLB. The index is that of mmu/fast-tlb.ts. */
import { FAST_TLB_ENTRIES, FAST_TLB_ENTRY_BYTES, FAST_TLB_INDEX_BITS } from '../cpu/memory-map.ts';
import { fieldAddress } from '../cpu/state-layout.ts';
import { type FunctionBody, I32, memoryOp, op } from '../wasm/encoder.ts';

/** Offsets in an entry. */
export const fastTlbEntry = { readTag: 0, writeTag: 8, addend: 16 } as const;

/**
 * Pushes 1 if the page of an access at the linear address (a local, i64) is there for the access, and all its bytes lie
 * in it. The address of the entry is left in the local `entry` (i32).
 */
export function emitFastTlbLookup(
  body: FunctionBody,
  linear: number,
  entry: number,
  access: { readonly bytes: number; readonly write: boolean },
  emitBase: () => void = () => emitTlbBase(body),
): void {
  emitFastTlbEntry(body, linear, entry, emitBase);
  body.get(entry);
  body.memory(memoryOp.i64Load, access.write ? fastTlbEntry.writeTag : fastTlbEntry.readTag).get(linear);
  if (access.bytes > 1) body.i64(BigInt(access.bytes - 1)).emit(op.i64Add);
  body.i64(~0xfffn).emit(op.i64And, op.i64Eq);
}

/** Leaves the address of the entry for a linear address (a local, i64) of a set in the local `entry` (i32). */
export function emitFastTlbEntry(body: FunctionBody, linear: number, entry: number, emitSet: () => void): void {
  const low = body.local(I32);
  const entryBits = Math.log2(FAST_TLB_ENTRY_BYTES);
  body.get(linear).emit(op.i32WrapI64).tee(low).get(low).i32(FAST_TLB_INDEX_BITS).emit(op.i32ShrU, op.i32Xor);
  body.release(I32, low);
  body
    .i32(12 - entryBits)
    .emit(op.i32ShrU)
    .i32((FAST_TLB_ENTRIES - 1) << entryBits)
    .emit(op.i32And);
  emitSet();
  body.emit(op.i32Add).set(entry);
}

/** Pushes the address of the set of the fast TLB in use. */
export function emitTlbBase(body: FunctionBody): void {
  body.i32(fieldAddress.tlbBase).memory(memoryOp.i32Load);
}

/** Pushes the wasm address that the entry, which was found, translates the linear address to. */
export function emitHostAddress(body: FunctionBody, linear: number, entry: number): void {
  body.get(linear).emit(op.i32WrapI64).get(entry).memory(memoryOp.i32Load, fastTlbEntry.addend).emit(op.i32Add);
}
