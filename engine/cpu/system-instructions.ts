/** Single instructions that control the processor: halting, flags, caches, TLB, time, MSRs, CPUID (SDM volume 2). */

import { type LinearAddress, linearAddressOf, low32, plus } from '../isa/linear-address.ts';
import { isCpuCanonical, readOperandMemory } from './access.ts';
import { GP, UD } from './events.ts';
import { iopl, readFlags, WRITABLE_FLAGS } from './flags.ts';
import type { MemoryOperand, SystemInstruction } from './instruction.ts';
import { is64Bit, isRealMode, isVirtual8086 } from './modes.ts';
import { readMsr, timeStamp, writeMsr } from './msrs.ts';
import { memoryOperand, registerIndex, writeRegister } from './operands.ts';
import type { Processor } from './processor.ts';
import { ACTIVITY, BLOCKING, CR4, hasBit, RFLAGS } from './register-bits.ts';
import { commitToCurrentStack, currentStack, PopFrame } from './stack.ts';
import { FS } from './state.ts';
import { loadVirtualFlags, setVirtualInterruptFlag, usesVirtualInterruptFlag, virtualFlags } from './virtual-8086.ts';

const RAX = 0;
const RCX = 1;
const RDX = 2;
const RBX = 3;

function checkPrivileged({ state }: Processor): void {
  if (state.cpl !== 0) throw GP(0);
}

/** Splits a 64-bit value over EDX:EAX. */
function writeEdxEax({ state }: Processor, value: bigint): void {
  state.setGpr(RAX, value & 0xffff_ffffn);
  state.setGpr(RDX, (value >> 32n) & 0xffff_ffffn);
}

export const HLT: SystemInstruction = (cpu) => {
  checkPrivileged(cpu);
  if (cpu.intercepts?.onHlt?.()) return;
  cpu.state.activityState = ACTIVITY.HLT;
};

/** CLI and STI are allowed up to IOPL; virtual-8086 mode needs IOPL 3. */
function checkInterruptFlagAccess({ state }: Processor): void {
  if (isRealMode(state)) return;
  if (state.cpl > iopl(state)) throw GP(0);
}

export const CLI: SystemInstruction = (cpu) => {
  if (usesVirtualInterruptFlag(cpu)) return setVirtualInterruptFlag(cpu, false);
  checkInterruptFlagAccess(cpu);
  cpu.state.flagsOther &= ~RFLAGS.IF;
};

/** STI holds off interrupts until after the next instruction, if they were disabled. */
export const STI: SystemInstruction = (cpu) => {
  if (usesVirtualInterruptFlag(cpu)) return setVirtualInterruptFlag(cpu, true);
  checkInterruptFlagAccess(cpu);
  const { state } = cpu;
  if (state.flagsOther & RFLAGS.IF) return;
  state.flagsOther |= RFLAGS.IF;
  state.interruptibility |= BLOCKING.STI;
};

/** Whether PUSHF and POPF of virtual-8086 mode show VIF as IF; GP(0) where neither IOPL nor VME allows them. */
function seesVirtualFlags(cpu: Processor, sizeBytes: number): boolean {
  if (!isVirtual8086(cpu.state) || iopl(cpu.state) === 3) return false;
  if (sizeBytes !== 2 || !usesVirtualInterruptFlag(cpu)) throw GP(0);
  return true;
}

function pushFlags(cpu: Processor, sizeBytes: number): void {
  cpu.intercepts?.onPushf?.();
  const virtual = seesVirtualFlags(cpu, sizeBytes);
  const frame = currentStack(cpu);
  frame.push((virtual ? virtualFlags(cpu) : readFlags(cpu.state)) & ~(RFLAGS.VM | RFLAGS.RF), sizeBytes);
  commitToCurrentStack(cpu, frame);
}

/** Flags POPF may change: IOPL in ring 0 only, IF up to IOPL, never VM, VIF and VIP. RF is cleared. */
function poppableFlags({ state }: Processor, sizeBytes: number): number {
  let mask = WRITABLE_FLAGS & ~(RFLAGS.VM | RFLAGS.VIF | RFLAGS.VIP);
  if (!isRealMode(state)) {
    if (state.cpl > 0) mask &= ~RFLAGS.IOPL;
    if (state.cpl > iopl(state)) mask &= ~RFLAGS.IF;
  }
  return sizeBytes === 2 ? mask & 0xffff : mask;
}

function popFlags(cpu: Processor, sizeBytes: number): void {
  cpu.intercepts?.onPopf?.();
  const { state } = cpu;
  const virtual = seesVirtualFlags(cpu, sizeBytes);
  const frame = new PopFrame(cpu);
  const popped = frame.popLow32(sizeBytes) & ~RFLAGS.RF;
  if (virtual) loadVirtualFlags(cpu, popped);
  frame.commit();
  if (virtual) return;
  const mask = poppableFlags(cpu, sizeBytes);
  cpu.writeFlags((readFlags(state) & ~mask) | (popped & mask));
}

export const PUSHF: SystemInstruction = (cpu) => pushFlags(cpu, 2);
export const PUSHFD: SystemInstruction = (cpu) => pushFlags(cpu, 4);
export const PUSHFQ: SystemInstruction = (cpu) => pushFlags(cpu, 8);
export const POPF: SystemInstruction = (cpu) => popFlags(cpu, 2);
export const POPFD: SystemInstruction = (cpu) => popFlags(cpu, 4);
export const POPFQ: SystemInstruction = (cpu) => popFlags(cpu, 8);

