/**
 * What fills the fast TLB for compiled code, as WebAssembly: without paging the address itself, else
 * a look into the linear mappings or a walk of 4-level paging, in root operation. It does what `Mmu.fillFor` does (mmu/page-access.ts), in the cases that are the rule: a mapping
 * that serves the access, or tables in RAM in which nothing is amiss and no flag but of the page's own entry has to be set,
 * a free slot for the new mapping, and a page of RAM that nobody watches. In all others nothing is changed, and the runtime's function is called.
 */

import {
  AUDITED_ADDRESS,
  EMPTY_FAST_TLB_ADDRESS,
  FAST_TLB_ADDRESS,
  FAST_TLB_ENTRY_BYTES,
  FAST_TLB_FILLED_ADDRESS,
  FAST_TLB_LOG_ENTRIES,
  FAST_TLB_LOGS_ADDRESS,
  FAST_TLB_PAGES_ADDRESS,
  LINEAR_TLB_ADDRESS,
  PAGE_BYTES,
  PAGE_FAULT_ADDRESS,
  pageFaultField,
  RAM_ADDRESS,
  RAM_BYTES_ADDRESS,
} from '../cpu/memory-map.ts';
import { CR0, CR4, RFLAGS } from '../cpu/register-bits.ts';
import { KEY_FLAGS, MappingFlag, PageFaultCode } from '../mmu/access.ts';

import { PAGE_TABLE } from '../mmu/physical-memory.ts';
import { encodeModule, F64, FunctionBody, I32, I64, memoryOp, op } from '../wasm/encoder.ts';
import { emitUnlessCanonical } from './canonical-emitter.ts';
import { FOR_WRITE, SIZE_MASK, SlowStatus, WITHOUT_RETRY } from './exits.ts';
import { emitFastTlbEntry, emitTlbBase, fastTlbEntry } from './fast-tlb-emitter.ts';
import { emitFetchTranslation } from './fetch-translation.ts';
import type { RuntimeFunctions } from './runtime-functions.ts';
import { WalkEmitter } from './walk-emitter.ts';

const { readTag: READ_TAG, writeTag: WRITE_TAG, addend: ADDEND } = fastTlbEntry;
const INVALID_TAG = 1n;
/** What the refill answers: `No` asks for the slow way, `Fault` leaves a page fault in the memory. */
const Refilled = { No: 0, Yes: 1, Fault: 2 } as const;

/** Types, and indices of the functions: the imported ones come first. */
const Type = { slowAccess: 0, wideAccess: 1, refill: 2, translateFetch: 3 } as const;
const FunctionIndex = { slowRead: 0, slowWrite: 1, wideRead: 2, wideWrite: 3, fetchOfGuests: 4, refill: 5 } as const;

/**
 * Functions that try the refill before the runtime's of the same names, and that of fetches.
 *
 * @param physicalAddressBits MAXPHYADDR, 32 to 48
 * @param pages1GB whether there are pages of 1 GByte
 */
export function refillFunctions(
  memory: WebAssembly.Memory,
  runtime: RuntimeFunctions,
  physicalAddressBits: number,
  pages1GB = true,
): Pick<RuntimeFunctions, 'slowRead' | 'slowWrite' | 'translateFetch'> {
  const module = (compiled[`${physicalAddressBits} ${pages1GB}`] ??= new WebAssembly.Module(
    refillModule(physicalAddressBits, pages1GB),
  ));
  const { exports } = new WebAssembly.Instance(module, { runtime: { ...runtime }, env: { memory } });
  return exports as ReturnType<typeof refillFunctions>;
}

/** By the parameters: the code does not depend on the machine. */
const compiled: Record<string, WebAssembly.Module> = {};

