/**
 * INVLPG and MOV to CR3 of 64-bit code in root operation, as WebAssembly: what a kernel does whenever it changes a mapping
 * or a process. Each does exactly what its TypeScript function does (`invlpg` and `writeCr3` of mmu/translation-control.ts);
 * what is out of the ordinary is left to that function, before the instruction's own effects. A mapping that has gone by
 * then would have gone anyway.
 */
import {
  FAST_TLB_ADDRESS,
  FAST_TLB_ENTRY_BYTES,
  FAST_TLB_FILLED_ADDRESS,
  FAST_TLB_LOG_ENTRIES,
  FAST_TLB_LOGS_ADDRESS,
  FAST_TLB_PAGES_ADDRESS,
  FAST_TLB_SET_BYTES,
  FAST_TLB_SETS,
  LINEAR_TLB_ADDRESS,
  WATCHED,
  WORLD_REGISTERS_ADDRESS,
  worldRegister,
} from '../cpu/memory-map.ts';
import { CR4, RFLAGS } from '../cpu/register-bits.ts';
import { fieldAddress } from '../cpu/state-layout.ts';
import { MappingFlag } from '../mmu/access.ts';
import type { World } from '../mmu/fast-tlb.ts';

import { NO_EPT } from '../mmu/tlb.ts';
import { ADDRESS, kindOf, LINEAR_LAYOUT, LINEAR_SETS, LINEAR_WAYS, WORD } from '../mmu/tlb-layout.ts';
import { F64, FunctionBody, I32, I64, memoryOp, op } from '../wasm/encoder.ts';
import { emitBeginCodeWorlds } from './code-world.ts';
import { emitFastTlbEntry, fastTlbEntry } from './fast-tlb-emitter.ts';
import { MappingArrayEmitter } from './mapping-array-emitter.ts';
import { record } from './record.ts';
import { emitSlowWay } from './ring-transitions.ts';
import { SharedFunction } from './shared-functions.ts';
import { emitWatched } from './watched-emitter.ts';

/** The record's address, parameter of a handler. */
const REC = 0;
const NO_FLUSH = 1n << 63n;
const BOTH_WORLDS: readonly World[] = [0, 1];

/** Handler of INVLPG with a 64-bit address. */
export const emitInvlpg = (): Uint8Array => new TranslationChange(0).invlpg();
/** Handler of MOV to CR3. */
export const emitMovToCr3 = (): Uint8Array => new TranslationChange(WATCHED.registers).movToCr3();

class TranslationChange extends MappingArrayEmitter {
  /** Label of the block that leads to the slow way. */
  readonly #slow: number;
  /** Locals: what a mapping has as its owner if it is the address space's; whether code was fetched through one that went. */
  readonly #owner: number;
  readonly #executed: number;

  /** `watched`: WATCHED bits of those who want to be told of this instruction, beside those of all. */
  constructor(watched: number) {
    super(new FunctionBody(1));
    const { f } = this;
    this.#owner = f.local(I32);
    this.#executed = f.local(I32);
    f.block();
    this.#slow = f.label;
    this.#checkState(watched | WATCHED.debugRegisters | WATCHED.instructions);
  }

  /** Leaves for the slow way if the value on the stack is not 0. */
  #leave(): void {
    const { f } = this;
    f.branchIf(f.label - this.#slow);
  }

