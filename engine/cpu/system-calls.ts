/** Fast system calls (SDM volume 3, "Performing Fast Calls to System Procedures"; volume 2, each instruction). */

import { low32, readLinearAddress } from '../isa/linear-address.ts';
import { isCanonical, isCpuCanonical } from './access.ts';
import { GP, UD } from './events.ts';
import { readFlags, WRITABLE_FLAGS } from './flags.ts';
import type { SystemInstruction } from './instruction.ts';
import { is64Bit, isIa32e, isRealMode, refreshMode } from './modes.ts';
import { registerIndex, writeRegister } from './operands.ts';
import type { Processor } from './processor.ts';
import { ACCESS, CR4, EFER, RFLAGS } from './register-bits.ts';
import { RSP, writeStackPointer } from './stack.ts';
import { type CpuState, CS, FS, GS, SS } from './state.ts';
import { fieldAddress } from './state-layout.ts';

const RCX = 1;
const RDX = 2;
const R11 = 11;

/** Accessed, readable code and accessed, writable data with 4 GiB limits: what these instructions load unread. */
export const FLAT_CODE = ACCESS.P | ACCESS.S | ACCESS.G | 11;
export const FLAT_DATA = ACCESS.P | ACCESS.S | ACCESS.G | ACCESS.DB | 3;

function loadFlat(state: CpuState, index: number, selector: number, attributes: number): void {
  const segment = state.segment(index);
  segment.selector = selector;
  segment.base = 0;
  segment.limit = 0xffff_ffff;
  segment.attributes = attributes;
}

/** Loads flat CS and SS for ring `cpl`. */
function switchRing(cpu: Processor, cpl: number, cs: number, ss: number, long: boolean): void {
  const { state } = cpu;
  const dpl = cpl << 5;
  loadFlat(state, CS, cs, FLAT_CODE | dpl | (long ? ACCESS.L : ACCESS.DB));
  loadFlat(state, SS, ss, FLAT_DATA | dpl);
  cpu.setCpl(cpl);
  refreshMode(cpu);
}

/** The selector bases in IA32_STAR, by the byte they begin at. */
const SYSCALL_BASE = 4;
const SYSRET_BASE = 6;
const starSelector = ({ view }: CpuState, offset: number): number => view.getUint16(fieldAddress.star + offset, true);

export const SYSCALL: SystemInstruction = (cpu, insn) => {
  const { state } = cpu;
  if (!is64Bit(state) || (state.efer & EFER.SCE) === 0) throw UD();
  const flags = readFlags(state);
  state.setGprLinear(RCX, insn.nextIp);
  state.setGpr32(R11, flags & ~RFLAGS.RF);
  const selector = starSelector(state, SYSCALL_BASE) & 0xfffc;
  cpu.writeFlags(flags & ~state.fmask & ~RFLAGS.RF);
  switchRing(cpu, 0, selector, selector + 8, true);
  cpu.jump(readLinearAddress(state.view, fieldAddress.lstar));
};

export const SYSRET: SystemInstruction = (cpu, insn) => {
  const { state } = cpu;
  if (!is64Bit(state) || (state.efer & EFER.SCE) === 0) throw UD();
  if (state.cpl !== 0) throw GP(0);
  const long = insn.operandSize === 64;
  const target = state.gprLinear(RCX);
  if (long && !isCanonical(state, target)) throw GP(0);
  const base = starSelector(state, SYSRET_BASE);
  const rip = long ? target : state.gpr32(RCX);
  const allowed = WRITABLE_FLAGS & ~(RFLAGS.RF | RFLAGS.VM);
  cpu.writeFlags(state.gpr32(R11) & allowed);
  switchRing(cpu, 3, ((base + (long ? 16 : 0)) & 0xffff) | 3, ((base + 8) & 0xffff) | 3, long);
  cpu.jump(rip);
};

export const SYSENTER: SystemInstruction = (cpu) => {
  const { state } = cpu;
  if (isRealMode(state) || (state.sysenterCs & 0xfffc) === 0) throw GP(0);
  const selector = state.sysenterCs & 0xfffc;
  const long = isIa32e(state);
  const { sysenterEip, sysenterEsp } = state;
  cpu.writeFlags(readFlags(state) & ~(RFLAGS.VM | RFLAGS.IF));
  switchRing(cpu, 0, selector, selector + 8, long);
  writeStackPointer(cpu, long ? 64 : 32, long ? sysenterEsp : low32(sysenterEsp));
  cpu.jump(long ? sysenterEip : low32(sysenterEip));
};

export const SYSEXIT: SystemInstruction = (cpu, insn) => {
  const { state } = cpu;
  if (isRealMode(state) || (state.sysenterCs & 0xfffc) === 0 || state.cpl !== 0) throw GP(0);
  const long = insn.operandSize === 64;
  const rip = long ? state.gprLinear(RDX) : state.gpr32(RDX);
  const rsp = long ? state.gprLinear(RCX) : state.gpr32(RCX);
  if (long && !(isCanonical(state, rip) && isCanonical(state, rsp))) throw GP(0);
  const base = (state.sysenterCs & 0xfffc) + (long ? 32 : 16);
  switchRing(cpu, 3, base | 3, (base + 8) | 3, long);
  state.setGprLinear(RSP, rsp);
  cpu.jump(rip);
};

export const SWAPGS: SystemInstruction = (cpu) => {
  const { state } = cpu;
  if (!is64Bit(state)) throw UD();
  if (state.cpl !== 0) throw GP(0);
  const gs = state.segment(GS);
  const base = gs.base;
  gs.base = state.kernelGsBase;
  state.kernelGsBase = base;
};

/** RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE. */
function checkBaseAccess({ state }: Processor): void {
  if (!is64Bit(state) || (state.cr4 & CR4.FSGSBASE) === 0) throw UD();
}

const readBase =
  (segment: number): SystemInstruction =>
  (cpu, insn) => {
    checkBaseAccess(cpu);
    const base = BigInt(cpu.state.segment(segment).base);
    writeRegister(cpu, registerIndex(insn, 0), insn.operandSize, base);
  };

const writeBase =
  (segment: number): SystemInstruction =>
  (cpu, insn) => {
    checkBaseAccess(cpu);
    const register = registerIndex(insn, 0);
    const base = insn.operandSize === 64 ? cpu.state.gprLinear(register) : cpu.state.gpr32(register);
    if (!isCpuCanonical(cpu, base)) throw GP(0);
    cpu.state.segment(segment).base = base;
  };

export const RDFSBASE = readBase(FS);
export const RDGSBASE = readBase(GS);
export const WRFSBASE = writeBase(FS);
export const WRGSBASE = writeBase(GS);
