/**
 * The hypervisor's VMX instructions: the same functions that carry out those of guest programs, given operands in
 * registers or in the host's scratch page.
 */

import { readFlags } from '../../cpu/flags.ts';
import type { DecodedInstruction, DecodedOperand, SystemInstruction } from '../../cpu/instruction.ts';
import type { Processor } from '../../cpu/processor.ts';
import { hasBit, RFLAGS } from '../../cpu/register-bits.ts';
import { DS } from '../../cpu/state.ts';
import { fieldByName } from '../../vmx/vmcs.ts';
import type { Vmx } from '../../vmx/vmx.ts';

const RAX = 0;
const RCX = 1;
const REGION_OFFSET = 8;

/** A VMX instruction of the hypervisor failed: the VM-instruction error is in the VMCS, if there is a current one. */
export class VmxFailure extends Error {
  constructor(mnemonic: string) {
    super(`internal: the hypervisor's ${mnemonic.toUpperCase()} failed`);
  }
}

const register = (index: number): DecodedOperand => ({ kind: 'register', index, sizeBytes: 8 });

const memory = (offset: number, sizeBytes: number): DecodedOperand => ({
  kind: 'memory',
  segment: DS,
  offset,
  sizeBytes,
  base: undefined,
  index: undefined,
  scale: 0,
  displacement: BigInt(offset),
});

/** An instruction of 64-bit code as the decoder would give it, at the host's current RIP. */
function instruction(mnemonic: string, operands: readonly DecodedOperand[]): DecodedInstruction {
  return {
    code: 0,
    mnemonic,
    far: false,
    lengthBytes: 3,
    operandSize: 64,
    addressSize: 64,
    ip: 0,
    nextIp: 3,
    repPrefix: undefined,
    segment: DS,
    x87Opcode: 0,
    operandCount: operands.length,
    operand: (index) => {
      const operand = operands[index];
      if (!operand) throw new Error(`internal: ${mnemonic} has no operand ${index}`);
      return operand;
    },
  };
}

const VMLAUNCH = instruction('Vmlaunch', []);
const VMRESUME = instruction('Vmresume', []);
const VMWRITE = instruction('Vmwrite', [register(RCX), register(RAX)]);

export class VmxOperation {
  readonly #processor: Processor;
  readonly #vmx: Vmx;
  readonly #scratch: number;

  /** `scratch` is a page whose linear address is its host-physical one. */
  constructor(processor: Processor, vmx: Vmx, scratch: number) {
    this.#processor = processor;
    this.#vmx = vmx;
    this.#scratch = scratch;
  }

  vmxon(region: number): void {
    this.#withRegion('Vmxon', region);
  }
  vmclear(region: number): void {
    this.#withRegion('Vmclear', region);
  }
  vmptrld(region: number): void {
    this.#withRegion('Vmptrld', region);
  }

  /** VMWRITE of a field by the manual's name. Uses RAX and RCX. */
  vmwrite(field: string, value: bigint | number): void {
    const encoding = fieldByName(field)?.encoding;
    if (encoding === undefined) throw new Error(`internal: no VMCS field "${field}"`);
    const { state } = this.#processor;
    state.setGpr(RCX, BigInt(encoding));
    state.setGpr(RAX, BigInt.asUintN(64, BigInt(value)));
    this.#execute(VMWRITE);
  }

  /** INVVPID, single context. */
  invalidateVpid(vpid: number): void {
    this.#invalidate('Invvpid', 1n, BigInt(vpid), 0n);
  }
  /** INVEPT, single context. */
  invalidateEpt(eptp: number): void {
    this.#invalidate('Invept', 1n, BigInt(eptp), 0n);
  }

  /**
   * VMLAUNCH or VMRESUME. Afterwards the processor is in non-root operation, or a VM exit has come in the middle of the
   * entry; false if the instruction failed (VMfail).
   */
  enter(launched: boolean): boolean {
    const processor = this.#processor;
    processor.transferred = false;
    this.#run(launched ? VMRESUME : VMLAUNCH);
    return processor.transferred;
  }

  #withRegion(mnemonic: string, region: number): void {
    const at = this.#scratch + REGION_OFFSET;
    this.#processor.memory.writeU64(at, BigInt(region), 0);
    this.#execute(instruction(mnemonic, [memory(at, 8)]));
  }

  /** The descriptor goes to the scratch page, the type to a register whose value is kept. */
  #invalidate(mnemonic: string, type: bigint, first: bigint, second: bigint): void {
    const { state, memory: linear } = this.#processor;
    const saved = state.gpr(RAX);
    linear.writeU64(this.#scratch, first, 0);
    linear.writeU64(this.#scratch + 8, second, 0);
    state.setGpr(RAX, type);
    this.#execute(instruction(mnemonic, [register(RAX), memory(this.#scratch, 16)]));
    state.setGpr(RAX, saved);
  }

  #execute(insn: DecodedInstruction): void {
    this.#run(insn);
    const flags = readFlags(this.#processor.state);
    if (hasBit(flags, RFLAGS.CF | RFLAGS.ZF)) throw new VmxFailure(insn.mnemonic);
  }

  #run(insn: DecodedInstruction): void {
    const execute: SystemInstruction | undefined = this.#vmx.instructions[insn.mnemonic];
    if (!execute) throw new Error(`internal: no instruction ${insn.mnemonic}`);
    execute(this.#processor, insn);
  }
}
