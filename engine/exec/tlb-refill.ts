/**
 * What fills the fast TLB for compiled code, as WebAssembly: a look into the linear mappings, else a walk of 4-level
 * paging, in root operation. It does what `Mmu.fillFor` does (mmu/mmu.ts), in the cases that are the rule: a mapping
 * that serves the access, or tables in RAM in which nothing is amiss and no flag but of the page's own entry has to be set,
 * a free slot for the new mapping, and a page of RAM that nobody watches. In all others nothing is changed, and the runtime's function is called.
 */
import {
  FAST_TLB_ADDRESS,
  FAST_TLB_ENTRY_BYTES,
  FAST_TLB_FILLED_ADDRESS,
  FAST_TLB_LOG_ENTRIES,
  FAST_TLB_LOGS_ADDRESS,
  FAST_TLB_PAGES_ADDRESS,
  LINEAR_TLB_ADDRESS,
  PAGE_BYTES,
  PAGE_FAULT_ADDRESS,
  PAGE_TABLES_ADDRESS,
  pageFaultField,
  RAM_ADDRESS,
  RAM_BYTES_ADDRESS,
  TLB_STATISTICS_ADDRESS,
} from '../cpu/memory-map.ts';
import { RFLAGS } from '../cpu/register-bits.ts';
import { fieldAddress } from '../cpu/state-layout.ts';
import { ALL_EPT_RIGHTS, MappingFlag, PageFaultCode } from '../mmu/access.ts';
import { Cr0, Cr4, Efer, Entry, guestFormats, PagingMode, XD_HIGH } from '../mmu/paging-structures.ts';
import { PAGE_TABLE } from '../mmu/physical-memory.ts';
import { encodeModule, F64, FunctionBody, I32, I64, memoryOp, op } from '../wasm/encoder.ts';
import { FOR_WRITE, SIZE_MASK, SlowStatus, WITHOUT_RETRY } from './exits.ts';
import { emitFastTlbEntry, emitTlbBase, fastTlbEntry } from './fast-tlb-emitter.ts';
import { MappingEmitter } from './mapping-emitter.ts';

const { readTag: READ_TAG, writeTag: WRITE_TAG, addend: ADDEND } = fastTlbEntry;
const INVALID_TAG = 1n;
/** What the refill answers: `No` asks for the slow way, `Fault` leaves a page fault in the memory. */
const Refilled = { No: 0, Yes: 1, Fault: 2 } as const;

/** Types, and indices of the functions: the imported ones come first. */
const Type = { slowAccess: 0, refill: 1 } as const;
const FunctionIndex = { slowRead: 0, slowWrite: 1, fillFast: 2, refill: 3 } as const;

/**
 * The imports of compiled code with the refill before the runtime's functions.
 *
 * @param physicalAddressBits MAXPHYADDR, 32 to 48
 */
export function withRefill(
  memory: WebAssembly.Memory,
  runtime: Readonly<Record<string, unknown>>,
  physicalAddressBits: number,
): Record<string, unknown> {
  const module = (compiled[physicalAddressBits] ??= new WebAssembly.Module(refillModule(physicalAddressBits)));
  const { exports } = new WebAssembly.Instance(module, { runtime: { ...runtime }, env: { memory } });
  return { ...runtime, slowRead: exports.slowRead, slowWrite: exports.slowWrite, fillFast: exports.fillFast };
}

/** By MAXPHYADDR: the code does not depend on the machine. */
const compiled: Record<number, WebAssembly.Module> = {};

/** Imports functions of the runtime, exports functions to be used in their place. */
function refillModule(physicalAddressBits: number): Uint8Array {
  return encodeModule({
    types: [
      { parameters: [F64, I32, I32], results: [I32] },
      { parameters: [I64, I32], results: [I32] },
    ],
    imports: [
      { module: 'runtime', name: 'slowRead', type: Type.slowAccess },
      { module: 'runtime', name: 'slowWrite', type: Type.slowAccess },
      { module: 'runtime', name: 'fillFast', type: Type.slowAccess },
    ],
    functions: [
      { type: Type.refill, body: new Refill(physicalAddressBits).emit() },
      { type: Type.slowAccess, body: slowAccess(FunctionIndex.slowRead), export: 'slowRead' },
      { type: Type.slowAccess, body: slowAccess(FunctionIndex.slowWrite), export: 'slowWrite' },
      { type: Type.slowAccess, body: slowAccess(FunctionIndex.fillFast), export: 'fillFast' },
    ],
    importsTable: false,
  });
}

