/**
 * The walk of 4-level paging as WebAssembly (mmu/guest-walk.ts), in root operation, where the tables lie in RAM, nothing is
 * amiss in them, and no flag but of the page's own entry has to be set. In all other cases it leaves with nothing changed.
 */

import {
  AUDITED_ADDRESS,
  CONFIRMED_WALK_BYTES,
  CONFIRMED_WALKS,
  CONFIRMED_WALKS_ADDRESS,
  EMPTY_FAST_TLB_ADDRESS,
  LINEAR_TLB_ADDRESS,
  PAGE_BYTES,
  PAGE_TABLES_ADDRESS,
  RAM_ADDRESS,
  RAM_BYTES_ADDRESS,
  TLB_STATISTICS_ADDRESS,
} from '../cpu/memory-map.ts';
import { CR0, CR4, EFER } from '../cpu/register-bits.ts';
import { fieldAddress } from '../cpu/state-layout.ts';
import { ALL_EPT_RIGHTS, KEY_HIGH, MappingFlag } from '../mmu/access.ts';
import { CONFIRMED_FOR_FETCHES, confirmedWalk, ROOT_FACTOR, ROOT_SHIFT } from '../mmu/confirmed-walks.ts';
import { Entry, guestFormats, PagingMode, XD_HIGH } from '../mmu/paging-structures.ts';
import { PAGE_TABLE, WATCH } from '../mmu/physical-memory.ts';
import { type FunctionBody, I32, I64, memoryOp, op } from '../wasm/encoder.ts';
import { emitHas57Bits } from './canonical-emitter.ts';
import { MappingEmitter } from './mapping-emitter.ts';

/** What a mapping must say as the tables do. The dirty flag may be set in them since. */
const AUDITED_FLAGS = MappingFlag.Write | MappingFlag.User | MappingFlag.Execute;

/** Offsets in the statistics of the TLB. */
const STATISTICS = { hits: 0, misses: 8 } as const;

export abstract class WalkEmitter extends MappingEmitter {
  readonly #physicalAddressBits: number;
  readonly #pages1GB: boolean;
  /** Locals: wasm address of the entry that maps the page, its low half, and the flags that the access sets in it. */
  readonly #entry = this.f.local(I32);
  readonly #low = this.f.local(I32);
  readonly #needed = this.f.local(I32);
  /** Locals by level: wasm addresses of the entries that were read. */
  readonly #entries = [0, 1, 2, 3].map(() => this.f.local(I32));
  /** Local: whether a mapping was found, so that there is no need to walk but for an audit. */
  protected readonly found = this.f.local(I32);
  protected abstract readonly isFetch: boolean;

  constructor(f: FunctionBody, write: number, physicalAddressBits: number, pages1GB: boolean) {
    super(f, write);
    this.#pages1GB = pages1GB;
    this.#physicalAddressBits = physicalAddressBits;
  }

  /** Ends the function, or leaves at depth 3, as the walk met an entry that is not present. */
  protected abstract notPresent(): void;

  /** Root operation, 4-level paging, mappings in this memory, none of 4 MBytes. */
  protected checkMode(): void {
    const f = this.f;
    this.field('nonRoot');
    this.leave();
    this.field('cr0').i32(CR0.PG).emit(op.i32And, op.i32Eqz);
    this.leave();
    this.field('cr4').i32(CR4.PAE).emit(op.i32And, op.i32Eqz);
    this.leave();
    this.field('efer').i32(EFER.LME).emit(op.i32And, op.i32Eqz);
    this.leave();
    this.field('tlbBase').i32(EMPTY_FAST_TLB_ADDRESS).emit(op.i32Eq);
    this.leave();
    f.i32(LINEAR_TLB_ADDRESS).memory(memoryOp.i32Load).tee(this.tlb).emit(op.i32Eqz);
    this.leave();
    this.live(22);
    this.leave();
  }

  /** Looks for a mapping, or walks. While translations are audited it does both, and leaves unless all is well. */
  protected translate(): void {
    const { f, found } = this;
    for (const shift of [12, 21, 30]) this.find(shift, found);
    const isAudited = () => f.i32(AUDITED_ADDRESS).memory(memoryOp.i32Load);
    f.get(found).emit(op.i32Eqz);
    isAudited().emit(op.i32Or).if();
    const [physical, flags] = [f.local(I32), f.local(I32)];
    f.get(this.physical).set(physical).get(this.flags).set(flags);
    this.#walk();
    f.get(found).if();
    f.get(this.physical).get(physical).emit(op.i32Ne);
    f.get(this.flags).get(flags).emit(op.i32Xor).i32(AUDITED_FLAGS).emit(op.i32And, op.i32Or);
    this.leave(2);
    f.get(flags).set(this.flags).end();
    isAudited().if();
    this.#unlessConfirmed();
    this.leave(2);
    f.end().end();
  }

