/**
 * The operands of a VMX instruction that exited, from the VM-exit instruction information and the exit qualification
 * (SDM volume 3, "Information for VM Exits Due to Instruction Execution").
 */
import { INFORMATION } from '../../../vmx/instruction-information.ts';
import { GuestLinear } from '../guest-linear.ts';
import type { VirtualCpu } from '../virtual-cpu.ts';

const { REG1, ADDRESS_SIZE, REGISTER_FORM, SEGMENT, INDEX, NO_INDEX, BASE, NO_BASE, REG2 } = INFORMATION;
const SCALE = 3;

/** The operand that may be memory: a place that is read and written through the guest's segments and page tables. */
export interface MainOperand {
  read(bytes: number): bigint;
  write(value: bigint, bytes: number): void;
}

/** The main operand of the instruction that exited. Its accesses throw the guest's faults. */
export function mainOperand(vcpu: VirtualCpu): MainOperand {
  const { guest } = vcpu.parts;
  const information = guest.instructionInformation;
  if (information & REGISTER_FORM) return registerOperand(vcpu, (information >>> REG1) & 15);
  const segment = (information >>> SEGMENT) & 7;
  const offset = offsetOfOperand(vcpu, information);
  return {
    read: (bytes) => new GuestLinear(vcpu.parts).read({ segment, offset, bytes, forWrite: false }),
    write: (value, bytes) => new GuestLinear(vcpu.parts).write({ segment, offset, bytes, forWrite: true }, value),
  };
}

function registerOperand(vcpu: VirtualCpu, register: number): MainOperand {
  const { guest } = vcpu.parts;
  return {
    read: (bytes) => BigInt.asUintN(bytes * 8, guest.gpr(register)),
    write: (value) => guest.setGpr(register, value),
  };
}

function offsetOfOperand(vcpu: VirtualCpu, information: number): bigint {
  const { guest } = vcpu.parts;
  const bits = [16, 32, 64][(information >>> ADDRESS_SIZE) & 7] ?? 64;
  let offset = guest.displacement;
  if (!(information & NO_BASE)) offset += guest.gpr((information >>> BASE) & 15);
  if (!(information & NO_INDEX)) offset += guest.gpr((information >>> INDEX) & 15) << BigInt(information & SCALE);
  return BigInt.asUintN(bits, offset);
}

/** The second operand, a register: the encoding of VMREAD and VMWRITE, the type of INVEPT and INVVPID. */
export const secondRegister = (vcpu: VirtualCpu): number => vcpu.parts.guest.instructionInformation >>> REG2;