  /** Ring 0 of root operation at an ordinary boundary, unwatched, mappings in this memory, none of 4 MBytes or in fragments. */
  #checkState(watched: number): void {
    const { f } = this;
    this.field('nonRoot');
    this.field('cpl').emit(op.i32Or);
    this.field('interruptibility').emit(op.i32Or);
    this.field('pendingDebug').emit(op.i32Or);
    this.field('flagsOther')
      .i32(RFLAGS.TF | RFLAGS.RF)
      .emit(op.i32And, op.i32Or);
    emitWatched(f, watched).emit(op.i32Or);
    f.i32(LINEAR_TLB_ADDRESS).memory(memoryOp.i32Load).tee(this.tlb).emit(op.i32Eqz, op.i32Or);
    this.#leave();
    this.live(22);
    f.get(this.tlb).memory(memoryOp.i32Load, LINEAR_LAYOUT.fragments).emit(op.i32Or);
    this.#leave();
  }

  // ---- INVLPG ------------------------------------------------------------------------------------------------------

  invlpg(): Uint8Array {
    const { f } = this;
    const linear = f.local(I64);
    this.#operandLinear(linear);
    f.get(linear).i64(16n).emit(op.i64Shl).i64(16n).emit(op.i64ShrS).get(linear).emit(op.i64Ne);
    this.#leave();
    f.i32(fieldAddress.cr3).memory(memoryOp.i64Load);
    this.#ownerOf();
    for (const shift of [21, 30]) this.#leaveIfMapped(linear, shift);
    this.#dropPage(linear);
    this.#dropFastPage(linear);
    f.get(this.#executed).if();
    emitBeginCodeWorlds(f, BOTH_WORLDS);
    f.end();
    return this.#finish();
  }

  #operandLinear(linear: number): void {
    const { f } = this;
    const part = (field: number) => f.get(REC).memory(memoryOp.i32Load, field).memory(memoryOp.i64Load);
    part(record.base);
    part(record.index).get(REC).memory(memoryOp.i64Load32U, record.shift).emit(op.i64Shl, op.i64Add);
    f.get(REC).memory(memoryOp.i64Load, record.displacement).emit(op.i64Add);
    part(record.segment).emit(op.i64Add).set(linear);
  }

  /** A larger page that goes takes many fast translations with it. */
  #leaveIfMapped(linear: number, shift: number): void {
    this.live(shift);
    this.f.if();
    this.#forEachOfSet(linear, shift, () => {
      this.f.i32(1);
      this.#leave();
    });
    this.f.end();
  }

  #dropPage(linear: number): void {
    const { f } = this;
    this.#forEachOfSet(linear, 12, () => {
      this.#inScope(true);
      f.if();
      this.#drop();
      f.end();
    });
  }

  /** Visits the slots that hold the page of an address, in the set of its size. */
  #forEachOfSet(linear: number, shift: number, visit: () => void): void {
    const { f } = this;
    const [page, end] = [f.local(F64), f.local(I32)];
    f.get(linear)
      .i64(~((1n << BigInt(shift)) - 1n))
      .emit(op.i64And, op.f64ConvertI64S)
      .set(page);
    f.get(linear).i64(BigInt(shift)).emit(op.i64ShrU, op.i32WrapI64);
    f.i32(LINEAR_SETS - 1)
      .emit(op.i32And)
      .i32(LINEAR_WAYS)
      .emit(op.i32Mul)
      .tee(this.slot);
    f.i32(LINEAR_WAYS).emit(op.i32Add).set(end).loop();
    this.ofSlot('pages');
    f.get(page).emit(op.f64Eq).if();
    this.ofSlot('words', WORD.kind);
    f.i32(0xff).emit(op.i32And).i32(shift).emit(op.i32Eq).if();
    visit();
    f.end().end();
    f.get(this.slot).i32(1).emit(op.i32Add).tee(this.slot).get(end).emit(op.i32LtU).branchIf(0).end();
  }

  /** FastTlb.dropPage of both worlds. */
  #dropFastPage(linear: number): void {
    const { f } = this;
    const [entry, tag, set] = [f.local(I32), f.local(I64), f.local(I32)];
    f.get(linear).i64(~0xfffn).emit(op.i64And).set(tag);
    f.i32(FAST_TLB_ADDRESS).set(set).loop();
    emitFastTlbEntry(f, linear, entry, () => f.get(set));
    for (const offset of [fastTlbEntry.readTag, fastTlbEntry.writeTag]) {
      f.get(entry).memory(memoryOp.i64Load, offset).get(tag).emit(op.i64Eq).if();
      f.get(entry).i64(1n).memory(memoryOp.i64Store, offset).end();
    }
    f.get(set).i32(FAST_TLB_SET_BYTES).emit(op.i32Add).tee(set);
    f.i32(FAST_TLB_ADDRESS + FAST_TLB_SETS * FAST_TLB_SET_BYTES)
      .emit(op.i32LtU)
      .branchIf(0)
      .end();
  }

  // ---- MOV to CR3 --------------------------------------------------------------------------------------------------

  movToCr3(): Uint8Array {
    const { f } = this;
    const [value, keep] = [f.local(I64), f.local(I32)];
    f.get(REC)
      .memory(memoryOp.i32Load, record.register + 4)
      .memory(memoryOp.i64Load)
      .set(value);
    this.#usesPcids();
    f.if();
    f.get(value).i64(NO_FLUSH).emit(op.i64And).i64(0n).emit(op.i64Ne).set(keep);
    f.get(value).i64(~NO_FLUSH).emit(op.i64And).set(value).end();
    // There is no RAM above 4 GiB, and some of these bits are reserved.
    f.get(value).i64(32n).emit(op.i64ShrU).i64(0n).emit(op.i64Ne);
    f.i32(FAST_TLB_FILLED_ADDRESS).memory(memoryOp.i32Load).i32(FAST_TLB_LOG_ENTRIES).emit(op.i32GtU, op.i32Or);
    this.#leave();
    f.get(keep).emit(op.i32Eqz).if();
    f.get(value);
    this.#ownerOf();
    this.#dropSpace();
    f.end();
    for (const at of [fieldAddress.cr3, WORLD_REGISTERS_ADDRESS + worldRegister.cr3])
      f.i32(at).get(value).memory(memoryOp.i64Store);
    this.#dropFastWorld();
    emitBeginCodeWorlds(f, [0]);
    return this.#finish();
  }

  /** Drops all mappings of the address space but global ones: MappingStore.dropAll, of 8 sets at a time. */
  #dropSpace(): void {
    const { f } = this;
    const set = f.local(I32);
    f.i32(0).set(set).loop();
    f.get(this.tlb).get(set).emit(op.i32Add).memory(memoryOp.i64Load, LINEAR_LAYOUT.liveOfSet).emit(op.i64Eqz).if();
    f.get(set).i32(8).emit(op.i32Add).set(set).else();
    this.#dropSet(set);
    f.get(set).i32(1).emit(op.i32Add).set(set).end();
    f.get(set).i32(LINEAR_SETS).emit(op.i32LtU).branchIf(0).end();
  }

  #dropSet(set: number): void {
    const { f } = this;
    const end = f.local(I32);
    f.get(this.tlb).get(set).emit(op.i32Add).memory(memoryOp.i32Load8U, LINEAR_LAYOUT.liveOfSet).if();
    f.get(set).i32(LINEAR_WAYS).emit(op.i32Mul).tee(this.slot).i32(LINEAR_WAYS).emit(op.i32Add).set(end).loop();
    this.ofSlot('pages');
    this.ofSlot('pages');
    f.emit(op.f64Eq).if();
    this.#inScope(false);
    f.if();
    this.#drop();
    f.end().end();
    f.get(this.slot).i32(1).emit(op.i32Add).tee(this.slot).get(end).emit(op.i32LtU).branchIf(0).end().end();
  }

  /** FastTlb.dropWorld of root operation, whose log has all that was filled. */
  #dropFastWorld(): void {
    const { f } = this;
    const [at, slot] = [f.local(I32), f.local(I32)];
    f.i32(FAST_TLB_FILLED_ADDRESS).memory(memoryOp.i32Load).i32(4).emit(op.i32Mul).set(at);
    f.i32(FAST_TLB_FILLED_ADDRESS).i32(0).memory(memoryOp.i32Store);
    f.block().loop().get(at).emit(op.i32Eqz).branchIf(1);
    f.get(at).i32(4).emit(op.i32Sub).tee(at).memory(memoryOp.i32Load, FAST_TLB_LOGS_ADDRESS).set(slot);
    for (const tag of [fastTlbEntry.readTag, fastTlbEntry.writeTag]) {
      f.get(slot)
        .i32(FAST_TLB_ENTRY_BYTES)
        .emit(op.i32Mul)
        .i64(1n)
        .memory(memoryOp.i64Store, FAST_TLB_ADDRESS + tag);
    }
    f.get(slot).i32(4).emit(op.i32Mul).i32(-1).memory(memoryOp.i32Store, FAST_TLB_PAGES_ADDRESS);
    f.branch(0).end().end();
  }

  // ---- mappings ----------------------------------------------------------------------------------------------------

  #usesPcids(): void {
    this.field('cr4').i32(CR4.PCIDE).emit(op.i32And);
  }

  /** Pops a value of CR3 and sets `owner`: VPID 0000H, and the PCID where there are any. */
  #ownerOf(): void {
    const { f } = this;
    f.emit(op.i32WrapI64).i32(0xfff).emit(op.i32And).i32(16).emit(op.i32Shl).i32(0);
    this.#usesPcids();
    f.emit(op.select).set(this.#owner);
  }

  /** Pushes whether the slot's mapping is within the scope of the invalidation. */
  #inScope(withGlobal: boolean): void {
    const { f } = this;
    const isGlobal = () => {
      this.ofSlot('words', WORD.flags);
      f.i32(MappingFlag.Global).emit(op.i32And);
    };
    this.ofSlot('words', WORD.owner);
    f.get(this.#owner).emit(op.i32Eq);
    if (!withGlobal) {
      isGlobal();
      f.emit(op.i32Eqz, op.i32And);
      return;
    }
    this.ofSlot('words', WORD.owner);
    f.i32(0xffff).emit(op.i32And, op.i32Eqz);
    isGlobal();
    f.emit(op.i32Eqz, op.i32Eqz, op.i32And, op.i32Or);
  }

  /** The slot's mapping goes; one that EPT had a part in goes the slow way. */
  #drop(): void {
    const { f } = this;
    const counter = f.local(I32);
    const decrement = (load: number, store: number, offset: number) => {
      f.get(counter).get(counter).memory(load, offset).i32(1).emit(op.i32Sub).memory(store, offset);
    };
    this.ofSlot('addresses', ADDRESS.eptRoot);
    f.f64(NO_EPT).emit(op.f64Ne);
    this.#leave();
    this.ofSlot('words', WORD.flags);
    f.i32(MappingFlag.Executed).emit(op.i32And).get(this.#executed).emit(op.i32Or).set(this.#executed);
    this.setOfSlot('pages', 0, () => f.f64(Number.NaN));
    this.ofSlot('words', WORD.kind);
    f.i32(kindOf(0xff, 0, 0))
      .emit(op.i32And)
      .i32(4)
      .emit(op.i32Mul)
      .get(this.tlb)
      .emit(op.i32Add)
      .set(counter);
    decrement(memoryOp.i32Load, memoryOp.i32Store, LINEAR_LAYOUT.live);
    f.get(this.slot).i32(LINEAR_WAYS).emit(op.i32DivU).get(this.tlb).emit(op.i32Add).set(counter);
    decrement(memoryOp.i32Load8U, memoryOp.i32Store8, LINEAR_LAYOUT.liveOfSet);
    f.release(I32, counter);
  }

  /** On to the next instruction; behind it, the slow way. */
  #finish(): Uint8Array {
    const { f } = this;
    f.i32(fieldAddress.rip).i32(fieldAddress.pageBase).memory(memoryOp.i64Load);
    f.get(REC).memory(memoryOp.i64Load32U, record.nextOffset).emit(op.i64Add).memory(memoryOp.i64Store);
    f.get(REC).returnCall(SharedFunction.dispatch).end();
    return emitSlowWay(f);
  }
}
