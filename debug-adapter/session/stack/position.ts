import type { Vcpu } from '../../engine-target.ts';

/** Where a vCPU is, as far as steps need to know. */
export interface Position {
  /** Linear. */
  readonly address: bigint;
  readonly ring: number;
  readonly vmx: 'off' | 'root' | 'non-root';
  readonly codeSize: 16 | 32 | 64;
  /** Linear address of the top of the stack. */
  readonly stackTop: bigint;
  /** The stack pointer itself. */
  readonly stackPointer: bigint;
  /** Stages of the built-in hypervisor's handler that are on the stack. */
  readonly stages: number;
}

export function positionOf(vcpu: Vcpu): Position {
  const { ring, vmxOperation, codeSize } = vcpu.mode();
  const stackPointer = vcpu.readRegister(codeSize === 64 ? 'rsp' : 'esp') ?? 0n;
  const base = codeSize === 64 ? 0n : (vcpu.readRegister('ss.base') ?? 0n);
  const offset = codeSize === 16 ? stackPointer & 0xffffn : stackPointer;
  return {
    address: vcpu.instructionAddress,
    ring,
    vmx: vmxOperation,
    codeSize,
    stackTop: BigInt.asUintN(64, base + offset),
    stackPointer,
    stages: vcpu.handlerFrames().length,
  };
}

/** Linear base of the code segment: what a return address is relative to. */
export function codeBase(vcpu: Vcpu, codeSize: 16 | 32 | 64): bigint {
  return codeSize === 64 ? 0n : (vcpu.readRegister('cs.base') ?? 0n);
}
