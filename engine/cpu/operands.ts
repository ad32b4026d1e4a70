/** Reads and writes of the operands of heavy instructions. */

import type { LinearAddress } from '../isa/linear-address.ts';
import { checkSegment, readOperandMemory, writeLinear } from './access.ts';
import type { DecodedInstruction, DecodedOperand, MemoryOperand } from './instruction.ts';
import { Privilege, type Processor } from './processor.ts';

function wrongOperand(insn: DecodedInstruction, index: number, expected: string, found: DecodedOperand): never {
  throw new Error(
    `internal: ${insn.mnemonic} at ${insn.ip.toString(16)}: operand ${index}: expected ${expected}, found ${found.kind}`,
  );
}

/** Index of the register that operand `index` names. */
export function registerIndex(insn: DecodedInstruction, index: number): number {
  const operand = insn.operand(index);
  if (operand.kind === 'register') return operand.index;
  return wrongOperand(insn, index, 'a general-purpose register', operand);
}

export function memoryOperand(insn: DecodedInstruction, index: number): MemoryOperand {
  const operand = insn.operand(index);
  return operand.kind === 'memory' ? operand : wrongOperand(insn, index, 'memory', operand);
}

export function immediate(insn: DecodedInstruction, index: number): number {
  const operand = insn.operand(index);
  return operand.kind === 'immediate' ? operand.value : wrongOperand(insn, index, 'an immediate', operand);
}

/** Index of the segment, control or debug register that operand `index` names. */
export function specialRegister(insn: DecodedInstruction, index: number): number {
  const operand = insn.operand(index);
  switch (operand.kind) {
    case 'segment':
    case 'control':
    case 'debug':
      return operand.index;
    default:
      return wrongOperand(insn, index, 'a segment, control or debug register', operand);
  }
}

/** A 16-bit source in a register or memory. */
export function readWord(processor: Processor, insn: DecodedInstruction, index: number): number {
  const operand = insn.operand(index);
  if (operand.kind === 'register') return processor.state.gpr32(operand.index) & 0xffff;
  return Number(readOperandMemory(processor, memoryOperand(insn, index), 0, 2));
}

/** Linear address of a memory operand that is going to be written; throws what the write would. */
export function probeOperand(processor: Processor, operand: MemoryOperand, sizeBytes: number): LinearAddress {
  const linear = checkSegment(processor, operand.segment, operand.offset, sizeBytes, 'write');
  processor.memory.probeWrite(linear, sizeBytes, Privilege.Current);
  return linear;
}

/** Writes a register, its low 16 bits only for 16-bit operands; 32-bit results clear the upper half. */
export function writeRegister(processor: Processor, index: number, bits: number, value: bigint): void {
  const { state } = processor;
  if (bits === 16) state.setGpr(index, (state.gpr(index) & ~0xffffn) | (value & 0xffffn));
  else state.setGpr(index, BigInt.asUintN(bits, value));
}

/**
 * Stores a selector or the machine status word: the whole register by operand size, but 16 bits in memory
 * (SDM volume 2, SLDT, STR, SMSW, and MOV from a segment register).
 */
export function writeWordOrRegister(
  processor: Processor,
  insn: DecodedInstruction,
  index: number,
  value: bigint,
): void {
  const operand = insn.operand(index);
  if (operand.kind === 'register') return writeRegister(processor, operand.index, insn.operandSize, value);
  const memory = memoryOperand(insn, index);
  const linear = checkSegment(processor, memory.segment, memory.offset, 2, 'write');
  writeLinear(processor, linear, 2, value, Privilege.Current);
}
