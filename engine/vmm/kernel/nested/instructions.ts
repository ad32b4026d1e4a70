/**
 * The VMX instructions of a guest that is a hypervisor (SDM volume 3, "VMX Instruction Reference"): each exits, and is
 * carried out here on structures in the guest's memory.
 */

import { GP, UD } from '../../../cpu/events.ts';
import { ACCESS, BLOCKING, CR4, EFER, hasBit, RFLAGS } from '../../../cpu/register-bits.ts';
import { CS } from '../../../cpu/state.ts';
import { CR0_FIXED0 } from '../../../vmx/capability-values.ts';
import { InstructionError } from '../../../vmx/instruction-errors.ts';
import {
  bytesOfEncoding,
  LaunchState,
  offsetOf,
  offsetOfEncoding,
  VMCS_BYTES,
  VMCS_REVISION,
} from '../../../vmx/vmcs.ts';
import type { ExitHandler, VirtualCpu } from '../virtual-cpu.ts';
import { enterL2 } from './nested-entry.ts';
import { NO_VMCS } from './nested-state.ts';
import { mainOperand, secondRegister } from './operands.ts';
import { Vmcs12 } from './vmcs12.ts';

const STATUS = RFLAGS.CF | RFLAGS.PF | RFLAGS.AF | RFLAGS.ZF | RFLAGS.SF | RFLAGS.OF;
/** Locked, VMXON allowed outside SMX operation. */
const FEATURE_CONTROL_VMXON = 5;
const POINTER_BYTES = 8;
const DESCRIPTOR_BYTES = 16;
const INTERRUPTIBILITY = offsetOf('Guest interruptibility state');
const ERROR_FIELD = 'VM-instruction error';
/** Types of INVEPT: single-context, all-context; of INVVPID: individual-address to single-context-retaining-globals. */
const INVEPT_TYPES: readonly bigint[] = [1n, 2n];
const INVVPID_TYPES: readonly bigint[] = [0n, 1n, 2n, 3n];

/** What an instruction that did not succeed answers: VMfailInvalid, or the number of a VMfailValid. */
type Failure = 'invalid' | number;
/** The instruction itself, once it may execute; undefined if it succeeded, 'left' if L1 does not go on behind it. */
type Body = (vcpu: VirtualCpu) => Failure | 'left' | undefined;

/** An instruction with the checks that come before its own. */
const instruction =
  (body: Body, needsVmxOperation = true): ExitHandler =>
  (vcpu) => {
    vcpu.carryOut(() => {
      check(vcpu, needsVmxOperation);
      const outcome = body(vcpu);
      if (outcome !== 'left') conclude(vcpu, outcome);
    });
    return undefined;
  };

function check({ guest, nested }: VirtualCpu, needsVmxOperation: boolean): void {
  const inCompatibilityMode = hasBit(guest.efer, EFER.LMA) && !hasBit(guest.segment(CS).attributes, ACCESS.L);
  if (guest.isReal || hasBit(guest.rflags, RFLAGS.VM) || inCompatibilityMode) throw UD();
  if (needsVmxOperation && !nested.isOn) throw UD();
  if (guest.cpl > 0) throw GP(0);
}

/** Status flags of VMsucceed, VMfailInvalid and VMfailValid, and on to the next instruction. */
function conclude(vcpu: VirtualCpu, failure: Failure | undefined): void {
  const { guest, nested } = vcpu;
  const isValid = typeof failure === 'number' && nested.current !== NO_VMCS;
  if (isValid) nested.vmcs12.set(ERROR_FIELD, failure);
  const flag = failure === undefined ? 0 : isValid ? RFLAGS.ZF : RFLAGS.CF;
  guest.rflags = (guest.rflags & ~STATUS) | flag;
  vcpu.skipInstruction();
}

const isRegion = ({ parts }: VirtualCpu, pointer: bigint): boolean =>
  (pointer & 0xfffn) === 0n && parts.memory.contains(Number(pointer), VMCS_BYTES);
const hasRevision = ({ parts }: VirtualCpu, pointer: number): boolean =>
  new Vmcs12(parts, pointer).revision === VMCS_REVISION;

const VMXON: Body = (vcpu) => {
  const { guest, nested } = vcpu;
  if (nested.isOn) return InstructionError.vmxonInRoot;
  const isEnabled = (nested.featureControl & FEATURE_CONTROL_VMXON) === FEATURE_CONTROL_VMXON;
  if (hasBit(CR0_FIXED0, ~guest.cr0) || !isEnabled) throw GP(0);
  const pointer = mainOperand(vcpu).read(POINTER_BYTES);
  if (!isRegion(vcpu, pointer) || !hasRevision(vcpu, Number(pointer))) return 'invalid';
  nested.isOn = true;
  nested.vmxonPointer = Number(pointer);
  nested.current = NO_VMCS;
  return undefined;
};

const VMXOFF: Body = ({ nested }) => {
  nested.isOn = false;
  nested.current = NO_VMCS;
  return undefined;
};

const VMCLEAR: Body = (vcpu) => {
  const { nested, parts } = vcpu;
  const pointer = mainOperand(vcpu).read(POINTER_BYTES);
  if (!isRegion(vcpu, pointer)) return InstructionError.vmclearInvalidAddress;
  if (Number(pointer) === nested.vmxonPointer) return InstructionError.vmclearVmxonPointer;
  new Vmcs12(parts, Number(pointer)).launchState = LaunchState.clear;
  if (nested.current === Number(pointer)) nested.current = NO_VMCS;
  return undefined;
};

