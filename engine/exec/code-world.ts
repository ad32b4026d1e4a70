/** What jump-cache entries are valid for: one of these for root operation, and one for non-root operation. */

import {
  CODE_GENERATIONS_ADDRESS,
  FLAT_CODE_ADDRESS,
  JUMP_CACHE_ADDRESS,
  JUMP_CACHE_BYTES,
  REGION_KEYS,
  REGION_KEYS_ADDRESS,
} from '../cpu/memory-map.ts';
import { fieldAddress } from '../cpu/state-layout.ts';
import type { LinearAddress } from '../isa/linear-address.ts';
import type { World } from '../mmu/fast-tlb.ts';
import { type FunctionBody, I32, memoryOp, op } from '../wasm/encoder.ts';

/** Limit of a flat segment; 64-bit code has none. */
export const WHOLE_LIMIT = 0xffff_ffff;

/** Of numbers that a key has room for, all but 0, which stands for none. */
export const GENERATIONS = 2 ** 22;
/** Keys of jump-cache entries in each generation: one for each mode, ring and set of extensions; see jump-cache.ts. */
export const KEYS_OF_GENERATION = 1024;

export const generationAddress = (world: World): number => CODE_GENERATIONS_ADDRESS + 4 * world;

/** Where compiled code finds whether the entries are for a flat code segment. */
export const flatAddress = (world: World): number => FLAT_CODE_ADDRESS + 4 * world;

/** Where keys are kept: address and length in bytes. */
const keyPlaces = [
  [JUMP_CACHE_ADDRESS, JUMP_CACHE_BYTES],
  [REGION_KEYS_ADDRESS, 4 * REGION_KEYS],
] as const;

export class CodeWorld {
  readonly #view: DataView;
  readonly #address: number;
  readonly #flatAddress: number;
  /** Base and limit of the code segment. */
  #base: LinearAddress = 0;
  #limit = WHOLE_LIMIT;

  constructor(view: DataView, world: World) {
    this.#view = view;
    this.#address = generationAddress(world);
    this.#flatAddress = flatAddress(world);
    view.setUint32(this.#flatAddress, 1, true);
    this.begin();
  }

  get generation(): number {
    return this.#view.getUint32(this.#address, true);
  }

  /** All entries made so far are void. */
  begin(): void {
    const next = (this.generation + 1) % GENERATIONS;
    if (next === 0) this.#forgetKeys();
    this.#view.setUint32(this.#address, next || 1, true);
  }
  /** Generations are numbered anew: nothing may be left that was valid in one of the same number. */
  #forgetKeys(): void {
    for (const [address, length] of keyPlaces) new Uint8Array(this.#view.buffer, address, length).fill(0);
  }

  /** A RIP is another address in another segment, and may be beyond its limit. */
  follow(base: LinearAddress, limit: number): void {
    if (base === this.#base && limit === this.#limit) return;
    this.#base = base;
    this.#limit = limit;
    this.#view.setUint32(this.#flatAddress, base === 0 && limit === WHOLE_LIMIT ? 1 : 0, true);
    this.begin();
  }
}

/** Emits `begin` of worlds, root operation being the one in force, whose key follows. */
export function emitBeginCodeWorlds(f: FunctionBody, worlds: readonly World[]): void {
  for (const world of worlds) {
    const next = f.local(I32);
    f.i32(generationAddress(world)).memory(memoryOp.i32Load).i32(1).emit(op.i32Add);
    f.i32(GENERATIONS - 1)
      .emit(op.i32And)
      .tee(next)
      .emit(op.i32Eqz)
      .if();
    for (const [address, length] of keyPlaces) f.i32(address).i32(0).i32(length).memoryFill();
    f.i32(1).set(next).end();
    f.i32(generationAddress(world)).get(next).memory(memoryOp.i32Store);
    f.release(I32, next);
  }
  f.i32(fieldAddress.jumpKey).i32(generationAddress(0)).memory(memoryOp.i32Load);
  f.i32(KEYS_OF_GENERATION).emit(op.i32Mul);
  f.i32(fieldAddress.jumpKey).memory(memoryOp.i32Load);
  f.i32(KEYS_OF_GENERATION - 1)
    .emit(op.i32And, op.i32Or)
    .memory(memoryOp.i32Store);
}