  /** Pushes whether the walk is not among the confirmed ones; ConfirmedWalks. */
  #unlessConfirmed(): void {
    const f = this.f;
    const [at, page] = [f.local(I32), f.local(I64)];
    f.get(this.linear).i64(12n).emit(op.i64ShrU, op.i32WrapI64);
    this.field('cr3').i32(12).emit(op.i32ShrU).i32(ROOT_FACTOR).emit(op.i32Mul).i32(ROOT_SHIFT).emit(op.i32ShrU);
    f.emit(op.i32Xor)
      .i32(CONFIRMED_WALKS - 1)
      .emit(op.i32And)
      .i32(CONFIRMED_WALK_BYTES)
      .emit(op.i32Mul)
      .set(at);
    const fetches = BigInt(CONFIRMED_FOR_FETCHES);
    f.get(this.linear).i64(-BigInt(PAGE_BYTES)).emit(op.i64And).i64(fetches).emit(op.i64Or).set(page);
    f.get(at).memory(memoryOp.i64Load, CONFIRMED_WALKS_ADDRESS + confirmedWalk.page);
    if (!this.isFetch) f.i64(fetches).emit(op.i64Or);
    f.get(page).emit(op.i64Ne);
    for (const [level, entry] of this.#entries.entries()) {
      f.get(at).memory(memoryOp.i32Load, CONFIRMED_WALKS_ADDRESS + confirmedWalk.entries + 4 * level);
      f.get(entry).emit(op.i32Ne, op.i32Or);
    }
  }

  /** The walk, level by level; GuestWalker.walk. Inside one `if`: leaves at depth 1. */
  #walk(): void {
    const f = this.f;
    const { levels, addressMaskHigh } = guestFormats(this.#physicalAddressBits, this.#pages1GB)[
      PagingMode.Level4
    ] as ReturnType<typeof guestFormats>[number];
    const low = this.#low;
    const [table, high] = [f.local(I32), f.local(I32)];
    const [allowed, forbidden] = [f.local(I32), f.local(I32)];
    // Of 5-level paging only what is cached is found here.
    emitHas57Bits(f);
    this.leave(1);
    f.i32(fieldAddress.cr3).memory(memoryOp.i32Load, 4);
    this.leave(1);
    this.field('cr3').i32(~0xfff).emit(op.i32And).set(table);
    f.i32(-1).set(allowed).i32(0).set(forbidden).block();
    for (const [nth, level] of levels.entries()) {
      f.get(table).i32(RAM_BYTES_ADDRESS).memory(memoryOp.i32Load).i32(PAGE_BYTES).emit(op.i32Sub, op.i32GtU);
      this.leave(2);
      const index = () =>
        f.get(this.linear).i64(BigInt(level.shift)).emit(op.i64ShrU, op.i32WrapI64).i32(511).emit(op.i32And);
      f.get(table);
      index().i32(8).emit(op.i32Mul, op.i32Add).i32(RAM_ADDRESS).emit(op.i32Add).tee(this.#entry);
      f.tee(this.#entries[nth] as number)
        .memory(memoryOp.i32Load)
        .set(low)
        .get(this.#entry)
        .memory(memoryOp.i32Load, 4)
        .set(high);
      f.get(low).i32(Entry.P).emit(op.i32And, op.i32Eqz).if();
      this.notPresent();
      f.end();
      f.get(allowed).get(low).emit(op.i32And).set(allowed).get(forbidden).get(high).emit(op.i32Or).set(forbidden);
      const maps = level.isLast || level.mayMapPage;
      if (level.mayMapPage) f.get(low).i32(Entry.PS).emit(op.i32And).if();
      if (maps) {
        const depth = level.mayMapPage ? 1 : 0;
        this.#reserved(low, high, level.pageReservedLow, level.pageReservedHigh, 2 + depth);
        f.get(high)
          .i32(addressMaskHigh | KEY_HIGH)
          .emit(op.i32And);
        this.leave(2 + depth);
        f.get(low)
          .i32(0xffff_f000 & ~(level.bytes - 1))
          .emit(op.i32And);
        f.get(this.linear)
          .emit(op.i32WrapI64)
          .i32(level.bytes - 1)
          .emit(op.i32And, op.i32Or)
          .set(this.physical);
        this.#setFlags(low, allowed, forbidden);
        f.i32(level.shift).set(this.shift).branch(depth);
      }
      if (level.mayMapPage) f.end();
      if (level.isLast) continue;
      f.get(low).i32(Entry.A).emit(op.i32And, op.i32Eqz);
      this.leave(2);
      this.#reserved(low, high, level.tableReservedLow, level.tableReservedHigh, 2);
      // There is no RAM above 4 GiB.
      f.get(high).i32(addressMaskHigh).emit(op.i32And);
      this.leave(2);
      f.get(low).i32(0xffff_f000).emit(op.i32And).set(table);
    }
    f.end();
  }

  #reserved(low: number, high: number, reservedLow: number, reservedHigh: number, depth: number): void {
    const f = this.f;
    f.get(low).i32(reservedLow).emit(op.i32And);
    // XD is reserved unless IA32_EFER.NXE is set.
    f.get(high)
      .i32(reservedHigh)
      .i32(reservedHigh | XD_HIGH);
    this.field('efer').i32(EFER.NXE).emit(op.i32And, op.select, op.i32And, op.i32Or);
    this.leave(depth);
  }

  /** MappingFlag bits of the page that was walked to. */
  #setFlags(low: number, allowed: number, forbidden: number): void {
    const f = this.f;
    const bit = (value: number, from: number, to: number) => {
      f.i32(to).i32(0).get(value).i32(from).emit(op.i32And, op.select);
    };
    bit(allowed, Entry.RW, MappingFlag.Write);
    bit(allowed, Entry.US, MappingFlag.User);
    f.i32(0).i32(MappingFlag.Execute).get(forbidden).i32(XD_HIGH).emit(op.i32And, op.select);
    f.get(this.write).i32(Math.log2(Entry.D)).emit(op.i32Shl).i32(Entry.A).emit(op.i32Or).tee(this.#needed);
    f.get(low).emit(op.i32Or).set(forbidden);
    bit(forbidden, Entry.D, MappingFlag.Dirty);
    bit(low, Entry.G, MappingFlag.Global);
    f.i32(0);
    this.field('cr4').i32(CR4.PGE).emit(op.i32And, op.select);
    f.i32(ALL_EPT_RIGHTS).emit(op.i32Or, op.i32Or, op.i32Or, op.i32Or, op.i32Or).set(this.flags);
  }

  protected pageTableAddress(table: number, physical: () => void = () => this.f.get(this.physical)): FunctionBody {
    const f = this.f;
    f.i32(PAGE_TABLES_ADDRESS).memory(memoryOp.i32Load);
    physical();
    f.i32(12).emit(op.i32ShrU, op.i32Add);
    f.i32(RAM_BYTES_ADDRESS)
      .memory(memoryOp.i32Load)
      .i32(PAGE_BYTES - 1)
      .emit(op.i32Add)
      .i32(12)
      .emit(op.i32ShrU);
    return f.i32(table).emit(op.i32Mul, op.i32Add);
  }
  protected pageTable(table: number): FunctionBody {
    return this.pageTableAddress(table).memory(memoryOp.i32Load8U);
  }

  /** Accessed and dirty flags of the entry that maps the page; leaves if there is code around it, or it is watched. Inside one `else`. */
  protected setEntryFlags(): void {
    const f = this.f;
    const at = () => f.get(this.#entry).i32(RAM_ADDRESS).emit(op.i32Sub);
    f.get(this.#low).get(this.#needed).emit(op.i32And).get(this.#needed).emit(op.i32Ne).if();
    this.pageTableAddress(PAGE_TABLE.code, at).memory(memoryOp.i32Load8U);
    // An audit wants to know what tables say, which these flags are no part of.
    this.pageTableAddress(PAGE_TABLE.watched, at).memory(memoryOp.i32Load8U).i32(~WATCH.TABLE);
    f.emit(op.i32And, op.i32Or);
    this.leave(2);
    f.get(this.#entry).get(this.#low).get(this.#needed).emit(op.i32Or).memory(memoryOp.i32Store);
    this.pageTableAddress(PAGE_TABLE.dirty, at).i32(1).memory(memoryOp.i32Store8).end();
  }

  /** Counts a look-up of the architectural TLB. */
  protected count(which: keyof typeof STATISTICS): void {
    const offset = STATISTICS[which];
    const f = this.f;
    f.i32(TLB_STATISTICS_ADDRESS).i32(TLB_STATISTICS_ADDRESS).memory(memoryOp.f64Load, offset);
    f.f64(1).emit(op.f64Add).memory(memoryOp.f64Store, offset);
  }
}
