/** The VMX instructions (SDM volume 3, chapter "VMX Instruction Reference"), with checks in the order given there. */

import { checkSegment, isCpuCanonical, readOperandMemory, writeLinear } from '../cpu/access.ts';
import { GP, UD } from '../cpu/events.ts';
import { writeStatusFlags } from '../cpu/flags.ts';
import type { DecodedInstruction, SystemInstruction } from '../cpu/instruction.ts';
import { CpuMode, is64Bit } from '../cpu/modes.ts';
import { memoryOperand, registerIndex, writeRegister } from '../cpu/operands.ts';
import { Privilege, type Processor } from '../cpu/processor.ts';
import { CR4, hasBit, RFLAGS } from '../cpu/register-bits.ts';
import { linearAddressOf } from '../isa/linear-address.ts';
import { CR0_FIXED0_SIGNED } from './capability-values.ts';
import { isValidEptp } from './eptp.ts';
import { InstructionError } from './instruction-errors.ts';
import {
  bytesOfEncoding,
  encodingOf,
  LAUNCH_STATE_OFFSET,
  LaunchState,
  offsetOf,
  offsetOfEncoding,
  REVISION_OFFSET,
  SHADOW_VMCS,
  VMCS_BYTES,
  VMCS_REVISION,
} from './vmcs.ts';
import type { VmxParts } from './vmx-parts.ts';

/** IA32_FEATURE_CONTROL: locked, and VMXON allowed outside SMX operation. */
const FEATURE_CONTROL_VMXON = 1 | 4;
const RAX = 0;
const RCX = 1;

const ERROR_ENCODING = encodingOf('VM-instruction error');
const LINK = offsetOf('VMCS link pointer');
/** Beyond all encodings of fields. */
const NO_ENCODING = 0xffff;
const NO_VMCS = 0xffff_ffff_ffff_ffffn;

/** #UD outside protected and 64-bit mode. */
function checkMode({ state: { mode } }: Processor): void {
  if (mode !== CpuMode.long64 && mode !== CpuMode.protected32 && mode !== CpuMode.protected16) throw UD();
}

/**
 * The checks that all instructions share but VMXON, VMCALL and VMFUNC: operation, mode, non-root exit, privilege. False
 * if the instruction ends in a VM exit.
 */
function mayGoOn(cpu: Processor, insn: DecodedInstruction): boolean {
  if (!cpu.state.vmxOperation) throw UD();
  checkMode(cpu);
  if (cpu.intercepts?.onVmxInstruction?.(insn)) return false;
  if (cpu.state.cpl > 0) throw GP(0);
  return true;
}

function vmSucceed({ state }: VmxParts): void {
  writeStatusFlags(state, 0);
}
export function vmFailInvalid({ state }: VmxParts): void {
  writeStatusFlags(state, RFLAGS.CF);
}
/**
 * VMfail(error): VMfailValid if there is a current VMCS to hold the error number, else VMfailInvalid. It is the current one
 * for accesses to a shadow VMCS too.
 */
export function vmFail(parts: VmxParts, error: number): void {
  const { state, vmcs } = parts;
  if (!state.currentVmcsValid) return vmFailInvalid(parts);
  vmcs.writeEncoding(ERROR_ENCODING, BigInt(error));
  writeStatusFlags(state, RFLAGS.ZF);
}

/**
 * Address of the VMCS that VMREAD and VMWRITE access: the current one, or in non-root operation the shadow VMCS. Undefined
 * if there is none.
 */
export function accessedVmcs({ state, vmcs, physical }: VmxParts): number | undefined {
  if (!state.nonRoot) return state.currentVmcsValid ? state.currentVmcs : undefined;
  const link = vmcs.number(LINK);
  return physical.isRam(link, VMCS_BYTES) ? link : undefined;
}

/** 4 KiB-aligned and within the physical-address width. */
function isVmxAddress({ mmu }: VmxParts, pointer: bigint): boolean {
  return (pointer & 0xfffn) === 0n && pointer >> BigInt(mmu.physicalAddressBits) === 0n;
}

/** Bits 30:0 are our revision; bit 31 (shadow VMCS) may be among those that do not count. There is none outside RAM. */
function hasRevision({ physical }: VmxParts, address: number, ignored = 0): boolean {
  if (!physical.isRam(address, VMCS_BYTES)) return false;
  return (physical.view.getUint32(address + REVISION_OFFSET, true) & ~ignored) >>> 0 === VMCS_REVISION;
}

const readPointer = (cpu: Processor, insn: DecodedInstruction): bigint =>
  readOperandMemory(cpu, memoryOperand(insn, 0), 0, 8);

function setLaunchState({ physical }: VmxParts, address: number, launchState: number): void {
  if (physical.isRam(address, VMCS_BYTES)) physical.writeU32(address + LAUNCH_STATE_OFFSET, launchState);
}

