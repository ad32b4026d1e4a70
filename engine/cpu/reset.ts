/**
 * The state after power-up and INIT (SDM volume 3, "Processor State After Reset"), and the states in which a loader
 * hands a program the CPU without firmware.
 */
import { DR6_RESET, DR7_RESET } from './debug-registers.ts';
import { writeFlags } from './flags.ts';
import { refreshMode } from './modes.ts';
import type { Processor } from './processor.ts';
import { randomStart } from './random-numbers.ts';
import { ACCESS, ACTIVITY, APIC_BASE, CR0, CR4, EFER, MISC_ENABLE } from './register-bits.ts';
import { RSP } from './stack.ts';
import { type CpuState, CS, GS, LDTR, SS, TR } from './state.ts';

const RDX = 2;

/** Access rights of segments: accessed read/write data, accessed readable code, LDT, busy 32- or 64-bit TSS. */
const DATA = ACCESS.P | ACCESS.S | 3;
const CODE = ACCESS.P | ACCESS.S | 11;
const LDT = ACCESS.P | 2;
const BUSY_TSS = ACCESS.P | 11;
const FLAT = ACCESS.G | ACCESS.DB;

interface HiddenPart {
  readonly selector: number;
  readonly base: number;
  readonly limit: number;
  readonly attributes: number;
}

function setSegment(state: CpuState, index: number, part: HiddenPart): void {
  Object.assign(state.segment(index), part);
}

/** The x87 FPU after power-up: all exceptions unmasked, +0 in every register. INIT leaves it alone. */
function resetX87(state: CpuState): void {
  state.fcw = 0x40;
  state.ftw = 0xff;
}

/** All exceptions masked, round to nearest. */
const MXCSR_RESET = 0x1f80;

/** MSRs, MXCSR and the TSC survive INIT, so only power-up sets them. */
function resetMsrs({ state, model }: Processor): void {
  const enabled = model.options.localApic ? APIC_BASE.ENABLE : 0;
  state.apicBase = APIC_BASE.ADDRESS + enabled + (state.initialApicId === 0 ? APIC_BASE.BSP : 0);
  state.pat = 0x0007_0406_0007_0406n;
  state.miscEnable = 0x1801n | (model.has('MONITOR') ? MISC_ENABLE.MONITOR : 0n);
  state.featureControl = 0;
  state.tscAdjust = 0n;
  state.tscAux = 0;
  state.star = 0n;
  state.lstar = 0n;
  state.cstar = 0n;
  state.fmask = 0;
  state.kernelGsBase = 0;
  state.sysenterCs = 0;
  state.sysenterEsp = 0;
  state.sysenterEip = 0;
  state.debugctl = 0;
  state.xcr0 = 1;
  state.mxcsr = MXCSR_RESET;
}

/** Power-up or RESET: everything, including MSRs and cached translations. Memory and clock are the machine's. */
export function powerUp(processor: Processor): void {
  const { state } = processor;
  const { budget, retired, jumpKey, linkSite, exitRecord, initialApicId } = state;
  state.bytes.fill(0);
  // Bookkeeping of the executions is no state of the CPU: a guest may reset the machine in the middle of a slice. The
  // initial APIC ID comes from the machine's wiring.
  Object.assign(state, { budget, retired, jumpKey, linkSite, exitRecord, initialApicId });
  state.randomState = randomStart(processor.model.options.randomSeed, initialApicId);
  resetMsrs(processor);
  resetX87(state);
  state.globalInterruptFlag = 1;
  state.cr0 = CR0.CD | CR0.NW | CR0.ET;
  resetRegisters(processor);
}

/** INIT: as power-up, but MSRs, CR0.CD, CR0.NW and memory stay. The VMX side of INIT is the caller's. */
export function init(processor: Processor): void {
  const { state } = processor;
  state.cr0 = (state.cr0 & (CR0.CD | CR0.NW)) | CR0.ET;
  for (let index = 0; index < 16; index++) state.setGpr(index, 0n);
  state.cr2 = 0n;
  state.cr3 = 0;
  state.cr4 = 0;
  state.cr8 = 0;
  state.efer = 0;
  state.dr0 = 0n;
  state.dr1 = 0n;
  state.dr2 = 0n;
  state.dr3 = 0n;
  resetRegisters(processor);
}

/** A start-up IPI to a processor that waits for one: real-address mode at `vector` × 4096. */
export function startUp({ state }: Processor, vector: number): void {
  const code = state.segment(CS);
  code.selector = vector << 8;
  code.base = vector << 12;
  state.rip = 0;
  state.activityState = ACTIVITY.ACTIVE;
}

