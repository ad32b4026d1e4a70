/** XSAVE, XSAVEOPT, XSAVEC, XSAVES, XRSTOR, XRSTORS (SDM volume 1, "Managing State Using the XSAVE Feature Set"). */

import { type LinearAddress, plus } from '../../isa/linear-address.ts';
import { GP, NM } from '../events.ts';
import type { DecodedInstruction, SystemInstruction } from '../instruction.ts';
import { Privilege, type Processor } from '../processor.ts';
import { CR0 } from '../register-bits.ts';
import {
  AVX_OFFSET,
  areaBytes,
  COMPONENT,
  compactedBytes,
  compactedPkruOffset,
  componentsInUse,
  HEADER_END,
  initializeX87,
  MXCSR_INITIAL,
  MXCSR_MASK,
  PKRU_BYTES,
  PKRU_OFFSET,
} from './components.ts';
import { areaAddress } from './fxsave.ts';
import {
  type Commit,
  clearHalves,
  loadHalves,
  loadX87,
  loadXmm,
  type Pointers,
  readMxcsr,
  saveHalves,
  saveMxcsr,
  saveX87,
  saveXmm,
} from './legacy-region.ts';
import { checkEnabled } from './xcr0.ts';

const [RAX] = [0];
const { X87, SSE, AVX, PKRU } = COMPONENT;
const HEADER = { XSTATE_BV: 512, XCOMP_BV: 520, REST: 528 } as const;
/** XCOMP_BV of an area in the compacted format. */
const COMPACTED = 1n << 63n;
const ALIGNMENT = 64;

/** RFBM: what software asks for and has enabled. IA32_XSS is always 0, so XSAVES and XRSTORS add nothing. */
const requested = ({ state }: Processor): number => state.gpr32(RAX) & state.xcr0;

function check(cpu: Processor): void {
  checkEnabled(cpu);
  if (cpu.state.cr0 & CR0.TS) throw NM();
}

/** XSAVES and XRSTORS are for ring 0, and in VMX non-root operation have to be enabled. */
function checkSupervisor(cpu: Processor): void {
  checkEnabled(cpu);
  cpu.intercepts?.onXsaves?.();
  if (cpu.state.cpl !== 0) throw GP(0);
  if (cpu.state.cr0 & CR0.TS) throw NM();
}

/** Writes the components of `written`, to an area that will accept it and has PKRU at an offset. */
function saveComponents(
  cpu: Processor,
  linear: LinearAddress,
  { written, pkruOffset }: { written: number; pkruOffset: number },
  pointers: Pointers,
): void {
  if (written & X87) saveX87(cpu, linear, pointers);
  if (written & SSE) saveXmm(cpu, linear);
  if (written & AVX) saveHalves(cpu, plus(linear, AVX_OFFSET), 16);
  if (written & PKRU) cpu.memory.writeU64(plus(linear, pkruOffset), BigInt(cpu.state.pkru), Privilege.Current);
}

function writableArea(cpu: Processor, insn: DecodedInstruction, bytes: number): LinearAddress {
  const linear = areaAddress(cpu, insn, { bytes, alignment: ALIGNMENT, access: 'write' });
  cpu.memory.probeWrite(linear, bytes, Privilege.Current);
  return linear;
}

/** The standard format. XSAVEOPT leaves out what is in its initial configuration, XSAVE writes that as well. */
const standard =
  (pointers: Pointers, leavesOutInitial: boolean): SystemInstruction =>
  (cpu, insn) => {
    check(cpu);
    const { state, memory } = cpu;
    const asked = requested(cpu);
    const linear = writableArea(cpu, insn, areaBytes(asked));
    const inUse = componentsInUse(state);
    const before = memory.readU64(plus(linear, HEADER.XSTATE_BV), Privilege.Current);
    const written = leavesOutInitial ? asked & inUse : asked;
    saveComponents(cpu, linear, { written, pkruOffset: PKRU_OFFSET }, pointers);
    if (asked & (SSE | AVX)) saveMxcsr(cpu, linear);
    const after = (before & ~BigInt(asked)) | BigInt(asked & inUse);
    memory.writeU64(plus(linear, HEADER.XSTATE_BV), after, Privilege.Current);
  };

/** The compacted format, without what is in its initial configuration; MXCSR belongs to SSE here. */
function saveCompacted(cpu: Processor, insn: DecodedInstruction, pointers: Pointers): void {
  const { state, memory } = cpu;
  const asked = requested(cpu);
  const linear = writableArea(cpu, insn, compactedBytes(asked));
  const written = asked & (componentsInUse(state) | (state.mxcsr === MXCSR_INITIAL ? 0 : SSE));
  saveComponents(cpu, linear, { written, pkruOffset: compactedPkruOffset(asked) }, pointers);
  if (written & SSE) saveMxcsr(cpu, linear);
  memory.writeU64(plus(linear, HEADER.XSTATE_BV), BigInt(written), Privilege.Current);
  memory.writeU64(plus(linear, HEADER.XCOMP_BV), COMPACTED | BigInt(asked), Privilege.Current);
}

const compacted =
  (pointers: Pointers): SystemInstruction =>
  (cpu, insn) => {
    check(cpu);
    saveCompacted(cpu, insn, pointers);
  };