/**
 * (linear, size, record) → what says that the fast TLB has the page now, if the refill could do it; that an event ended
 * the instruction, if it found a page fault; else what the runtime's function says.
 */
function slowAccess(slowly: number): Uint8Array {
  const [linear, size, rec] = [0, 1, 2];
  const f = new FunctionBody(3);
  const address = f.local(I64);
  const refilled = f.local(I32);
  f.block();
  f.get(size).i32(WITHOUT_RETRY).emit(op.i32And).branchIf(0);
  f.get(linear)
    .f64(-(2 ** 47))
    .emit(op.f64Ge)
    .get(linear)
    .f64(2 ** 47)
    .emit(op.f64Lt, op.i32And, op.i32Eqz)
    .branchIf(0);
  f.get(linear)
    .emit(op.i64TruncF64S)
    .tee(address)
    .emit(op.i32WrapI64)
    .i32(PAGE_BYTES - 1)
    .emit(op.i32And);
  f.get(size).i32(SIZE_MASK).emit(op.i32And, op.i32Add).i32(PAGE_BYTES).emit(op.i32GtU).branchIf(0);
  f.get(address);
  if (slowly === FunctionIndex.slowWrite) f.i32(1);
  else f.get(size).i32(FOR_WRITE).emit(op.i32And, op.i32Eqz, op.i32Eqz);
  f.call(FunctionIndex.refill).tee(refilled).emit(op.i32Eqz).branchIf(0);
  f.i32(slowly === FunctionIndex.fillFast ? 0 : SlowStatus.Retry)
    .i32(SlowStatus.Event)
    .get(refilled)
    .i32(Refilled.Yes)
    .emit(op.i32Eq, op.select, op.return)
    .end();
  return f.get(linear).get(size).get(rec).call(slowly).bytes();
}

/** (linear, write) → Refilled. */
class Refill extends MappingEmitter {
  readonly #physicalAddressBits: number;
  /** Locals: wasm address of the entry that maps the page, its low half, and the flags that the access sets in it. */
  readonly #entry = this.f.local(I32);
  readonly #low = this.f.local(I32);
  readonly #needed = this.f.local(I32);

  constructor(physicalAddressBits: number) {
    super(new FunctionBody(2));
    this.#physicalAddressBits = physicalAddressBits;
  }

  emit(): Uint8Array {
    const f = this.f;
    f.block();
    this.#checkMode();
    // Found mappings leave this block with what they lead to; others walk.
    const found = f.local(I32);
    for (const shift of [12, 21, 30]) this.find(shift, found);
    f.get(found).emit(op.i32Eqz).if();
    this.#walk();
    f.end();
    this.#checkRights();
    this.#checkPage();
    f.get(found).if();
    this.#count(0);
    f.else();
    this.insert(() => this.#setEntryFlags());
    this.#count(8);
    f.end();
    this.#fill();
    f.i32(Refilled.Yes).emit(op.return).end();
    return f.i32(Refilled.No).bytes();
  }

  /** Root operation, 4-level paging, mappings in this memory, none of 4 MBytes. */
  #checkMode(): void {
    const f = this.f;
    this.field('nonRoot');
    this.leave();
    this.field('cr0').i32(Cr0.PG).emit(op.i32And, op.i32Eqz);
    this.leave();
    this.field('cr4').i32(Cr4.PAE).emit(op.i32And, op.i32Eqz);
    this.leave();
    this.field('efer').i32(Efer.LME).emit(op.i32And, op.i32Eqz);
    this.leave();
    f.i32(LINEAR_TLB_ADDRESS).memory(memoryOp.i32Load).tee(this.tlb).emit(op.i32Eqz);
    this.leave();
    this.live(22);
    this.leave();
  }

