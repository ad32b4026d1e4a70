/** Decoding, through iced-x86, into plain data: what the semantics, the interpreter and the views need to know. */

import {
  Code,
  Decoder,
  DecoderOptions,
  EncodingKind,
  type Instruction,
  MemorySizeExt,
  Mnemonic,
  OpKind,
  Register,
  RegisterExt,
} from 'iced-x86';
import { featuresOf, type InstructionAvailability } from './availability.ts';
import { addressSizeOfCode, operandSizeOfCode } from './code-sizes.ts';
import { EXTENSION, extensionsOf } from './extensions.ts';
import { type LinearAddress, plus } from './linear-address.ts';
import type { Operand, OperandWidth } from './operand.ts';
import { isRex, opcodeIndex } from './prefixes.ts';
import { endsBeyond } from './undefined-length.ts';

/** Mnemonic of what the CPU does not have. */
export const UNAVAILABLE = 'UNAVAILABLE';

export type CodeSize = 16 | 32 | 64;

/**
 * A register that an operand names: a general-purpose one, a segment register, a control or debug register, XMM or YMM
 * (`vector`), MM, ST.
 */
export interface RegisterOperand {
  readonly kind: 'gpr' | 'segment' | 'control' | 'debug' | 'vector' | 'mmx' | 'x87' | 'other';
  /** Number in its file, 0 = RAX, ES, CR0, DR0, XMM0, MM0, ST(0). */
  readonly number: number;
  /** AH, CH, DH, BH (number is then that of the whole register). */
  readonly high: boolean;
  readonly width: number;
  readonly name: string;
}

export interface MemoryOperand {
  /** Number of the segment register, overrides applied. */
  readonly segment: number;
  /** Register number, `ip` for RIP-relative, or undefined. */
  readonly base: number | 'ip' | undefined;
  readonly index: number | undefined;
  readonly shift: number;
  /** Signed; for RIP-relative operands, relative to the next instruction. */
  readonly displacement: bigint;
  /** Bytes; 0 if the instruction does not access memory there (LEA, INVLPG). */
  readonly sizeBytes: number;
}

export interface DecodedOperand {
  readonly kind: 'register' | 'memory' | 'immediate' | 'near-branch' | 'far-branch' | 'string';
  readonly register?: RegisterOperand;
  /** Value of an immediate, already extended to its width (unsigned); target of a near branch. */
  readonly value?: bigint;
  readonly widthBits: number;
  /** Selector of a far branch (its offset is `value`). */
  readonly selector?: number;
}

export interface DecodedInstruction {
  /** iced-x86 Code and its name (an instruction form), and the mnemonic as iced-x86 spells it. */
  readonly code: number;
  readonly codeName: string;
  readonly mnemonic: string;
  readonly lengthBytes: number;
  /** Linear or RIP-space address of the instruction, as given to the decoder. */
  readonly ip: LinearAddress;
  readonly operandSize: 16 | 32 | 64;
  readonly addressSize: 16 | 32 | 64;
  readonly repeat: 'none' | 'rep' | 'repe' | 'repne';
  readonly lock: boolean;
  readonly operands: readonly DecodedOperand[];
  readonly memory: MemoryOperand | undefined;
  readonly codeSize: CodeSize;
  /** Lower three bits of the first opcode byte and all of the second, which an x87 instruction leaves in FOP; else 0. */
  readonly x87Opcode: number;
  /** Encoded with a VEX prefix. */
  readonly vex: boolean;
  /** Mask of EXTENSION: what the operating system must have enabled. */
  readonly extensions: number;
  /** Of `INVALID`: it ends behind the bytes that there are, or they do not tell. */
  readonly isCutShort: boolean;
}

/**
 * Decodes instructions up to the end of the bytes. An invalid instruction has mnemonic `INVALID`; one that the CPU does not
 * have, `UNAVAILABLE`.
 */
export function* decodeInstructions(
  bytes: Uint8Array,
  codeSize: CodeSize,
  ip: LinearAddress,
  availability?: InstructionAvailability,
): Generator<DecodedInstruction> {
  const decoder = new Decoder(codeSize, bytes, availability?.decoderOptions ?? DecoderOptions.None);
  try {
    decoder.ip = BigInt.asUintN(64, BigInt(ip));
    let offset = 0;
    while (decoder.canDecode) {
      const decoded = decodeNext(decoder, bytes.subarray(offset), codeSize, plus(ip, offset), availability);
      offset += decoded.lengthBytes;
      yield decoded;
    }
  } finally {
    decoder.free();
  }
}