/** Linear address of an operand that is not accessed: no limit or type check. */
function operandLinear({ state }: Processor, operand: MemoryOperand): LinearAddress {
  const { base } = state.segment(operand.segment);
  if (!is64Bit(state)) return low32(plus(base, operand.offset));
  return operand.segment >= FS ? plus(base, operand.offset) : operand.offset;
}

export const INVLPG: SystemInstruction = (cpu, insn) => {
  checkPrivileged(cpu);
  const linear = operandLinear(cpu, memoryOperand(insn, 0));
  cpu.intercepts?.onInvlpg?.(linear);
  // A non-canonical address has no translation to invalidate (SDM volume 2, "INVLPG").
  if (isCpuCanonical(cpu, linear)) cpu.tlb.invlpg(linear);
};

export const INVPCID: SystemInstruction = (cpu, insn) => {
  if (isVirtual8086(cpu.state)) throw GP(0);
  checkPrivileged(cpu);
  cpu.intercepts?.onInvpcid?.(insn);
  const register = registerIndex(insn, 0);
  const type = is64Bit(cpu.state) ? cpu.state.gpr(register) : BigInt(cpu.state.gpr32(register));
  const operand = memoryOperand(insn, 1);
  const low = readOperandMemory(cpu, operand, 0, 8);
  const linear = linearAddressOf(readOperandMemory(cpu, operand, 8, 8));
  if (type > 3n || low > 0xfffn) throw GP(0);
  if (type === 0n && !isCpuCanonical(cpu, linear)) throw GP(0);
  if (type < 2n && low !== 0n && !hasBit(cpu.state.cr4, CR4.PCIDE)) throw GP(0);
  cpu.tlb.invpcid(Number(type), Number(low), linear);
};

/** Caches are not modelled: INVD and WBINVD have nothing to do but their checks. */
export const INVD: SystemInstruction = (cpu) => {
  checkPrivileged(cpu);
  cpu.intercepts?.onInvd?.();
};

export const WBINVD: SystemInstruction = (cpu) => {
  checkPrivileged(cpu);
  cpu.intercepts?.onWbinvd?.();
};

/** In VMX non-root operation it exits as WBINVD does. */
export const WBNOINVD = WBINVD;

function checkTimeStampAccess({ state }: Processor): void {
  if (hasBit(state.cr4, CR4.TSD) && state.cpl > 0) throw GP(0);
}

export const RDTSC: SystemInstruction = (cpu) => {
  checkTimeStampAccess(cpu);
  if (cpu.intercepts?.onRdtsc?.()) return;
  writeEdxEax(cpu, timeStamp(cpu));
};

export const RDTSCP: SystemInstruction = (cpu) => {
  checkTimeStampAccess(cpu);
  cpu.intercepts?.onRdtscp?.();
  writeEdxEax(cpu, timeStamp(cpu));
  cpu.state.setGpr32(RCX, cpu.state.tscAux);
};

/** In VMX non-root operation it needs the control of RDTSCP. */
export const RDPID: SystemInstruction = (cpu, insn) => {
  cpu.intercepts?.onRdpid?.();
  writeRegister(cpu, registerIndex(insn, 0), is64Bit(cpu.state) ? 64 : 32, BigInt(cpu.state.tscAux));
};

/** There are no performance counters, so that every index is invalid. */
export const RDPMC: SystemInstruction = (cpu) => {
  if (!hasBit(cpu.state.cr4, CR4.PCE) && cpu.state.cpl > 0) throw GP(0);
  cpu.intercepts?.onRdpmc?.();
  throw GP(0);
};

export const RDMSR: SystemInstruction = (cpu) => {
  checkPrivileged(cpu);
  const index = cpu.state.gpr32(RCX);
  if (cpu.intercepts?.onRdmsr?.(index)) return;
  writeEdxEax(cpu, cpu.intercepts?.readVirtualMsr?.(index) ?? readMsr(cpu, index));
};

export const WRMSR: SystemInstruction = (cpu) => {
  checkPrivileged(cpu);
  const { state } = cpu;
  const index = state.gpr32(RCX);
  if (cpu.intercepts?.onWrmsr?.(index)) return;
  const value = (BigInt(state.gpr32(RDX)) << 32n) | BigInt(state.gpr32(RAX));
  if (!cpu.intercepts?.writeVirtualMsr?.(index, value)) writeMsr(cpu, index, value);
};

export const CPUID: SystemInstruction = (cpu) => {
  if (cpu.intercepts?.onCpuid?.()) return;
  const { state } = cpu;
  const { eax, ebx, ecx, edx } = cpu.model.cpuid(state, state.gpr32(RAX), state.gpr32(RCX));
  state.setGpr32(RAX, eax);
  state.setGpr32(RBX, ebx);
  state.setGpr32(RCX, ecx);
  state.setGpr32(RDX, edx);
};

export const PAUSE: SystemInstruction = (cpu) => {
  cpu.intercepts?.onPause?.();
};

/** CLAC and STAC: ring 0 only, else #UD. */
const setAlignmentCheck =
  (value: number): SystemInstruction =>
  (cpu) => {
    if (cpu.state.cpl > 0 || !cpu.model.has('SMAP')) throw UD();
    cpu.writeFlags((readFlags(cpu.state) & ~RFLAGS.AC) | value);
  };

export const CLAC = setAlignmentCheck(0);
export const STAC = setAlignmentCheck(RFLAGS.AC);

/** An instruction that this model does not have, or only in a state it cannot be in. */
const undefinedInstruction: SystemInstruction = () => {
  throw UD();
};

/** RSM outside system-management mode. */
export const RSM: SystemInstruction = (cpu) => {
  cpu.intercepts?.onRsm?.();
  throw UD();
};

export const UD0 = undefinedInstruction;
export const UD1 = undefinedInstruction;
export const UD2 = undefinedInstruction;
