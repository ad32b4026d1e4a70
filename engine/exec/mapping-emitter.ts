/**
 * The linear mappings of the TLB (mmu/tlb.ts) as WebAssembly sees them: looking for one, and adding one. Part of the
 * refill (tlb-refill.ts).
 */
import { CR4 } from '../cpu/register-bits.ts';
import { fieldAddress } from '../cpu/state-layout.ts';
import { MappingFlag } from '../mmu/access.ts';
import { PagingMode } from '../mmu/paging-structures.ts';
import { NO_EPT } from '../mmu/tlb.ts';
import { ADDRESS, LINEAR_LAYOUT, LINEAR_SETS, LINEAR_WAYS, WORD } from '../mmu/tlb-layout.ts';
import { F64, type FunctionBody, I32, I64, memoryOp, op } from '../wasm/encoder.ts';
import { MappingArrayEmitter } from './mapping-array-emitter.ts';

/** Emits into a function of a linear address (i64), in the block that leads to the slow way. */
export abstract class MappingEmitter extends MappingArrayEmitter {
  /** Parameter. */
  protected readonly linear = 0;
  /** Parameter or local (i32): whether the access is a write. */
  protected readonly write: number;
  /** Locals: the slot after the set that is looked at; the page that is looked for. */
  protected readonly end: number;
  protected readonly page: number;
  /** Locals: host-physical address of the access, MappingFlag bits, and log2 of the page's size if it was walked to. */
  protected readonly physical: number;
  protected readonly flags: number;
  protected readonly shift: number;

  constructor(f: FunctionBody, write: number) {
    super(f);
    this.write = write;
    this.end = f.local(I32);
    this.page = f.local(F64);
    this.physical = f.local(I32);
    this.flags = f.local(I32);
    this.shift = f.local(I32);
  }

  /** Leaves for the slow way if the value on the stack is not 0; `depth` blocks out of the outermost. */
  protected leave(depth = 0): void {
    this.f.branchIf(depth);
  }