/** The decoder's next instruction. `own` are the bytes from it on. */
function decodeNext(
  decoder: Decoder,
  own: Uint8Array,
  codeSize: CodeSize,
  ip: LinearAddress,
  availability: InstructionAvailability | undefined,
): DecodedInstruction {
  const instruction = decoder.decode();
  try {
    const first = describe(instruction, codeSize, ip, own);
    if (first.code === Code.INVALID) return endsBeyond(decoder, own, codeSize) ? { ...first, isCutShort: true } : first;
    if (!availability) return first;
    if (first.code === Code.Pause && availability.pauseMayExchange && hasRexB(own, first)) return exchangeOfR8(own, ip);
    return featuresOf(instruction).every((feature) => availability.has(feature)) ? first : withoutMeaning(first);
  } finally {
    instruction.free();
  }
}

/** XCHG R8, RAX where iced-x86 sees PAUSE. */
function exchangeOfR8(bytes: Uint8Array, ip: LinearAddress): DecodedInstruction {
  const decoder = new Decoder(64, bytes, DecoderOptions.NoPause);
  decoder.ip = BigInt.asUintN(64, BigInt(ip));
  const instruction = decoder.decode();
  try {
    return describe(instruction, 64, ip, bytes);
  } finally {
    instruction.free();
    decoder.free();
  }
}
const hasRexB = (bytes: Uint8Array, { lengthBytes, codeSize }: DecodedInstruction): boolean => {
  const rex = bytes[lengthBytes - 2] ?? 0;
  return isRex(rex, codeSize) && (rex & 1) !== 0;
};

/** The first instruction of the bytes, or undefined if there is none (invalid or cut short). */
export function decodeOne(bytes: Uint8Array, codeSize: CodeSize, ip: LinearAddress): DecodedInstruction | undefined {
  for (const instruction of decodeInstructions(bytes, codeSize, ip)) {
    return instruction.mnemonic === 'INVALID' ? undefined : instruction;
  }
  return undefined;
}

/** An instruction of which only its length counts: it raises #UD. */
const withoutMeaning = (instruction: DecodedInstruction): DecodedInstruction => ({
  ...instruction,
  mnemonic: UNAVAILABLE,
  extensions: 0,
  repeat: 'none',
  operands: [],
  memory: undefined,
});

function describe(
  instruction: Instruction,
  codeSize: CodeSize,
  ip: LinearAddress,
  bytes: Uint8Array,
): DecodedInstruction {
  const { code, encoding } = instruction;
  const vex = encoding === EncodingKind.VEX;
  const operands: DecodedOperand[] = [];
  for (let i = 0; i < instruction.opCount; i++) operands.push(describeOperand(instruction, i));
  const memory = operands.some((o) => o.kind === 'memory' || o.kind === 'string')
    ? describeMemory(instruction, codeSize)
    : monitoredMemory(instruction);
  const mnemonic = mnemonicOf(instruction, encoding);
  return {
    code,
    codeName: Code[code] as string,
    mnemonic,
    lengthBytes: instruction.length,
    ip,
    operandSize: (operandSizeOfCode(code) || (codeSize === 64 ? 32 : codeSize)) as 16 | 32 | 64,
    addressSize: addressSizeOf(instruction, codeSize),
    repeat: repeatOf(instruction),
    lock: instruction.hasLockPrefix,
    operands,
    memory,
    codeSize,
    x87Opcode: x87OpcodeOf(bytes, codeSize),
    vex,
    extensions: extensionsOf(mnemonic, vex, operands),
    isCutShort: false,
  };
}

/** Of an EVEX form, of which the engine has none, not that which it shares with a VEX form: it has masks, and more registers. */
function mnemonicOf({ mnemonic }: Instruction, encoding: EncodingKind): string {
  const name = Mnemonic[mnemonic] as string;
  return encoding === EncodingKind.EVEX ? `Evex_${name}` : name;
}

/** 0 where the first byte after prefixes is not D8 to DF. */
function x87OpcodeOf(bytes: Uint8Array, codeSize: CodeSize): number {
  const at = opcodeIndex(bytes, codeSize);
  const opcode = bytes[at] ?? 0;
  return (opcode & 0xf8) === 0xd8 ? ((opcode & 7) << 8) | (bytes[at + 1] ?? 0) : 0;
}

