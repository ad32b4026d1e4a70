/**
 * Where an instruction fetch goes, as WebAssembly: what `Mmu.translate` does (mmu/translation.ts) in the cases that are the
 * rule. With it, code that was found before is found again after its translation was dropped, without the run loop.
 */

import { AUDITED_ADDRESS, LINEAR_TLB_ADDRESS, PAGE_BYTES, RAM_BYTES_ADDRESS } from '../cpu/memory-map.ts';
import { CR4 } from '../cpu/register-bits.ts';
import { MappingFlag } from '../mmu/access.ts';

import { WORD } from '../mmu/tlb-layout.ts';
import { FunctionBody, I32, memoryOp, op } from '../wasm/encoder.ts';
import { WalkEmitter } from './walk-emitter.ts';

/** What the function answers where the run loop has to look; no address of RAM. */
export const NO_FETCH = -1;

/**
 * Body of (linear) → host-physical address in RAM that a fetch at the current privilege reads, or NO_FETCH. `ofGuests` is
 * the index of the function that is asked in non-root operation.
 */
export function emitFetchTranslation(physicalAddressBits: number, pages1GB: boolean, ofGuests: number): Uint8Array {
  const f = new FunctionBody(1);
  return new FetchTranslation(f, f.local(I32), physicalAddressBits, pages1GB).emit(ofGuests);
}

class FetchTranslation extends WalkEmitter {
  protected override readonly isFetch = true;

  emit(ofGuests: number): Uint8Array {
    const f = this.f;
    f.block();
    this.#ofGuests(ofGuests);
    this.checkMode();
    this.translate();
    this.#checkRights();
    f.get(this.physical).i32(RAM_BYTES_ADDRESS).memory(memoryOp.i32Load);
    f.i32(~(PAGE_BYTES - 1)).emit(op.i32And, op.i32GeU);
    this.leave();
    f.get(this.flags).i32(MappingFlag.Executed).emit(op.i32Or).set(this.flags);
    f.get(this.found).if();
    this.setOfSlot('words', WORD.flags, () => f.get(this.flags));
    this.count('hits');
    f.else();
    this.insert(() => this.setEntryFlags());
    this.count('misses');
    f.end();
    f.get(this.physical).emit(op.return).end();
    return f.i32(NO_FETCH).bytes();
  }

  /** Mappings that are watched or audited, or not in this memory, are the run loop's. */
  #ofGuests(translate: number): void {
    const f = this.f;
    this.field('nonRoot').if();
    f.i32(LINEAR_TLB_ADDRESS).memory(memoryOp.i32Load).emit(op.i32Eqz);
    f.i32(AUDITED_ADDRESS).memory(memoryOp.i32Load).emit(op.i32Or);
    this.leave(1);
    f.get(this.linear).call(translate).emit(op.return).end();
  }

  /** The page fault is the run loop's. */
  protected override notPresent(): void {
    this.f.branch(3);
  }

  /** Leaves unless the mapping serves a fetch; mappingServes of mmu/access.ts. */
  #checkRights(): void {
    const f = this.f;
    const has = (flag: number) => f.get(this.flags).i32(flag).emit(op.i32And);
    const isUser = () => this.field('cpl').i32(3).emit(op.i32Eq);
    has(MappingFlag.Execute).emit(op.i32Eqz);
    this.leave();
    // A user needs a page of the user's; where SMEP is on, a supervisor one of his own.
    isUser();
    has(MappingFlag.User).emit(op.i32Eqz, op.i32And);
    isUser().emit(op.i32Eqz);
    has(MappingFlag.User).emit(op.i32Eqz, op.i32Eqz, op.i32And);
    this.field('cr4').i32(CR4.SMEP).emit(op.i32And, op.i32Eqz, op.i32Eqz, op.i32And, op.i32Or);
    this.leave();
  }
}