const VMPTRLD: Body = (vcpu) => {
  const { nested } = vcpu;
  const pointer = mainOperand(vcpu).read(POINTER_BYTES);
  if (!isRegion(vcpu, pointer)) return InstructionError.vmptrldInvalidAddress;
  if (Number(pointer) === nested.vmxonPointer) return InstructionError.vmptrldVmxonPointer;
  if (!hasRevision(vcpu, Number(pointer))) return InstructionError.vmptrldRevision;
  nested.current = Number(pointer);
  return undefined;
};

const VMPTRST: Body = (vcpu) => {
  mainOperand(vcpu).write(BigInt.asUintN(64, BigInt(vcpu.nested.current)), POINTER_BYTES);
  return undefined;
};

/** The encoding that the register operand holds; undefined if the CPU has no such field. */
function encodingOperand(vcpu: VirtualCpu): number | undefined {
  const value = vcpu.guest.is64Bit
    ? vcpu.guest.gpr(secondRegister(vcpu))
    : BigInt.asUintN(32, vcpu.guest.gpr(secondRegister(vcpu)));
  return value < 0x8000n && offsetOfEncoding(Number(value)) !== 0 ? Number(value) : undefined;
}

const wideBytes = ({ guest }: VirtualCpu): 4 | 8 => (guest.is64Bit ? 8 : 4);

const VMREAD: Body = (vcpu) => {
  const { guest, nested } = vcpu;
  if (nested.current === NO_VMCS) return 'invalid';
  const encoding = encodingOperand(vcpu);
  if (encoding === undefined) return InstructionError.unsupportedComponent;
  const bytes = wideBytes(vcpu);
  const value = guest.vmcs.readEncoding(encoding, nested.vmcs12.address);
  mainOperand(vcpu).write(BigInt.asUintN(bytes * 8, value), bytes);
  return undefined;
};

const VMWRITE: Body = (vcpu) => {
  const { guest, nested } = vcpu;
  if (nested.current === NO_VMCS) return 'invalid';
  const value = mainOperand(vcpu).read(wideBytes(vcpu));
  const encoding = encodingOperand(vcpu);
  if (encoding === undefined) return InstructionError.unsupportedComponent;
  guest.vmcs.writeEncoding(encoding, BigInt.asUintN(bytesOfEncoding(encoding) * 8, value), nested.vmcs12.address);
  return undefined;
};

const INVEPT: Body = (vcpu) => {
  const type = vcpu.guest.gpr(secondRegister(vcpu));
  if (!INVEPT_TYPES.includes(type)) return InstructionError.invalidOperand;
  mainOperand(vcpu).read(DESCRIPTOR_BYTES);
  vcpu.nested.ept.empty();
  vcpu.operation.invalidateEpt(vcpu.nested.ept.pointer);
  return undefined;
};

const INVVPID: Body = (vcpu) => {
  const type = vcpu.guest.gpr(secondRegister(vcpu));
  if (!INVVPID_TYPES.includes(type)) return InstructionError.invalidOperand;
  const descriptor = mainOperand(vcpu).read(DESCRIPTOR_BYTES);
  const vpid = descriptor & 0xffffn;
  const isReservedClear = (descriptor >> 16n) % (1n << 48n) === 0n;
  if (!isReservedClear || (type !== 2n && vpid === 0n)) return InstructionError.invalidOperand;
  // All of L2's translations have one tag, whatever VPID L1 has given it.
  vcpu.operation.invalidateVpid(vcpu.nestedVpid);
  return undefined;
};

/** VMLAUNCH and VMRESUME. One that is not refused leads to L2, or to where L1's VMCS says. */
const enter =
  (launch: boolean): Body =>
  (vcpu) => {
    const { nested, guest } = vcpu;
    if (nested.current === NO_VMCS) return 'invalid';
    if (guest.vmcs.u32(INTERRUPTIBILITY) & BLOCKING.MOV_SS) return InstructionError.blockedByMovSs;
    const isClear = nested.vmcs12.launchState === LaunchState.clear;
    if (launch && !isClear) return InstructionError.vmlaunchNonClear;
    if (!launch && isClear) return InstructionError.vmresumeNonLaunched;
    return enterL2(vcpu) ?? 'left';
  };

/** VMXON needs CR4.VMXE instead of VMX operation. */
const handleVmxon: ExitHandler = (vcpu) => {
  if (hasBit(vcpu.guest.cr4, CR4.VMXE)) return instruction(VMXON, false)(vcpu);
  vcpu.guest.injectFault(UD());
  return undefined;
};

export const nestedInstructions = {
  VMCLEAR: instruction(VMCLEAR),
  VMLAUNCH: instruction(enter(true)),
  VMPTRLD: instruction(VMPTRLD),
  VMPTRST: instruction(VMPTRST),
  VMREAD: instruction(VMREAD),
  VMRESUME: instruction(enter(false)),
  VMWRITE: instruction(VMWRITE),
  VMXOFF: instruction(VMXOFF),
  VMXON: handleVmxon,
  INVEPT: instruction(INVEPT),
  INVVPID: instruction(INVVPID),
} as const satisfies Record<string, ExitHandler>;