const comparesAndRepeats = new Set<string>(['Cmpsb', 'Cmpsw', 'Cmpsd', 'Cmpsq', 'Scasb', 'Scasw', 'Scasd', 'Scasq']);

function repeatOf(instruction: Instruction): DecodedInstruction['repeat'] {
  if (!instruction.isStringInstruction) return 'none';
  const compares = comparesAndRepeats.has(Mnemonic[instruction.mnemonic] as string);
  if (instruction.hasRepePrefix) return compares ? 'repe' : 'rep';
  if (instruction.hasRepnePrefix) return compares ? 'repne' : 'rep';
  return 'none';
}

function addressSizeOf(instruction: Instruction, codeSize: CodeSize): 16 | 32 | 64 {
  const fixed = addressSizeOfCode(instruction.code);
  if (fixed) return fixed;
  for (let i = 0; i < instruction.opCount; i++) {
    const size = stringAddressSize[instruction.opKind(i)];
    if (size) return size;
    if (instruction.opKind(i) === OpKind.Memory) return memoryAddressSize(instruction, codeSize);
  }
  return codeSize;
}

function memoryAddressSize(instruction: Instruction, codeSize: CodeSize): 16 | 32 | 64 {
  for (const register of [instruction.memoryBase, instruction.memoryIndex]) {
    if (register === Register.EIP) return 32;
    if (register === Register.RIP) return 64;
    if (register !== Register.None) return (RegisterExt.size(register) * 8) as 16 | 32 | 64;
  }
  const bytes = instruction.memoryDisplSize;
  return bytes >= 2 ? ((bytes * 8) as 16 | 32 | 64) : codeSize;
}

/** Address size of the implicit operands of string instructions. */
const stringAddressSize: Readonly<Record<number, 16 | 32 | 64 | undefined>> = {
  [OpKind.MemorySegSI]: 16,
  [OpKind.MemorySegESI]: 32,
  [OpKind.MemorySegRSI]: 64,
  [OpKind.MemorySegDI]: 16,
  [OpKind.MemorySegEDI]: 32,
  [OpKind.MemorySegRDI]: 64,
  [OpKind.MemoryESDI]: 16,
  [OpKind.MemoryESEDI]: 32,
  [OpKind.MemoryESRDI]: 64,
};

/** Width of an immediate, by its kind. */
const immediateWidth: Readonly<Record<number, OperandWidth | undefined>> = {
  [OpKind.Immediate8]: 8,
  [OpKind.Immediate8_2nd]: 8,
  [OpKind.Immediate16]: 16,
  [OpKind.Immediate32]: 32,
  [OpKind.Immediate64]: 64,
  [OpKind.Immediate8to16]: 16,
  [OpKind.Immediate8to32]: 32,
  [OpKind.Immediate8to64]: 64,
  [OpKind.Immediate32to64]: 64,
};

function describeOperand(instruction: Instruction, index: number): DecodedOperand {
  const kind = instruction.opKind(index);
  if (kind === OpKind.Register) {
    const register = registerOperand(instruction.opRegister(index));
    return { kind: 'register', register, widthBits: register.width };
  }
  const width = immediateWidth[kind];
  if (width) return { kind: 'immediate', value: BigInt.asUintN(width, instruction.immediate(index)), widthBits: width };
  switch (kind) {
    case OpKind.Memory:
      return { kind: 'memory', widthBits: MemorySizeExt.size(instruction.memorySize) * 8 };
    case OpKind.NearBranch16:
    case OpKind.NearBranch32:
    case OpKind.NearBranch64:
      return { kind: 'near-branch', value: instruction.nearBranchTarget, widthBits: 64 };
    case OpKind.FarBranch16:
    case OpKind.FarBranch32: {
      const wide = kind === OpKind.FarBranch32;
      const value = BigInt(wide ? instruction.farBranch32 : instruction.farBranch16);
      return { kind: 'far-branch', value, selector: instruction.farBranchSelector, widthBits: wide ? 32 : 16 };
    }
    default:
      return { kind: 'string', widthBits: MemorySizeExt.size(instruction.memorySize) * 8 };
  }
}

/** MONITOR has no operand, but names a line by RAX in DS, or the segment of a prefix. */
function monitoredMemory({ mnemonic, segmentPrefix }: Instruction): MemoryOperand | undefined {
  if (mnemonic !== Mnemonic.Monitor) return undefined;
  const segment = RegisterExt.number(segmentPrefix === Register.None ? Register.DS : segmentPrefix);
  return { segment, base: 0, index: undefined, shift: 0, displacement: 0n, sizeBytes: 1 };
}