/** Imports functions of the runtime, exports functions to be used in their place. */
function refillModule(physicalAddressBits: number, pages1GB: boolean): Uint8Array {
  return encodeModule({
    types: [
      { parameters: [F64, I32, I32], results: [I32] },
      { parameters: [I64, I32, I32], results: [I32] },
      { parameters: [I64, I32], results: [I32] },
      { parameters: [I64], results: [I32] },
    ],
    imports: [
      { module: 'runtime', name: 'slowRead', type: Type.slowAccess },
      { module: 'runtime', name: 'slowWrite', type: Type.slowAccess },
      // The same, with addresses that a number does not hold.
      { module: 'runtime', name: 'slowRead', type: Type.wideAccess },
      { module: 'runtime', name: 'slowWrite', type: Type.wideAccess },
      { module: 'runtime', name: 'translateFetch', type: Type.translateFetch },
    ],
    functions: [
      { type: Type.refill, body: new Refill(physicalAddressBits, pages1GB).emit() },
      { type: Type.wideAccess, body: slowAccess(FunctionIndex.slowRead), export: 'slowRead' },
      { type: Type.wideAccess, body: slowAccess(FunctionIndex.slowWrite), export: 'slowWrite' },
      {
        type: Type.translateFetch,
        body: emitFetchTranslation(physicalAddressBits, pages1GB, FunctionIndex.fetchOfGuests),
        export: 'translateFetch',
      },
    ],
  });
}

/** The same functions for addresses that a number does not hold. */
const wideOf = {
  [FunctionIndex.slowRead]: FunctionIndex.wideRead,
  [FunctionIndex.slowWrite]: FunctionIndex.wideWrite,
} as const;
/** Numbers hold the addresses that are sign-extended from bit 52 (isa/linear-address.ts). */
const NUMBER_SHIFT = 11n;
/** In bytes: nearer to the end of the canonical addresses, an operand accessed by halves may reach beyond it. */
const LARGEST_OPERAND = 32n;

/**
 * (linear, size, record) → what says that the fast TLB has the page now, if the refill could do it; that an event ended
 * the instruction, if it found a page fault; else what the runtime's function says.
 */
function slowAccess(slowly: keyof typeof wideOf): Uint8Array {
  const [linear, size, rec] = [0, 1, 2];
  const f = new FunctionBody(3);
  const refilled = f.local(I32);
  f.block();
  f.get(size).i32(WITHOUT_RETRY).emit(op.i32And).branchIf(0);
  emitUnlessCanonical(f, linear, () => f.branch(2));
  const last = f.local(I64);
  f.get(linear)
    .i64(LARGEST_OPERAND - 1n)
    .emit(op.i64Add)
    .set(last);
  emitUnlessCanonical(f, last, () => f.branch(2));
  f.get(linear)
    .emit(op.i32WrapI64)
    .i32(PAGE_BYTES - 1)
    .emit(op.i32And);
  f.get(size).i32(SIZE_MASK).emit(op.i32And, op.i32Add).i32(PAGE_BYTES).emit(op.i32GtU).branchIf(0);
  f.get(linear);
  if (slowly === FunctionIndex.slowWrite) f.i32(1);
  else f.get(size).i32(FOR_WRITE).emit(op.i32And, op.i32Eqz, op.i32Eqz);
  f.call(FunctionIndex.refill).tee(refilled).emit(op.i32Eqz).branchIf(0);
  f.i32(SlowStatus.Retry)
    .i32(SlowStatus.Event)
    .get(refilled)
    .i32(Refilled.Yes)
    .emit(op.i32Eq, op.select, op.return)
    .end();
  f.get(linear).get(linear).i64(NUMBER_SHIFT).emit(op.i64Shl).i64(NUMBER_SHIFT).emit(op.i64ShrS, op.i64Eq).if();
  f.get(linear).emit(op.f64ConvertI64S).get(size).get(rec).call(slowly).emit(op.return).end();
  return f.get(linear).get(size).get(rec).call(wideOf[slowly]).bytes();
}

/** (linear, write) → Refilled. */
class Refill extends WalkEmitter {
  protected override readonly isFetch = false;

