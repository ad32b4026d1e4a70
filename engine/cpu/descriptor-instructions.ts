/** LGDT, LIDT, SGDT, SIDT, LLDT, SLDT, LTR, STR, LAR, LSL, VERR, VERW, ARPL (SDM volume 2). */

import { type LinearAddress, linearAddressOf, plus } from '../isa/linear-address.ts';
import { checkSegment, isCpuCanonical, readLinear, writeLinear } from './access.ts';
import {
  type Descriptor,
  descriptorAddress,
  descriptorAt,
  descriptorLimit,
  isCode,
  isConforming,
  isNullSelector,
  isReadable,
  isSystem,
  isWritableData,
  rplOf,
  SystemType,
  systemType,
} from './descriptors.ts';
import { GP, UD } from './events.ts';
import { readFlags } from './flags.ts';
import type { DecodedInstruction, SystemInstruction } from './instruction.ts';
import { is64Bit, isIa32e, usesRealSelectors } from './modes.ts';
import { memoryOperand, readWord, registerIndex, writeRegister, writeWordOrRegister } from './operands.ts';
import { Privilege, type Processor } from './processor.ts';
import { CR4, hasBit, RFLAGS } from './register-bits.ts';
import { loadLdtr, loadTr } from './segmentation.ts';
import { LDTR, TR } from './state.ts';

interface TableRegister {
  readonly base: LinearAddress;
  readonly limit: number;
}

/** Reads a pseudo-descriptor: limit, then base; 16-bit operands have 24 bits of base. */
function readPseudoDescriptor(cpu: Processor, insn: DecodedInstruction): TableRegister {
  const operand = memoryOperand(insn, 0);
  const baseBytes = is64Bit(cpu.state) ? 8 : 4;
  const linear = checkSegment(cpu, operand.segment, operand.offset, 2 + baseBytes, 'read');
  const limit = Number(readLinear(cpu, linear, 2, Privilege.Current));
  const raw = readLinear(cpu, plus(linear, 2), baseBytes, Privilege.Current);
  if (baseBytes === 4) return { limit, base: Number(insn.operandSize === 16 ? raw & 0xff_ffffn : raw) };
  const base = linearAddressOf(raw);
  if (!isCpuCanonical(cpu, base)) throw GP(0);
  return { limit, base };
}

/** SGDT and SIDT store all of the base whatever the operand size, as Intel CPUs since the 80386 do. */
function storePseudoDescriptor(cpu: Processor, insn: DecodedInstruction, table: TableRegister): void {
  const operand = memoryOperand(insn, 0);
  const baseBytes = is64Bit(cpu.state) ? 8 : 4;
  const linear = checkSegment(cpu, operand.segment, operand.offset, 2 + baseBytes, 'write');
  cpu.memory.probeWrite(linear, 2 + baseBytes, Privilege.Current);
  writeLinear(cpu, linear, 2, BigInt(table.limit), Privilege.Current);
  writeLinear(cpu, plus(linear, 2), baseBytes, BigInt(table.base), Privilege.Current);
}

function checkPrivileged({ state }: Processor): void {
  if (state.cpl !== 0) throw GP(0);
}

/** User-mode instruction prevention: SGDT, SIDT, SLDT, STR and SMSW fault outside ring 0. */
function checkUmip({ state }: Processor): void {
  if (hasBit(state.cr4, CR4.UMIP) && state.cpl > 0) throw GP(0);
}

export const LGDT: SystemInstruction = (cpu, insn) => {
  checkPrivileged(cpu);
  cpu.intercepts?.onDescriptorTable?.(insn);
  const { base, limit } = readPseudoDescriptor(cpu, insn);
  cpu.state.gdtrBase = base;
  cpu.state.gdtrLimit = limit;
};

export const LIDT: SystemInstruction = (cpu, insn) => {
  checkPrivileged(cpu);
  cpu.intercepts?.onDescriptorTable?.(insn);
  const { base, limit } = readPseudoDescriptor(cpu, insn);
  cpu.state.idtrBase = base;
  cpu.state.idtrLimit = limit;
};

export const SGDT: SystemInstruction = (cpu, insn) => {
  checkUmip(cpu);
  cpu.intercepts?.onDescriptorTable?.(insn);
  storePseudoDescriptor(cpu, insn, { base: cpu.state.gdtrBase, limit: cpu.state.gdtrLimit });
};

export const SIDT: SystemInstruction = (cpu, insn) => {
  checkUmip(cpu);
  cpu.intercepts?.onDescriptorTable?.(insn);
  storePseudoDescriptor(cpu, insn, { base: cpu.state.idtrBase, limit: cpu.state.idtrLimit });
};

/** Instructions over protected-mode selectors do not exist in real-address and virtual-8086 mode. */
function checkProtectedMode({ state }: Processor): void {
  if (usesRealSelectors(state)) throw UD();
}

