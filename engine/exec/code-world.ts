/** What jump-cache entries are valid for: one of these for root operation, and one for non-root operation. */
import { CODE_GENERATIONS_ADDRESS } from '../cpu/memory-map.ts';
import { fieldAddress } from '../cpu/state-layout.ts';
import type { World } from '../mmu/fast-tlb.ts';
import { type FunctionBody, memoryOp, op } from '../wasm/encoder.ts';

/** Limit of a flat segment; 64-bit code has none. */
export const WHOLE_LIMIT = 0xffff_ffff;

const GENERATIONS = 2 ** 25;
/** Keys of jump-cache entries in each generation: one for each mode and ring. */
export const KEYS_OF_GENERATION = 128;

const generationAddress = (world: World): number => CODE_GENERATIONS_ADDRESS + 4 * world;

export class CodeWorld {
  readonly #view: DataView;
  readonly #address: number;
  /** Base and limit of the code segment. */
  #base = 0;
  #limit = WHOLE_LIMIT;

  constructor(view: DataView, world: World) {
    this.#view = view;
    this.#address = generationAddress(world);
    this.begin();
  }

  get generation(): number {
    return this.#view.getUint32(this.#address, true);
  }

  /** All entries made so far are void. */
  begin(): void {
    this.#view.setUint32(this.#address, (this.generation + 1) % GENERATIONS, true);
  }

  /** A RIP is another address in another segment, and may be beyond its limit. */
  follow(base: number, limit: number): void {
    if (base === this.#base && limit === this.#limit) return;
    this.#base = base;
    this.#limit = limit;
    this.begin();
  }
}

/** Emits `begin` of worlds, root operation being the one in force, whose key follows. */
export function emitBeginCodeWorlds(f: FunctionBody, worlds: readonly World[]): void {
  for (const world of worlds) {
    f.i32(generationAddress(world)).i32(generationAddress(world)).memory(memoryOp.i32Load);
    f.i32(1).emit(op.i32Add);
    f.i32(GENERATIONS - 1)
      .emit(op.i32And)
      .memory(memoryOp.i32Store);
  }
  f.i32(fieldAddress.jumpKey).i32(generationAddress(0)).memory(memoryOp.i32Load);
  f.i32(KEYS_OF_GENERATION).emit(op.i32Mul);
  f.i32(fieldAddress.jumpKey).memory(memoryOp.i32Load);
  f.i32(KEYS_OF_GENERATION - 1)
    .emit(op.i32And, op.i32Or)
    .memory(memoryOp.i32Store);
}