/** A register operand that is 64 bits wide in 64-bit mode and 32 bits otherwise. */
function readWide(cpu: Processor, register: number): bigint {
  return is64Bit(cpu.state) ? cpu.state.gpr(register) : BigInt(cpu.state.gpr32(register));
}
const wideBytes = (cpu: Processor): 4 | 8 => (is64Bit(cpu.state) ? 8 : 4);

/** Runs VMLAUNCH (true) or VMRESUME once the checks made here are passed. */
export type EnterGuest = (launch: boolean) => void;

/** The instructions by the decoder's mnemonics, to be merged with the other system instructions. */
export function vmxInstructions(parts: VmxParts, enterGuest: EnterGuest): Readonly<Record<string, SystemInstruction>> {
  const { state, mmu, vmcs, known } = parts;

  const VMXON: SystemInstruction = (cpu, insn) => {
    checkMode(cpu);
    if (!hasBit(state.cr4, CR4.VMXE)) throw UD();
    if (state.vmxOperation) {
      if (cpu.intercepts?.onVmxInstruction?.(insn)) return;
      if (state.cpl > 0) throw GP(0);
      return vmFail(parts, InstructionError.vmxonInRoot);
    }
    const fixed = (state.cr0 & CR0_FIXED0_SIGNED) === CR0_FIXED0_SIGNED;
    const enabled = (state.featureControl & FEATURE_CONTROL_VMXON) === FEATURE_CONTROL_VMXON;
    if (state.cpl > 0 || !fixed || !enabled) throw GP(0);
    const pointer = readPointer(cpu, insn);
    if (!isVmxAddress(parts, pointer) || !hasRevision(parts, Number(pointer))) return vmFailInvalid(parts);
    state.vmxonPointer = Number(pointer);
    state.vmxOperation = 1;
    state.currentVmcsValid = 0;
    vmSucceed(parts);
  };

  const VMXOFF: SystemInstruction = (cpu, insn) => {
    if (!mayGoOn(cpu, insn)) return;
    state.vmxOperation = 0;
    state.currentVmcsValid = 0;
    vmSucceed(parts);
  };

  const VMCLEAR: SystemInstruction = (cpu, insn) => {
    if (!mayGoOn(cpu, insn)) return;
    const pointer = readPointer(cpu, insn);
    if (!isVmxAddress(parts, pointer)) return vmFail(parts, InstructionError.vmclearInvalidAddress);
    const address = Number(pointer);
    if (address === state.vmxonPointer) return vmFail(parts, InstructionError.vmclearVmxonPointer);
    setLaunchState(parts, address, LaunchState.clear);
    known.named(address);
    if (address === state.currentVmcs) state.currentVmcsValid = 0;
    vmSucceed(parts);
  };

  const VMPTRLD: SystemInstruction = (cpu, insn) => {
    if (!mayGoOn(cpu, insn)) return;
    const pointer = readPointer(cpu, insn);
    if (!isVmxAddress(parts, pointer)) return vmFail(parts, InstructionError.vmptrldInvalidAddress);
    const address = Number(pointer);
    if (address === state.vmxonPointer) return vmFail(parts, InstructionError.vmptrldVmxonPointer);
    if (!hasRevision(parts, address, SHADOW_VMCS)) return vmFail(parts, InstructionError.vmptrldRevision);
    state.currentVmcs = address;
    state.currentVmcsValid = 1;
    known.named(address);
    vmSucceed(parts);
  };

  const VMPTRST: SystemInstruction = (cpu, insn) => {
    if (!mayGoOn(cpu, insn)) return;
    writeMemory(cpu, insn, 0, 8, state.currentVmcsValid ? BigInt(state.currentVmcs) : NO_VMCS);
    vmSucceed(parts);
  };

  /** The encoding of the field that a register operand names; -1 if the instruction failed because there is none. */
  function fieldOperand(insn: DecodedInstruction, index: number): number {
    if (accessedVmcs(parts) === undefined) {
      vmFailInvalid(parts);
      return -1;
    }
    const register = registerIndex(insn, index);
    const isTooLarge = is64Bit(state) && state.gprHigh32(register) !== 0;
    const encoding = isTooLarge ? NO_ENCODING : Math.min(state.gpr32(register), NO_ENCODING);
    if (offsetOfEncoding(encoding) !== 0) return encoding;
    vmFail(parts, InstructionError.unsupportedComponent);
    return -1;
  }

  const writeField = (encoding: number, value: bigint): void =>
    vmcs.writeEncoding(encoding, BigInt.asUintN(bytesOfEncoding(encoding) * 8, value), accessedVmcs(parts));

  const readField = (encoding: number): bigint => vmcs.readEncoding(encoding, accessedVmcs(parts));

  const VMREAD: SystemInstruction = (cpu, insn) => {
    if (!mayGoOn(cpu, insn)) return;
    const encoding = fieldOperand(insn, 1);
    if (encoding < 0) return;
    const bytes = wideBytes(cpu);
    const destination = insn.operand(0);
    if (destination.kind === 'register' && bytes === 8 && !state.nonRoot)
      vmcs.loadRegister(encoding, destination.index);
    else if (destination.kind === 'memory') writeMemory(cpu, insn, 0, bytes, readField(encoding));
    else writeRegister(cpu, registerIndex(insn, 0), bytes * 8, readField(encoding));
    vmSucceed(parts);
  };

  const VMWRITE: SystemInstruction = (cpu, insn) => {
    if (!mayGoOn(cpu, insn)) return;
    const encoding = fieldOperand(insn, 0);
    if (encoding < 0) return;
    const bytes = wideBytes(cpu);
    const source = insn.operand(1);
    if (source.kind === 'register' && bytes === 8 && !state.nonRoot) vmcs.storeRegister(encoding, source.index);
    else if (source.kind === 'memory') writeField(encoding, readOperandMemory(cpu, source, 0, bytes));
    else writeField(encoding, readWide(cpu, registerIndex(insn, 1)));
    vmSucceed(parts);
  };

  const enter =
    (launch: boolean): SystemInstruction =>
    (cpu, insn) => {
      if (!mayGoOn(cpu, insn)) return;
      enterGuest(launch);
    };

  const VMCALL: SystemInstruction = (cpu, insn) => {
    if (!state.vmxOperation) throw UD();
    if (cpu.intercepts?.onVmxInstruction?.(insn)) return;
    checkMode(cpu);
    if (state.cpl > 0) throw GP(0);
    vmFail(parts, InstructionError.vmcallInRoot);
  };

  /** VM functions exist in non-root operation, at any privilege. */
  const VMFUNC: SystemInstruction = (cpu) => {
    if (!cpu.intercepts?.onVmfunc) throw UD();
    cpu.intercepts.onVmfunc(cpu.state.gpr32(RAX), cpu.state.gpr32(RCX));
  };
  /** CR4.SMXE cannot be set, so that GETSEC is undefined; that precedes its VM exit. */
  const GETSEC: SystemInstruction = () => {
    throw UD();
  };

  const INVEPT: SystemInstruction = (cpu, insn) => {
    if (!mayGoOn(cpu, insn)) return;
    const type = readWide(cpu, registerIndex(insn, 0));
    if (type !== 1n && type !== 2n) return vmFail(parts, InstructionError.invalidOperand);
    const eptp = readOperandMemory(cpu, memoryOperand(insn, 1), 0, 8);
    const low = Number(eptp & 0xffff_ffffn);
    const valid = isValidEptp(low, Number(eptp >> 32n), mmu.physicalAddressBits);
    if (type === 1n && !valid) return vmFail(parts, InstructionError.invalidOperand);
    mmu.invept(Number(type), valid ? Number(eptp) : 0);
    vmSucceed(parts);
  };

  const INVVPID: SystemInstruction = (cpu, insn) => {
    if (!mayGoOn(cpu, insn)) return;
    const type = readWide(cpu, registerIndex(insn, 0));
    if (type > 3n) return vmFail(parts, InstructionError.invalidOperand);
    const operand = memoryOperand(insn, 1);
    const low = readOperandMemory(cpu, operand, 0, 8);
    const linear = linearAddressOf(readOperandMemory(cpu, operand, 8, 8));
    const badVpid = low > 0xffffn || (type !== 2n && low === 0n);
    if (badVpid || (type === 0n && !isCpuCanonical(cpu, linear))) return vmFail(parts, InstructionError.invalidOperand);
    mmu.invvpid(Number(type), Number(low), linear);
    vmSucceed(parts);
  };

  function writeMemory(cpu: Processor, insn: DecodedInstruction, index: number, bytes: 4 | 8, value: bigint): void {
    const operand = memoryOperand(insn, index);
    const linear = checkSegment(cpu, operand.segment, operand.offset, bytes, 'write');
    writeLinear(cpu, linear, bytes, value, Privilege.Current);
  }

  return {
    Vmxon: VMXON,
    Vmxoff: VMXOFF,
    Vmclear: VMCLEAR,
    Vmptrld: VMPTRLD,
    Vmptrst: VMPTRST,
    Vmread: VMREAD,
    Vmwrite: VMWRITE,
    Vmlaunch: enter(true),
    Vmresume: enter(false),
    Vmcall: VMCALL,
    Vmfunc: VMFUNC,
    Invept: INVEPT,
    Invvpid: INVVPID,
    Getsec: GETSEC,
  };
}