  /** The walk, level by level; GuestWalker.walk. Inside one `if`: leaves at depth 1. */
  #walk(): void {
    const f = this.f;
    const { levels, addressMaskHigh } = guestFormats(this.#physicalAddressBits)[PagingMode.Level4] as ReturnType<
      typeof guestFormats
    >[number];
    const low = this.#low;
    const [table, high] = [f.local(I32), f.local(I32)];
    const [allowed, forbidden] = [f.local(I32), f.local(I32)];
    f.i32(fieldAddress.cr3).memory(memoryOp.i32Load, 4);
    this.leave(1);
    this.field('cr3').i32(~0xfff).emit(op.i32And).set(table);
    f.i32(-1).set(allowed).i32(0).set(forbidden).block();
    for (const level of levels) {
      f.get(table).i32(RAM_BYTES_ADDRESS).memory(memoryOp.i32Load).i32(PAGE_BYTES).emit(op.i32Sub, op.i32GtU);
      this.leave(2);
      const index = () =>
        f.get(this.linear).i64(BigInt(level.shift)).emit(op.i64ShrU, op.i32WrapI64).i32(511).emit(op.i32And);
      f.get(table);
      index().i32(8).emit(op.i32Mul, op.i32Add).i32(RAM_ADDRESS).emit(op.i32Add).tee(this.#entry);
      f.memory(memoryOp.i32Load).set(low).get(this.#entry).memory(memoryOp.i32Load, 4).set(high);
      f.get(low).i32(Entry.P).emit(op.i32And, op.i32Eqz).if();
      this.#pageFault();
      f.end();
      f.get(allowed).get(low).emit(op.i32And).set(allowed).get(forbidden).get(high).emit(op.i32Or).set(forbidden);
      const maps = level.isLast || level.mayMapPage;
      if (level.mayMapPage) f.get(low).i32(Entry.PS).emit(op.i32And).if();
      if (maps) {
        const depth = level.mayMapPage ? 1 : 0;
        this.#reserved(low, high, level.pageReservedLow, level.pageReservedHigh, 2 + depth);
        f.get(high).i32(addressMaskHigh).emit(op.i32And);
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

  /** An entry that is not present ends the walk in #PF, and the function. */
  #pageFault(): void {
    const { f } = this;
    this.#count(8);
    f.i32(PAGE_FAULT_ADDRESS).i32(1).memory(memoryOp.i32Store, pageFaultField.isPending);
    f.i32(PAGE_FAULT_ADDRESS)
      .get(this.write)
      .i32(Math.log2(PageFaultCode.W))
      .emit(op.i32Shl)
      .i32(PageFaultCode.U)
      .i32(0);
    this.field('cpl').i32(3).emit(op.i32Eq, op.select, op.i32Or).memory(memoryOp.i32Store, pageFaultField.errorCode);
    f.i32(PAGE_FAULT_ADDRESS).get(this.linear).memory(memoryOp.i64Store, pageFaultField.linear);
    f.i32(Refilled.Fault).emit(op.return);
  }

  #reserved(low: number, high: number, reservedLow: number, reservedHigh: number, depth: number): void {
    const f = this.f;
    f.get(low).i32(reservedLow).emit(op.i32And);
    // XD is reserved unless IA32_EFER.NXE is set.
    f.get(high)
      .i32(reservedHigh)
      .i32(reservedHigh | XD_HIGH);
    this.field('efer').i32(Efer.NXE).emit(op.i32And, op.select, op.i32And, op.i32Or);
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
    this.field('cr4').i32(Cr4.PGE).emit(op.i32And, op.select);
    f.i32(ALL_EPT_RIGHTS).emit(op.i32Or, op.i32Or, op.i32Or, op.i32Or, op.i32Or).set(this.flags);
  }

  /** Leaves unless the mapping serves the access; mappingServes of mmu/access.ts, for explicit reads and writes. */
  #checkRights(): void {
    const f = this.f;
    const has = (flag: number) => f.get(this.flags).i32(flag).emit(op.i32And);
    const isUser = () => this.field('cpl').i32(3).emit(op.i32Eq);
    // A user needs a page of the user's; a supervisor one of his own, where SMAP is on and AC clear.
    isUser();
    has(MappingFlag.User).emit(op.i32Eqz, op.i32And);
    isUser().emit(op.i32Eqz);
    has(MappingFlag.User).emit(op.i32Eqz, op.i32Eqz, op.i32And);
    this.field('cr4').i32(Cr4.SMAP).emit(op.i32And, op.i32Eqz, op.i32Eqz, op.i32And);
    this.field('flagsOther').i32(RFLAGS.AC).emit(op.i32And, op.i32Eqz, op.i32And, op.i32Or);
    this.leave();
    const rights = MappingFlag.Write | MappingFlag.Dirty;
    // Without CR0.WP a supervisor may write everywhere: left to the slow way.
    f.get(this.write);
    has(rights).i32(rights).emit(op.i32Ne, op.i32And);
    this.leave();
  }

  /** Leaves unless the fast TLB may have the page: all of it RAM, not watched, and without code if it is written. */
  #checkPage(): void {
    const f = this.f;
    f.get(this.physical).i32(RAM_BYTES_ADDRESS).memory(memoryOp.i32Load).i32(~0xfff).emit(op.i32And, op.i32GeU);
    this.leave();
    this.#pageTable(PAGE_TABLE.watched);
    this.leave();
    this.#pageTable(PAGE_TABLE.code).get(this.write).emit(op.i32And);
    this.leave();
  }
  #pageTableAddress(table: number, physical: () => void = () => this.f.get(this.physical)): FunctionBody {
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
  #pageTable(table: number): FunctionBody {
    return this.#pageTableAddress(table).memory(memoryOp.i32Load8U);
  }