const supervisor =
  (pointers: Pointers): SystemInstruction =>
  (cpu, insn) => {
    checkSupervisor(cpu);
    saveCompacted(cpu, insn, pointers);
  };

export const XSAVE = standard('32-bit', false);
export const XSAVE64 = standard('64-bit', false);
export const XSAVEOPT = standard('32-bit', true);
export const XSAVEOPT64 = standard('64-bit', true);
export const XSAVEC = compacted('32-bit');
export const XSAVEC64 = compacted('64-bit');
export const XSAVES = supervisor('32-bit');
export const XSAVES64 = supervisor('64-bit');

interface Header {
  /** Components that the area holds; the others it says to be in their initial configuration. */
  readonly held: number;
  readonly isCompacted: boolean;
  /** Where it has PKRU. */
  readonly pkruOffset: number;
}

/** Reads the header, with the checks that both formats ask for. */
function readHeader(cpu: Processor, linear: LinearAddress): Header {
  const read = (offset: number) => cpu.memory.readU64(plus(linear, offset), Privilege.Current);
  const [held, compaction] = [read(HEADER.XSTATE_BV), read(HEADER.XCOMP_BV)];
  const rest = [0, 1, 2, 3, 4, 5].map((n) => read(HEADER.REST + 8 * n));
  const isCompacted = (compaction & COMPACTED) !== 0n;
  const enabled = BigInt(cpu.state.xcr0);
  const allowed = isCompacted ? compaction & ~COMPACTED : enabled;
  if ((allowed & ~enabled) !== 0n || (held & ~allowed) !== 0n) throw GP(0);
  const reserved = isCompacted ? rest : [compaction, rest[0]];
  if (reserved.some((value) => value !== 0n)) throw GP(0);
  const pkruOffset = isCompacted ? compactedPkruOffset(Number(allowed)) : PKRU_OFFSET;
  return { held: Number(held), isCompacted, pkruOffset };
}

function restoreFrom(cpu: Processor, insn: DecodedInstruction, pointers: Pointers, onlyCompacted: boolean): void {
  const { state } = cpu;
  const asked = requested(cpu);
  const linear = areaAddress(cpu, insn, { bytes: HEADER_END, alignment: ALIGNMENT, access: 'read' });
  const { held, isCompacted, pkruOffset } = readHeader(cpu, linear);
  if (onlyCompacted && !isCompacted) throw GP(0);
  const read = asked & held;
  const bytes = read & PKRU ? pkruOffset + PKRU_BYTES : areaBytes(read);
  areaAddress(cpu, insn, { bytes, alignment: ALIGNMENT, access: 'read' });
  const commits = [
    ...loadComponents(cpu, linear, { asked, held, pkruOffset }, pointers),
    loadMxcsr(cpu, linear, asked, { held, isCompacted }),
  ];
  for (const commit of commits) commit(state);
  cpu.fpuErrors?.changed();
}

function loadComponents(
  cpu: Processor,
  linear: LinearAddress,
  { asked, held, pkruOffset }: { asked: number; held: number; pkruOffset: number },
  pointers: Pointers,
): Commit[] {
  const commits: Commit[] = [];
  if (asked & X87) commits.push(held & X87 ? loadX87(cpu, linear, pointers) : initializeX87);
  if (asked & SSE) commits.push(held & SSE ? loadXmm(cpu, linear) : clearHalves(cpu, 0));
  if (asked & AVX) commits.push(held & AVX ? loadHalves(cpu, plus(linear, AVX_OFFSET), 16) : clearHalves(cpu, 16));
  if (asked & PKRU) commits.push(loadPkru(cpu, held & PKRU ? plus(linear, pkruOffset) : undefined));
  return commits;
}

/** The bits of the component above PKRU are reserved, and not looked at. */
function loadPkru({ memory, tlb }: Processor, linear: LinearAddress | undefined): Commit {
  const pkru = linear === undefined ? 0 : memory.readU32(linear, Privilege.Current);
  return (state) => {
    if (state.pkru === pkru) return;
    state.pkru = pkru;
    tlb.keyRightsChanged();
  };
}

/** The standard format has MXCSR for SSE and AVX, whatever the area holds; the compacted one for an SSE that it holds. */
function loadMxcsr(
  cpu: Processor,
  linear: LinearAddress,
  asked: number,
  { held, isCompacted }: Pick<Header, 'held' | 'isCompacted'>,
): Commit {
  if ((asked & (isCompacted ? SSE : SSE | AVX)) === 0) return () => {};
  const mxcsr = isCompacted && !(held & SSE) ? MXCSR_INITIAL : readMxcsr(cpu, linear);
  if (mxcsr & ~MXCSR_MASK) throw GP(0);
  return (state) => {
    state.mxcsr = mxcsr;
  };
}

const restore =
  (pointers: Pointers): SystemInstruction =>
  (cpu, insn) => {
    check(cpu);
    restoreFrom(cpu, insn, pointers, false);
  };

const restoreSupervisor =
  (pointers: Pointers): SystemInstruction =>
  (cpu, insn) => {
    checkSupervisor(cpu);
    restoreFrom(cpu, insn, pointers, true);
  };

export const XRSTOR = restore('32-bit');
export const XRSTOR64 = restore('64-bit');
export const XRSTORS = restoreSupervisor('32-bit');
export const XRSTORS64 = restoreSupervisor('64-bit');
