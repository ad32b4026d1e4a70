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

/** Where the code is whose callers are looked for, and how its memory is read. */
export interface CodeView {
  readonly position: Position;
  /** Linear base of the code segment. */
  readonly codeBase: bigint;
  peek(address: bigint, lengthBytes: number): Uint8Array;
}

/** The guest's code, also while the built-in hypervisor handles its exit and the CPU is the hypervisor's. */
export function guestView(vcpu: Vcpu): CodeView {
  const position = positionOf(vcpu);
  const left = position.stages > 0 ? exitedPosition(vcpu, position.stages) : undefined;
  if (left === undefined) {
    const peek = (address: bigint, lengthBytes: number) => vcpu.peek('linear', address, lengthBytes);
    return { position, codeBase: codeBase(vcpu, position.codeSize), peek };
  }
  return {
    position: left,
    codeBase: left.codeSize === 64 ? 0n : (vcpu.readVmcs('Guest CS base') ?? 0n),
    peek: (address, lengthBytes) => vcpu.peekExitedGuest(address, lengthBytes),
  };
}

const LONG_MODE_ACTIVE = 1n << 10n;
const RIGHTS_64_BIT = 1n << 13n;
const RIGHTS_32_BIT = 1n << 14n;

/** Where the guest of the current VMCS left, by its guest-state area. */
function exitedPosition(vcpu: Vcpu, stages: number): Position {
  const field = (name: string) => vcpu.readVmcs(name) ?? 0n;
  const rights = field('Guest CS access rights');
  const isLong = (field('Guest IA32_EFER') & LONG_MODE_ACTIVE) !== 0n && (rights & RIGHTS_64_BIT) !== 0n;
  const codeSize = isLong ? 64 : (rights & RIGHTS_32_BIT) === 0n ? 16 : 32;
  const stackPointer = field('Guest RSP');
  const offset = codeSize === 16 ? stackPointer & 0xffffn : stackPointer;
  return {
    address: BigInt.asUintN(64, field('Guest RIP') + (isLong ? 0n : field('Guest CS base'))),
    ring: Number((field('Guest SS access rights') >> 5n) & 3n),
    vmx: 'non-root',
    codeSize,
    stackTop: BigInt.asUintN(64, (isLong ? 0n : field('Guest SS base')) + offset),
    stackPointer,
    stages,
  };
}

/** Linear base of the code segment: what a return address is relative to. */
export function codeBase(vcpu: Vcpu, codeSize: 16 | 32 | 64): bigint {
  return codeSize === 64 ? 0n : (vcpu.readRegister('cs.base') ?? 0n);
}
