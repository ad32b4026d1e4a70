/** The arrays that linear mappings lie in (mmu/tlb-layout.ts), as WebAssembly reads and writes them. */
import { type FieldName, fieldAddress } from '../cpu/state-layout.ts';
import { ADDRESSES, LINEAR_LAYOUT, WORDS } from '../mmu/tlb-layout.ts';
import { type FunctionBody, I32, memoryOp, op } from '../wasm/encoder.ts';

/** Where the arrays of a store hold what belongs to a slot. */
const ARRAYS = {
  pages: { count: 1, bytes: 8 },
  addresses: { count: ADDRESSES, bytes: 8 },
  words: { count: WORDS, bytes: 4 },
} as const;
type ArrayName = keyof typeof ARRAYS;

export abstract class MappingArrayEmitter {
  readonly f: FunctionBody;
  /** Locals: address of the mappings; the slot that is looked at. */
  protected readonly tlb: number;
  protected readonly slot: number;

  constructor(f: FunctionBody) {
    this.f = f;
    this.tlb = f.local(I32);
    this.slot = f.local(I32);
  }

  protected field(name: FieldName): FunctionBody {
    return this.f.i32(fieldAddress[name]).memory(memoryOp.i32Load);
  }
  /** Pushes how many mappings there are of a page size. */
  protected live(shift: number): void {
    this.f.get(this.tlb).memory(memoryOp.i32Load, LINEAR_LAYOUT.live + 4 * shift);
  }

  /** Pushes the value that the slot has in an array. */
  protected ofSlot(array: ArrayName, which = 0): void {
    const { bytes } = ARRAYS[array];
    this.#slotAddress(array).memory(
      bytes === 4 ? memoryOp.i32Load : memoryOp.f64Load,
      LINEAR_LAYOUT[array] + which * bytes,
    );
  }
  #slotAddress(array: ArrayName): FunctionBody {
    const { count, bytes } = ARRAYS[array];
    return this.f
      .get(this.slot)
      .i32(count * bytes)
      .emit(op.i32Mul)
      .get(this.tlb)
      .emit(op.i32Add);
  }
  protected setOfSlot(array: ArrayName, which: number, value: () => void): void {
    const { bytes } = ARRAYS[array];
    this.#slotAddress(array);
    value();
    this.f.memory(bytes === 4 ? memoryOp.i32Store : memoryOp.f64Store, LINEAR_LAYOUT[array] + which * bytes);
  }
}
