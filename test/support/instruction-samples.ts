/** An encoding of every instruction form, found by going through all opcodes. */
import { Code, Decoder, DecoderOptions, Instruction } from 'iced-x86';
import type { Mode } from '../vectors/layout.ts';

export interface InstructionSample {
  readonly code: Code;
  /** The name of iced-x86's `Code`. */
  readonly form: string;
  readonly bytes: Uint8Array;
}

/** Memory at [BX+DI], [ECX] or [RCX], and with a SIB byte; in the tail, an index register other than the operands'. */
const MEMORY_MODRMS = Array.from({ length: 8 }, (_, reg) => [8 * reg + 1, 8 * reg + 4]).flat();
const FIRST_REGISTER_MODRMS = Array.from({ length: 8 }, (_, reg) => 0xc0 | (8 * reg));
const ALL_REGISTER_MODRMS = Array.from({ length: 64 }, (_, n) => 0xc0 | n);
const TAIL = [0x91, ...new Array<number>(9).fill(0)];

/** The first encoding that each form has in a mode, with registers or with memory if it can have both. */
export function instructionSamples(mode: Mode, operand: 'register' | 'memory' = 'register'): InstructionSample[] {
  const found = new Map<Code, InstructionSample>();
  const instruction = new Instruction();
  try {
    for (const { head, modrms } of opcodes(mode)) {
      for (const modrm of operand === 'memory' ? [...modrms].reverse() : modrms) {
        const bytes = Uint8Array.from([...head, modrm, ...TAIL]);
        const length = decodeInto(instruction, bytes, mode);
        const { code } = instruction;
        if (length === 0 || found.has(code)) continue;
        found.set(code, { code, form: Code[code] as string, bytes: bytes.slice(0, length) });
      }
    }
  } finally {
    instruction.free();
  }
  return [...found.values()];
}

/** The length, or 0 if there is no instruction. */
function decodeInto(instruction: Instruction, bytes: Uint8Array, mode: Mode): number {
  const decoder = new Decoder(mode, bytes, DecoderOptions.None);
  decoder.decodeOut(instruction);
  decoder.free();
  return instruction.isInvalid ? 0 : instruction.length;
}

interface Opcode {
  readonly head: readonly number[];
  readonly modrms: readonly number[];
}

const LEGACY_MAPS = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];
const PREFIXES = [[], [0x66], [0xf2], [0xf3], [0x67], [0x66, 0xf2], [0x66, 0xf3]];
const REX_W = 0x48;
/** Maps 1 to 3 of a VEX prefix of three bytes: its second byte, with R, X and B as no extension. */
const VEX_MAPS = [0xe1, 0xe2, 0xe3];

function* opcodes(mode: Mode): Generator<Opcode> {
  const rexes = mode === 64 ? [[], [REX_W]] : [[]];
  for (const prefixes of PREFIXES.flatMap((legacy) => rexes.map((rex) => [...legacy, ...rex]))) {
    for (const map of LEGACY_MAPS) {
      const modrms = map.length < 2 ? [...ALL_REGISTER_MODRMS, ...MEMORY_MODRMS] : [0xc0, ...MEMORY_MODRMS];
      for (let opcode = 0; opcode < 256; opcode++) yield { head: [...prefixes, ...map, opcode], modrms };
    }
  }
  const modrms = [...FIRST_REGISTER_MODRMS, ...MEMORY_MODRMS];
  for (const map of VEX_MAPS) {
    // W, vvvv = 1111 or 1101 (inverted), L, pp.
    for (let low = 0; low < 8; low++) {
      for (const high of [0x78, 0xf8, 0x68, 0xe8]) {
        for (let opcode = 0; opcode < 256; opcode++) yield { head: [0xc4, map, high | low, opcode], modrms };
      }
    }
  }
}
