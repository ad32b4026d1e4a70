/**
 * The jump cache: from RIP to the record of the block there, direct-mapped, in wasm memory. Entries are valid under the key
 * they were made with (`state.jumpKey`). Compiled code looks them up itself (`dispatch`, compiler/region-emitter.ts).
 */

import { JUMP_CACHE_ADDRESS, JUMP_CACHE_ENTRIES, JUMP_CACHE_ENTRY_BYTES } from '../cpu/memory-map.ts';
import { type LinearAddress, low32, readLinearAddress, writeLinearAddress } from '../isa/linear-address.ts';
import { type FunctionBody, op } from '../wasm/encoder.ts';

/** Offsets in an entry: i64 RIP, u32 wasm address of the record, u32 key. */
export const jumpCacheEntry = { rip: 0, record: 8, key: 12 } as const;

/** The part of a key that tells code and stack size. */
export const keyOfSizes = (codeSize: number, stackSize: number): number =>
  ((codeSize >> 5) * 3 + (stackSize >> 5)) << 2;
/** The bits of it. */
export const KEY_SIZES = 0x3c;

/** The part of a key that tells the extensions that are enabled, a mask of EXTENSION. */
export const keyOfExtensions = (enabled: number): number => enabled << 7;

/** Address of the entry of an RIP; `emitJumpCacheEntry` has the same formula. */
function entryAddress(rip: LinearAddress): number {
  const low = low32(rip) | 0;
  return JUMP_CACHE_ADDRESS + ((low ^ (low >>> 12)) & (JUMP_CACHE_ENTRIES - 1)) * JUMP_CACHE_ENTRY_BYTES;
}

/** Leaves the address of the entry of an RIP (a local, i64) in the local `entry` (i32). */
export function emitJumpCacheEntry(body: FunctionBody, rip: number, entry: number): void {
  body.get(rip).emit(op.i32WrapI64).tee(entry);
  body.get(entry).i32(12).emit(op.i32ShrU, op.i32Xor);
  body.i32(JUMP_CACHE_ENTRIES - 1).emit(op.i32And);
  body.i32(JUMP_CACHE_ENTRY_BYTES).emit(op.i32Mul).i32(JUMP_CACHE_ADDRESS).emit(op.i32Add).set(entry);
}

/** The record of the block at an RIP, or 0 if it is not known under the key. */
export function findInJumpCache(view: DataView, rip: LinearAddress, key: number): number {
  const entry = entryAddress(rip);
  if (view.getUint32(entry + jumpCacheEntry.key, true) !== key) return 0;
  if (readLinearAddress(view, entry + jumpCacheEntry.rip) !== rip) return 0;
  return view.getUint32(entry + jumpCacheEntry.record, true);
}

export function addToJumpCache(view: DataView, rip: LinearAddress, key: number, recordAddress: number): void {
  const entry = entryAddress(rip);
  writeLinearAddress(view, entry + jumpCacheEntry.rip, rip);
  view.setUint32(entry + jumpCacheEntry.record, recordAddress, true);
  view.setUint32(entry + jumpCacheEntry.key, key, true);
}
