/**
 * What the host runs on: descriptor tables, a task-state segment, page tables and the code that VM exits lead to, as real
 * structures in host-physical memory, shared by all processors but for the stacks and the task-state segments.
 */
import { PAGE_BYTES } from '../../cpu/memory-map.ts';
import type { Processor } from '../../cpu/processor.ts';
import { CR0, CR4, EFER } from '../../cpu/register-bits.ts';
import { enterLongMode } from '../../cpu/reset.ts';
import { TR } from '../../cpu/state.ts';
import type { HostMemory } from './host-memory.ts';

export const HOST_CODE_SELECTOR = 0x08;
export const HOST_DATA_SELECTOR = 0x10;
export const HOST_TR_SELECTOR = 0x18;
const CODE64 = 0x00af_9b00_0000_ffffn;
const DATA = 0x00cf_9300_0000_ffffn;
const TSS_BYTES = 104;
const BUSY_TSS = 0x8b;
const GATES = 256;
/** Present, DPL 0, interrupt gate. */
const INTERRUPT_GATE = 0x8e00n;

const TABLE = 0x03n;
const LARGE_PAGE = 0x83n;
const LARGE_PAGE_BYTES = 0x20_0000;
const MAPPED_GIB = 4;
const STACK_PAGES = 2;

/**
 * VM exits lead to `vmresume`: the handlers between the exit and that instruction are Ringside's own and have no x86
 * code. Should it fail, `hlt` follows; interrupts of the host, of which there are none, would end at the second `hlt`.
 */
const EXIT_CODE = Uint8Array.of(0x0f, 0x01, 0xc3, 0xf4, 0xeb, 0xfd);
const INTERRUPT_CODE_OFFSET = 0x10;
const INTERRUPT_CODE = Uint8Array.of(0xf4, 0xeb, 0xfd);

/** CR0 and CR4 of the host in VMX operation. */
export const HOST_CR0 = (CR0.PE | CR0.MP | CR0.ET | CR0.NE | CR0.WP | CR0.PG) >>> 0;
export const HOST_CR4 = CR4.PAE | CR4.PGE | CR4.VMXE;
export const HOST_EFER = EFER.SCE | EFER.LME | EFER.LMA | EFER.NXE;
export const HOST_PAT = 0x0007_0406_0007_0406n;

/** Where the structures lie; host-physical and, as the host maps everything one to one, linear addresses. */
export interface HostStructures {
  readonly gdt: number;
  readonly idt: number;
  readonly tss: number;
  readonly pageTables: number;
  readonly stackTop: number;
  /** Where VM exits lead. */
  readonly exitHandler: number;
  /** A page for the memory operands of VMX instructions. */
  readonly scratch: number;
}

/** Builds the structures of one processor. */
export function buildHostStructures(memory: HostMemory): HostStructures {
  const [gdt, idt, tss, code, scratch] = [1, 1, 1, 1, 1].map(() => memory.allocate()) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const stack = memory.allocate(STACK_PAGES);
  memory.physical.poke(code, EXIT_CODE);
  memory.physical.poke(code + INTERRUPT_CODE_OFFSET, INTERRUPT_CODE);
  writeGdt(memory, gdt, tss);
  for (let vector = 0; vector < GATES; vector++) writeGate(memory, idt + vector * 16, code + INTERRUPT_CODE_OFFSET);
  memory.write64(tss + 4, BigInt(stack + STACK_PAGES * PAGE_BYTES));
  return {
    gdt,
    idt,
    tss,
    scratch,
    pageTables: buildPageTables(memory),
    stackTop: stack + STACK_PAGES * PAGE_BYTES,
    exitHandler: code,
  };
}

function writeGdt(memory: HostMemory, gdt: number, tss: number): void {
  memory.write64(gdt + HOST_CODE_SELECTOR, CODE64);
  memory.write64(gdt + HOST_DATA_SELECTOR, DATA);
  const base = BigInt(tss);
  const low = BigInt(TSS_BYTES - 1) | ((base & 0xff_ffffn) << 16n) | (BigInt(BUSY_TSS) << 40n);
  memory.write64(gdt + HOST_TR_SELECTOR, low | (((base >> 24n) & 0xffn) << 56n));
  memory.write64(gdt + HOST_TR_SELECTOR + 8, base >> 32n);
}

function writeGate(memory: HostMemory, at: number, handler: number): void {
  const address = BigInt(handler);
  const selector = BigInt(HOST_CODE_SELECTOR) << 16n;
  memory.write64(at, (address & 0xffffn) | selector | (INTERRUPT_GATE << 32n) | ((address >> 16n) << 48n));
}

/** The first 4 GiB one to one in 2-MiB pages. */
function buildPageTables(memory: HostMemory): number {
  const pml4 = memory.allocate();
  const pdpt = memory.allocate();
  const directories = memory.allocate(MAPPED_GIB);
  memory.write64(pml4, BigInt(pdpt) | TABLE);
  for (let gib = 0; gib < MAPPED_GIB; gib++)
    memory.write64(pdpt + gib * 8, BigInt(directories + gib * PAGE_BYTES) | TABLE);
  for (let index = 0; index < 512 * MAPPED_GIB; index++) {
    memory.write64(directories + index * 8, BigInt(index * LARGE_PAGE_BYTES) | LARGE_PAGE);
  }
  return pml4;
}

/** Puts the loaded processor into the state in which the hypervisor's kernel half runs, VMX operation off. */
export function enterHost(processor: Processor, host: HostStructures): void {
  const { state, tlb } = processor;
  const gdt = {
    base: host.gdt,
    limit: HOST_TR_SELECTOR + 15,
    codeSelector: HOST_CODE_SELECTOR,
    dataSelector: HOST_DATA_SELECTOR,
  };
  enterLongMode(processor, { rip: host.exitHandler, rsp: host.stackTop, gdt, cr3: host.pageTables });
  state.cr0 = HOST_CR0;
  state.cr4 = HOST_CR4;
  state.efer = HOST_EFER;
  state.idtrBase = host.idt;
  state.idtrLimit = GATES * 16 - 1;
  const tr = state.segment(TR);
  tr.selector = HOST_TR_SELECTOR;
  tr.base = host.tss;
  tr.limit = TSS_BYTES - 1;
  tlb.reset();
}