  /** Accessed and dirty flags of the entry that maps the page; leaves if there is code around it. Inside one `else`. */
  #setEntryFlags(): void {
    const f = this.f;
    const at = () => f.get(this.#entry).i32(RAM_ADDRESS).emit(op.i32Sub);
    f.get(this.#low).get(this.#needed).emit(op.i32And).get(this.#needed).emit(op.i32Ne).if();
    this.#pageTableAddress(PAGE_TABLE.code, at).memory(memoryOp.i32Load8U);
    this.leave(2);
    f.get(this.#entry).get(this.#low).get(this.#needed).emit(op.i32Or).memory(memoryOp.i32Store);
    this.#pageTableAddress(PAGE_TABLE.dirty, at).i32(1).memory(memoryOp.i32Store8).end();
  }

  #count(offset: number): void {
    const f = this.f;
    f.i32(TLB_STATISTICS_ADDRESS).i32(TLB_STATISTICS_ADDRESS).memory(memoryOp.f64Load, offset);
    f.f64(1).emit(op.f64Add).memory(memoryOp.f64Store, offset);
  }

  /** FastTlb.fill, for the set in force. */
  #fill(): void {
    const f = this.f;
    const [entry, pageOf, ramPage, count, tag] = [f.local(I32), f.local(I32), f.local(I32), f.local(I32), f.local(I64)];
    f.get(this.linear).i64(~0xfffn).emit(op.i64And).set(tag);
    f.get(this.physical).i32(12).emit(op.i32ShrU).set(ramPage);
    emitFastTlbEntry(f, this.linear, entry, () => emitTlbBase(f));
    f.get(entry);
    f.i32(FAST_TLB_ADDRESS)
      .emit(op.i32Sub)
      .i32(FAST_TLB_ENTRY_BYTES / 4)
      .emit(op.i32DivU)
      .set(pageOf);
    f.get(pageOf).memory(memoryOp.i32Load, FAST_TLB_PAGES_ADDRESS).get(ramPage).emit(op.i32Ne);
    f.get(entry).memory(memoryOp.i64Load, READ_TAG).get(tag).emit(op.i64Ne);
    f.get(entry).memory(memoryOp.i64Load, WRITE_TAG).get(tag).emit(op.i64Ne, op.i32And, op.i32Or).if();
    f.get(pageOf).memory(memoryOp.i32Load, FAST_TLB_PAGES_ADDRESS).i32(-1).emit(op.i32Eq).if();
    f.i32(FAST_TLB_FILLED_ADDRESS).i32(FAST_TLB_FILLED_ADDRESS).memory(memoryOp.i32Load).tee(count);
    f.i32(1).emit(op.i32Add).memory(memoryOp.i32Store);
    f.get(count).i32(FAST_TLB_LOG_ENTRIES).emit(op.i32LtU).if();
    f.get(count).i32(4).emit(op.i32Mul).get(pageOf).i32(4).emit(op.i32DivU);
    f.memory(memoryOp.i32Store, FAST_TLB_LOGS_ADDRESS).end().end();
    f.get(entry).i64(INVALID_TAG).memory(memoryOp.i64Store, READ_TAG);
    f.get(entry).i64(INVALID_TAG).memory(memoryOp.i64Store, WRITE_TAG);
    f.get(pageOf).get(ramPage).memory(memoryOp.i32Store, FAST_TLB_PAGES_ADDRESS);
    f.get(entry).get(this.physical).i32(~0xfff).emit(op.i32And).i32(RAM_ADDRESS).emit(op.i32Add);
    f.get(tag).emit(op.i32WrapI64, op.i32Sub).memory(memoryOp.i32Store, ADDEND).end();
    f.get(entry).get(tag).memory(memoryOp.i64Store, READ_TAG);
    f.get(this.write).if().get(entry).get(tag).memory(memoryOp.i64Store, WRITE_TAG);
    this.#pageTableAddress(PAGE_TABLE.dirty).i32(1).memory(memoryOp.i32Store8).end();
  }
}