export const LLDT: SystemInstruction = (cpu, insn) => {
  checkProtectedMode(cpu);
  checkPrivileged(cpu);
  cpu.intercepts?.onDescriptorTable?.(insn);
  loadLdtr(cpu, readWord(cpu, insn, 0));
};

export const LTR: SystemInstruction = (cpu, insn) => {
  checkProtectedMode(cpu);
  checkPrivileged(cpu);
  cpu.intercepts?.onDescriptorTable?.(insn);
  loadTr(cpu, readWord(cpu, insn, 0));
};

const storeSelector =
  (index: number): SystemInstruction =>
  (cpu, insn) => {
    checkProtectedMode(cpu);
    checkUmip(cpu);
    cpu.intercepts?.onDescriptorTable?.(insn);
    writeWordOrRegister(cpu, insn, 0, BigInt(cpu.state.segment(index).selector));
  };

export const SLDT = storeSelector(LDTR);
export const STR = storeSelector(TR);

function setZeroFlag(cpu: Processor, zero: boolean): void {
  const flags = readFlags(cpu.state) & ~RFLAGS.ZF;
  cpu.writeFlags(zero ? flags | RFLAGS.ZF : flags);
}

/** The descriptor a selector names, or undefined where the instructions below answer with ZF = 0. */
function inspectDescriptor(cpu: Processor, selector: number): Descriptor | undefined {
  if (isNullSelector(selector)) return undefined;
  const address = descriptorAddress(cpu, selector);
  return address === undefined ? undefined : descriptorAt(cpu, selector, address);
}

/** Whether CPL and RPL may see the descriptor: always for conforming code. */
function isVisible(cpu: Processor, d: Descriptor): boolean {
  return isConforming(d) || Math.max(cpu.state.cpl, rplOf(d.selector)) <= d.dpl;
}

const LONG_SYSTEM_TYPES: readonly number[] = [SystemType.ldt, SystemType.tssAvailable, SystemType.tssBusy];
const LSL_TYPES: readonly number[] = [...LONG_SYSTEM_TYPES, SystemType.tss16Available, SystemType.tss16Busy];
const LAR_TYPES: readonly number[] = [...LSL_TYPES, SystemType.callGate16, SystemType.taskGate, SystemType.callGate];
const LONG_LAR_TYPES: readonly number[] = [...LONG_SYSTEM_TYPES, SystemType.callGate];

/** LAR and LSL answer for code, data, and the system types in `legacy` (in IA-32e mode `long`). */
function inspect(
  cpu: Processor,
  insn: DecodedInstruction,
  legacy: readonly number[],
  long: readonly number[],
): Descriptor | undefined {
  checkProtectedMode(cpu);
  const d = inspectDescriptor(cpu, readWord(cpu, insn, 1));
  if (d === undefined || !isVisible(cpu, d)) return undefined;
  const types = isIa32e(cpu.state) ? long : legacy;
  return isSystem(d) && !types.includes(systemType(d)) ? undefined : d;
}

export const LAR: SystemInstruction = (cpu, insn) => {
  const d = inspect(cpu, insn, LAR_TYPES, LONG_LAR_TYPES);
  if (d !== undefined) {
    // The manual leaves bits 19:16 undefined; processors give those of the limit.
    writeRegister(cpu, registerIndex(insn, 0), insn.operandSize, BigInt(d.high & 0x00ff_ff00));
  }
  setZeroFlag(cpu, d !== undefined);
};

export const LSL: SystemInstruction = (cpu, insn) => {
  const d = inspect(cpu, insn, LSL_TYPES, LONG_SYSTEM_TYPES);
  if (d !== undefined) writeRegister(cpu, registerIndex(insn, 0), insn.operandSize, BigInt(descriptorLimit(d)));
  setZeroFlag(cpu, d !== undefined);
};

const verify =
  (accepts: (d: Descriptor) => boolean): SystemInstruction =>
  (cpu, insn) => {
    checkProtectedMode(cpu);
    const d = inspectDescriptor(cpu, readWord(cpu, insn, 0));
    setZeroFlag(cpu, d !== undefined && isVisible(cpu, d) && accepts(d));
  };

export const VERR = verify(isReadable);
export const VERW = verify((d) => isWritableData(d) && !isCode(d));

/** ARPL raises the RPL of the destination selector to that of the source. */
export const ARPL: SystemInstruction = (cpu, insn) => {
  checkProtectedMode(cpu);
  const { state } = cpu;
  const rpl = rplOf(state.gpr32(registerIndex(insn, 1)));
  const destination = insn.operand(0);
  const selector = readWord(cpu, insn, 0);
  const adjusts = rplOf(selector) < rpl;
  if (adjusts) {
    const value = BigInt((selector & 0xfffc) | rpl);
    if (destination.kind === 'register') writeRegister(cpu, destination.index, 16, value);
    else writeWordOrRegister(cpu, insn, 0, value);
  }
  setZeroFlag(cpu, adjusts);
};