/** In 64-bit mode prefixes for ES, CS, SS and DS are ignored (SDM volume 1, "Segmentation in 64-Bit Mode"). */
function segmentOf({ memorySegment, memoryBase }: Instruction, codeSize: CodeSize): Register {
  if (codeSize !== 64 || memorySegment === Register.FS || memorySegment === Register.GS) return memorySegment;
  const base = RegisterExt.isGPR(memoryBase) ? RegisterExt.fullRegister(memoryBase) : Register.None;
  return base === Register.RSP || base === Register.RBP ? Register.SS : Register.DS;
}

function describeMemory(instruction: Instruction, codeSize: CodeSize): MemoryOperand {
  const { memoryBase: base, memoryIndex: index } = instruction;
  const ipRelative = base === Register.RIP || base === Register.EIP;
  const displacement = BigInt.asIntN(64, instruction.memoryDisplacement);
  const nextIp = BigInt.asIntN(64, instruction.nextIP);
  return {
    segment: RegisterExt.number(segmentOf(instruction, codeSize)),
    base: ipRelative ? 'ip' : numberOf(base),
    index: numberOf(index),
    shift: Math.log2(instruction.memoryIndexScale || 1),
    // iced-x86 gives the target of RIP-relative operands.
    displacement: ipRelative ? displacement - nextIp : displacement,
    sizeBytes: MemorySizeExt.size(instruction.memorySize),
  };
}

const numberOf = (register: Register): number | undefined =>
  register === Register.None ? undefined : RegisterExt.number(register);

const registerOperands = new Map<number, RegisterOperand>();

function registerOperand(register: Register): RegisterOperand {
  let operand = registerOperands.get(register);
  if (!operand) registerOperands.set(register, (operand = describeRegister(register)));
  return operand;
}

function describeRegister(register: Register): RegisterOperand {
  const name = Register[register] as string;
  const high = name === 'AH' || name === 'CH' || name === 'DH' || name === 'BH';
  const number = RegisterExt.number(RegisterExt.isGPR8(register) ? RegisterExt.fullRegister(register) : register);
  return { kind: registerKind(register), number, high, width: RegisterExt.size(register) * 8, name };
}

function registerKind(register: Register): RegisterOperand['kind'] {
  if (RegisterExt.isGPR(register)) return 'gpr';
  if (RegisterExt.isSegmentRegister(register)) return 'segment';
  if (RegisterExt.isCR(register)) return 'control';
  if (RegisterExt.isDR(register)) return 'debug';
  if (RegisterExt.isVectorRegister(register)) return 'vector';
  if (RegisterExt.isMM(register)) return 'mmx';
  if (RegisterExt.isST(register)) return 'x87';
  return 'other';
}

/** The operands as the semantics sees them: string operands are implied, memory without a size takes its peer's. */
export function symbolicOperands(instruction: DecodedInstruction): Operand[] {
  const { operands } = instruction;
  if (operands.some((o) => o.kind === 'string')) return [];
  const widest = Math.max(...operands.filter((o) => o.kind === 'register').map((o) => o.widthBits), 8);
  return operands.map((operand, position) => {
    const bits = operand.widthBits || widest;
    const file = operand.register?.kind;
    return {
      kind: operand.kind === 'register' || operand.kind === 'memory' ? operand.kind : 'immediate',
      position,
      width: Math.min(bits, 128) as OperandWidth,
      ...(file === 'vector' || file === 'mmx' ? { file } : {}),
      ...(bits === 256 ? { halves: 2 } : {}),
      ...(usesStackPointer(instruction, operand) ? { usesStackPointer: true } : {}),
      ...constantOf(instruction, operand, position),
    };
  });
}

const usesStackPointer = ({ mnemonic, memory }: DecodedInstruction, operand: DecodedOperand): boolean =>
  mnemonic === 'Pop' && operand.kind === 'memory' && memory?.base === 4;

/** The value of an immediate on which depends what the Operation consists of: a nesting level, a choice of lanes. */
function constantOf(instruction: DecodedInstruction, operand: DecodedOperand, position: number): { constant?: number } {
  if (operand.kind !== 'immediate') return {};
  const value = Number(operand.value ?? 0n);
  if (instruction.mnemonic === 'Enter') return position === 1 ? { constant: value & 31 } : {};
  return instruction.extensions & (EXTENSION.MMX | EXTENSION.SSE | EXTENSION.AVX) ? { constant: value } : {};
}