  /** Pushes VPID (which is 0) and PCID as the mappings have them. */
  #owner(): void {
    this.field('cr3').i32(0xfff).emit(op.i32And).i32(16).emit(op.i32Shl).i32(0);
    this.field('cr4').i32(CR4.PCIDE).emit(op.i32And, op.select);
  }

  /** Sets `slot` to the first of the set of the page size in `shift` (a number or a local), `end` to the one after it. */
  #selectSet(shift: () => void): void {
    const f = this.f;
    f.get(this.linear);
    shift();
    f.emit(op.i64ExtendI32U, op.i64ShrU, op.i32WrapI64)
      .i32(LINEAR_SETS - 1)
      .emit(op.i32And);
    f.i32(LINEAR_WAYS).emit(op.i32Mul).tee(this.slot).i32(LINEAR_WAYS).emit(op.i32Add).set(this.end);
  }
  /** Looks for a mapping of a page size, unless one is found; MappingStore.find and its order. */
  protected find(shift: number, found: number): void {
    const f = this.f;
    f.block();
    f.get(found).branchIf(0);
    this.live(shift);
    f.emit(op.i32Eqz).branchIf(0);
    f.get(this.linear)
      .i64(~((1n << BigInt(shift)) - 1n))
      .emit(op.i64And, op.f64ConvertI64S)
      .set(this.page);
    this.#selectSet(() => f.i32(shift));
    f.get(this.slot).i32(LINEAR_WAYS).emit(op.i32DivU).get(this.tlb).emit(op.i32Add);
    f.memory(memoryOp.i32Load8U, LINEAR_LAYOUT.liveOfSet).emit(op.i32Eqz).branchIf(0);
    f.loop();
    // Hardly any slot holds the page: this alone is looked at first.
    this.ofSlot('pages');
    f.get(this.page).emit(op.f64Eq).if();
    this.#matches(shift);
    f.if();
    this.ofSlot('addresses', ADDRESS.physical);
    f.emit(op.i64TruncF64S)
      .get(this.linear)
      .i64((1n << BigInt(shift)) - 1n)
      .emit(op.i64And, op.i64Add);
    const physical = f.local(I64);
    f.tee(physical).emit(op.i32WrapI64).set(this.physical);
    f.get(physical).i64(32n).emit(op.i64ShrU).i64(0n).emit(op.i64Ne).branchIf(4);
    this.ofSlot('words', WORD.flags);
    f.set(this.flags).i32(1).set(found).branch(3).end().end();
    f.get(this.slot).i32(1).emit(op.i32Add).tee(this.slot).get(this.end).emit(op.i32LtU).branchIf(0).end();
    f.end();
  }

  /** Pushes whether the slot, which holds the page, maps it under the current tag. */
  #matches(shift: number): void {
    const f = this.f;
    this.ofSlot('words', WORD.kind);
    f.i32(0xff).emit(op.i32And).i32(shift).emit(op.i32Eq);
    this.ofSlot('addresses', ADDRESS.eptRoot);
    f.f64(NO_EPT).emit(op.f64Eq, op.i32And);
    this.ofSlot('words', WORD.owner);
    this.#owner();
    f.emit(op.i32Eq);
    // A global mapping of the same VPID.
    this.ofSlot('words', WORD.owner);
    f.i32(0xffff).emit(op.i32And, op.i32Eqz);
    this.ofSlot('words', WORD.flags);
    f.i32(MappingFlag.Global).emit(op.i32And, op.i32Eqz, op.i32Eqz, op.i32And, op.i32Or, op.i32And);
  }

  /**
   * Puts the mapping that was walked to into a free slot of its set; leaves if there is none. Inside one `else`. `prepare`
   * comes before anything is changed, and may leave too.
   */
  protected insert(prepare: () => void): void {
    const f = this.f;
    const offset = f.local(I64);
    const shift = () => f.get(this.shift);
    const set = f.local(I32);
    this.#selectSet(shift);
    f.get(this.slot).i32(LINEAR_WAYS).emit(op.i32DivU).get(this.tlb).emit(op.i32Add).set(set);
    f.block().loop();
    this.ofSlot('pages');
    this.ofSlot('pages');
    f.emit(op.f64Ne).branchIf(1);
    f.get(this.slot).i32(1).emit(op.i32Add).tee(this.slot).get(this.end).emit(op.i32LtU).branchIf(0).end();
    f.branch(2).end();
    prepare();
    f.get(this.linear).i64(1n).get(this.shift).emit(op.i64ExtendI32U, op.i64Shl).i64(1n).emit(op.i64Sub, op.i64And);
    f.set(offset);
    this.setOfSlot('pages', 0, () => f.get(this.linear).get(offset).emit(op.i64Sub, op.f64ConvertI64S));
    this.setOfSlot('addresses', ADDRESS.physical, () =>
      f.get(this.physical).emit(op.i64ExtendI32U).get(offset).emit(op.i64Sub, op.f64ConvertI64S),
    );
    this.setOfSlot('addresses', ADDRESS.eptRoot, () => f.f64(NO_EPT));
    this.setOfSlot('addresses', ADDRESS.root, () =>
      f.i32(fieldAddress.cr3).memory(memoryOp.i64Load).i64(~0xfffn).emit(op.i64And, op.f64ConvertI64S),
    );
    this.setOfSlot('words', WORD.owner, () => this.#owner());
    this.setOfSlot('words', WORD.flags, () => f.get(this.flags));
    this.setOfSlot('words', WORD.kind, () =>
      f
        .get(this.shift)
        .i32(0x101)
        .emit(op.i32Mul)
        .i32(PagingMode.Level4 << 16)
        .emit(op.i32Or),
    );
    const live = f.local(I32);
    f.get(this.shift).i32(4).emit(op.i32Mul).get(this.tlb).emit(op.i32Add).tee(live);
    f.get(live).memory(memoryOp.i32Load, LINEAR_LAYOUT.live).i32(1).emit(op.i32Add);
    f.memory(memoryOp.i32Store, LINEAR_LAYOUT.live);
    f.get(set).get(set).memory(memoryOp.i32Load8U, LINEAR_LAYOUT.liveOfSet).i32(1).emit(op.i32Add);
    f.memory(memoryOp.i32Store8, LINEAR_LAYOUT.liveOfSet);
  }
}