/** What power-up and INIT set alike to values other than 0. */
function resetRegisters(processor: Processor): void {
  const { state } = processor;
  writeFlags(state, 2);
  state.rip = 0xfff0;
  state.dr6 = DR6_RESET;
  state.dr7 = DR7_RESET;
  for (let index = 0; index <= GS; index++) {
    setSegment(state, index, { selector: 0, base: 0, limit: 0xffff, attributes: DATA });
  }
  // The manual calls CS read/write here too; as code it also serves for the instructions between setting CR0.PE and
  // the far jump, and satisfies the checks of VM entry.
  setSegment(state, CS, { selector: 0xf000, base: 0xffff_0000, limit: 0xffff, attributes: CODE });
  setSegment(state, LDTR, { selector: 0, base: 0, limit: 0xffff, attributes: LDT });
  setSegment(state, TR, { selector: 0, base: 0, limit: 0xffff, attributes: BUSY_TSS });
  state.gdtrBase = 0;
  state.gdtrLimit = 0xffff;
  state.idtrBase = 0;
  state.idtrLimit = 0xffff;
  state.setGpr32(RDX, processor.model.cpuid(state, 1, 0).eax);
  state.cpl = 0;
  state.activityState = ACTIVITY.ACTIVE;
  state.interruptibility = 0;
  state.pendingDebug = 0;
  state.repeating = 0;
  state.monitorArmed = 0;
  processor.tlb.reset();
  refreshMode(processor);
}

/** Real-address mode at `cs`:`ip`, as firmware enters a boot sector: 64 KiB segments, caches on. */
export function enterRealMode(processor: Processor, entry: { cs: number; ip: number; ss?: number; sp?: number }): void {
  const { state } = processor;
  powerUp(processor);
  state.cr0 = CR0.ET;
  for (let index = 0; index <= GS; index++) {
    setSegment(state, index, { selector: 0, base: 0, limit: 0xffff, attributes: DATA });
  }
  setSegment(state, CS, { selector: entry.cs, base: entry.cs * 16, limit: 0xffff, attributes: CODE });
  const ss = entry.ss ?? 0;
  setSegment(state, SS, { selector: ss, base: ss * 16, limit: 0xffff, attributes: DATA });
  state.idtrLimit = 0x3ff;
  state.rip = entry.ip;
  state.setGpr32(RSP, entry.sp ?? 0);
  processor.tlb.reset();
  refreshMode(processor);
}

/** Where a loader put the descriptors that the segment registers are to agree with. */
export interface BootGdt {
  readonly base: number;
  readonly limit: number;
  readonly codeSelector: number;
  readonly dataSelector: number;
}

export interface BootEntry {
  readonly rip: number;
  readonly rsp: number;
  readonly gdt: BootGdt;
}

function setFlatSegments(state: CpuState, gdt: BootGdt, codeAttributes: number): void {
  const flat = { base: 0, limit: 0xffff_ffff };
  for (let index = 0; index <= GS; index++) {
    setSegment(state, index, { ...flat, selector: gdt.dataSelector, attributes: DATA | FLAT });
  }
  setSegment(state, CS, { ...flat, selector: gdt.codeSelector, attributes: codeAttributes });
  state.gdtrBase = gdt.base;
  state.gdtrLimit = gdt.limit;
  state.idtrLimit = 0;
}

/** 32-bit protected mode without paging, flat segments, interrupts off (as Multiboot and others prescribe). */
export function enterProtectedMode(processor: Processor, entry: BootEntry): void {
  const { state } = processor;
  powerUp(processor);
  state.cr0 = CR0.ET | CR0.PE;
  setFlatSegments(state, entry.gdt, CODE | FLAT);
  state.rip = entry.rip;
  state.setGpr32(RSP, entry.rsp);
  processor.tlb.reset();
  refreshMode(processor);
}

/** 64-bit mode with the given page tables, flat segments, interrupts off. */
export function enterLongMode(processor: Processor, entry: BootEntry & { readonly cr3: number }): void {
  const { state } = processor;
  powerUp(processor);
  state.cr0 = (CR0.ET | CR0.PE | CR0.PG | CR0.NE | CR0.WP) >>> 0;
  state.cr4 = CR4.PAE;
  state.cr3 = entry.cr3;
  state.efer = EFER.LME | EFER.LMA;
  setFlatSegments(state, entry.gdt, CODE | ACCESS.G | ACCESS.L);
  state.rip = entry.rip;
  state.setGprLinear(RSP, entry.rsp);
  processor.tlb.reset();
  refreshMode(processor);
}