  constructor(physicalAddressBits: number, pages1GB: boolean) {
    super(new FunctionBody(2), 1, physicalAddressBits, pages1GB);
  }

  emit(): Uint8Array {
    const f = this.f;
    f.block();
    this.#unpaged();
    this.checkMode();
    this.translate();
    this.#checkRights();
    this.#checkPage();
    f.get(this.found).if();
    this.count('hits');
    f.else();
    this.insert(() => this.setEntryFlags());
    this.count('misses');
    f.end();
    this.#fill();
    f.i32(Refilled.Yes).emit(op.return).end();
    return f.i32(Refilled.No).bytes();
  }

  /** Without paging a linear address is a physical one, and the architectural TLB is not asked. */
  #unpaged(): void {
    const f = this.f;
    this.field('cr0').i32(CR0.PG).emit(op.i32And, op.i32Eqz).if();
    this.field('nonRoot');
    this.leave(1);
    this.field('tlbBase').i32(EMPTY_FAST_TLB_ADDRESS).emit(op.i32Eq);
    this.leave(1);
    // Data breakpoints are the MMU's, for one.
    f.i32(LINEAR_TLB_ADDRESS).memory(memoryOp.i32Load).emit(op.i32Eqz);
    f.i32(AUDITED_ADDRESS).memory(memoryOp.i32Load).emit(op.i32Or);
    this.leave(1);
    f.get(this.linear).i64(32n).emit(op.i64ShrU).i64(0n).emit(op.i64Ne);
    this.leave(1);
    f.get(this.linear).emit(op.i32WrapI64).set(this.physical);
    this.#checkPage(1);
    this.#fill();
    f.i32(Refilled.Yes).emit(op.return).end();
  }

  /** #PF, unless there is a mapping all the same: a stale one. */
  protected override notPresent(): void {
    const { f } = this;
    f.get(this.found).branchIf(3);
    this.count('misses');
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

  /** Leaves unless the mapping serves the access; mappingServes of mmu/access.ts, for explicit reads and writes. */
  #checkRights(): void {
    const f = this.f;
    const has = (flag: number) => f.get(this.flags).i32(flag).emit(op.i32And);
    const isUser = () => this.field('cpl').i32(3).emit(op.i32Eq);
    has(KEY_FLAGS);
    this.leave();
    // A user needs a page of the user's; a supervisor one of his own, where SMAP is on and AC clear.
    isUser();
    has(MappingFlag.User).emit(op.i32Eqz, op.i32And);
    isUser().emit(op.i32Eqz);
    has(MappingFlag.User).emit(op.i32Eqz, op.i32Eqz, op.i32And);
    this.field('cr4').i32(CR4.SMAP).emit(op.i32And, op.i32Eqz, op.i32Eqz, op.i32And);
    this.field('flagsOther').i32(RFLAGS.AC).emit(op.i32And, op.i32Eqz, op.i32And, op.i32Or);
    this.leave();
    const rights = MappingFlag.Write | MappingFlag.Dirty;
    // Without CR0.WP a supervisor may write everywhere: left to the slow way.
    f.get(this.write);
    has(rights).i32(rights).emit(op.i32Ne, op.i32And);
    this.leave();
  }

  /** Leaves unless the fast TLB may have the page: all of it RAM, not watched, and without code if it is written. */
  #checkPage(depth = 0): void {
    const f = this.f;
    f.get(this.physical).i32(RAM_BYTES_ADDRESS).memory(memoryOp.i32Load).i32(~0xfff).emit(op.i32And, op.i32GeU);
    this.leave(depth);
    this.pageTable(PAGE_TABLE.watched);
    this.leave(depth);
    this.pageTable(PAGE_TABLE.code).get(this.write).emit(op.i32And);
    this.leave(depth);
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
    this.pageTableAddress(PAGE_TABLE.dirty).i32(1).memory(memoryOp.i32Store8).end();
  }
}
