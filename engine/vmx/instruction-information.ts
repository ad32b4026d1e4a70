/**
 * The VM-exit instruction-information field and the exit qualification of instructions with a memory operand
 * (SDM volume 3, "Information for VM Exits Due to Instruction Execution").
 */
import type { DecodedInstruction, DecodedOperand, MemoryOperand } from '../cpu/instruction.ts';

const RIP_NUMBER = 16;

/** Bit positions and single bits that the formats have in common; the scale is in bits 1:0. */
export const INFORMATION = {
  REG1: 3,
  ADDRESS_SIZE: 7,
  REGISTER_FORM: 1 << 10,
  SEGMENT: 15,
  INDEX: 18,
  NO_INDEX: 1 << 22,
  BASE: 23,
  NO_BASE: 1 << 27,
  REG2: 28,
} as const;
const { REG1, ADDRESS_SIZE, REGISTER_FORM, SEGMENT, INDEX, NO_INDEX, BASE, NO_BASE, REG2 } = INFORMATION;
const OPERAND_SIZE = 11;
const OPERAND_32 = 1 << OPERAND_SIZE;
const IDENTITY = 28;

/** Which of four instructions, in bits 29:28. */
const identities: Readonly<Record<string, number>> = {
  Sgdt: 0, Sidt: 1, Lgdt: 2, Lidt: 3,
  Sldt: 0, Str: 1, Lldt: 2, Ltr: 3,
}; // biome-ignore format: one row a format

/** Instructions whose other operand is a register, in bits 31:28, with the index of that operand. */
const secondRegister: Readonly<Record<string, number>> = { Vmread: 1, Vmwrite: 0, Invept: 0, Invvpid: 0, Invpcid: 0 };
const tableLoads = new Set(['Sgdt', 'Sidt', 'Lgdt', 'Lidt']);

const sizeCode = (bits: 16 | 32 | 64): number => (bits === 64 ? 2 : bits === 32 ? 1 : 0);

function memoryBits({ base, index, scale, segment }: MemoryOperand): number {
  const baseBits = base === undefined || base === RIP_NUMBER ? NO_BASE : base << BASE;
  const indexBits = index === undefined ? NO_INDEX : (index << INDEX) | scale;
  return baseBits | indexBits | (segment << SEGMENT);
}

/** The operand that is memory or, in some instructions, a register. */
function mainOperand(insn: DecodedInstruction): DecodedOperand | undefined {
  if (insn.operandCount === 0) return undefined;
  const second = secondRegister[insn.mnemonic];
  return insn.operand(second === 0 ? 1 : 0);
}

/** The instruction-information field for an instruction that reports its operands. */
export function instructionInformation(insn: DecodedInstruction): number {
  const operand = mainOperand(insn);
  if (!operand) return 0;
  let value = sizeCode(insn.addressSize) << ADDRESS_SIZE;
  if (operand.kind === 'memory') value |= memoryBits(operand);
  else if (operand.kind === 'register') value |= REGISTER_FORM | (operand.index << REG1);
  const second = secondRegister[insn.mnemonic];
  if (second !== undefined) {
    const register = insn.operand(second);
    if (register.kind === 'register') value |= register.index << REG2;
  }
  if (tableLoads.has(insn.mnemonic) && insn.operandSize !== 16) value |= OPERAND_32;
  value |= (identities[insn.mnemonic] ?? 0) << IDENTITY;
  return value >>> 0;
}

/** INS and OUTS report only the address size and the segment. */
export const stringIoInformation = (addressSize: 16 | 32 | 64, segment: number): number =>
  (sizeCode(addressSize) << ADDRESS_SIZE) | (segment << SEGMENT);

/** RDRAND and RDSEED report the destination and, in bits 12:11, its size. */
export function randomInformation(insn: DecodedInstruction): number {
  const destination = insn.operand(0);
  const size = sizeCode(insn.operandSize) << OPERAND_SIZE;
  return (destination.kind === 'register' ? destination.index << REG1 : 0) | size;
}

/** The exit qualification: the displacement of the memory operand, sign-extended, with RIP added if relative to it; else 0. */
export function displacementQualification(insn: DecodedInstruction): bigint {
  const operand = mainOperand(insn);
  if (operand?.kind !== 'memory') return 0n;
  const relative = operand.base === RIP_NUMBER ? BigInt(insn.nextIp) : 0n;
  return BigInt.asUintN(64, BigInt.asIntN(insn.addressSize, operand.displacement) + relative);
}

const registerNames = [
  'RAX', 'RCX', 'RDX', 'RBX', 'RSP', 'RBP', 'RSI', 'RDI', 'R8', 'R9', 'R10', 'R11', 'R12', 'R13', 'R14', 'R15',
] as const; // biome-ignore format: one row
const segmentNames = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS'] as const;

/** Name of a general-purpose register by its number in exit information. */
export const registerName = (number: number): string => registerNames[number & 15] as string;

/** The operand that an instruction-information field describes, in assembly notation without the displacement. */
export function describeOperand(information: number): string {
  if (information & REGISTER_FORM) return registerName(information >>> REG1);
  const parts: string[] = [];
  if ((information & NO_BASE) === 0) parts.push(registerName(information >>> BASE));
  if ((information & NO_INDEX) === 0) {
    parts.push(`${registerName(information >>> INDEX)}*${1 << (information & 3)}`);
  }
  const segment = segmentNames[(information >>> SEGMENT) & 7] ?? 'DS';
  return `${segment}:[${parts.concat('displacement').join(' + ')}]`;
}
