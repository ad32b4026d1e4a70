/** Bytes that are, might be, or just fail to be an instruction: prefixes, all opcode maps, ModRM, SIB, the rest. */
import { MAX_INSTRUCTION_BYTES } from '../../engine/isa/prefixes.ts';
import { DATA_ADDRESS, DATA_BYTES, type Mode } from '../vectors/layout.ts';
import type { Random } from '../vectors/record/random.ts';

const PREFIXES = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3];
/** Those that choose instructions and sizes. */
const USUAL_PREFIXES = [0x66, 0x66, 0xf2, 0xf3, 0x67, 0xf0, 0x2e];
const RANDOM_BYTES = 12;

const bytes = (random: Random, count: number): number[] => Array.from({ length: count }, () => random.below(256));

/** A whole instruction or more, at most fifteen bytes long (sixteen prefixes are cut off as well). */
export function instructionBytes(random: Random, mode: Mode): Uint8Array {
  const all = [...prefixes(random, mode), ...opcode(random, mode), ...operandBytes(random, mode)];
  return Uint8Array.from(all.slice(0, MAX_INSTRUCTION_BYTES));
}

function prefixes(random: Random, mode: Mode): number[] {
  const chance = random.below(64);
  // Redundant ones up to the limit of fifteen bytes, and beyond.
  const count = chance === 0 ? 1 + random.below(MAX_INSTRUCTION_BYTES) : chance < 20 ? 1 : chance < 26 ? 2 : 0;
  const from = random.oneIn(8) ? PREFIXES : USUAL_PREFIXES;
  const legacy = Array.from({ length: count }, () => random.pick(from));
  if (mode !== 64 || random.oneIn(2)) return legacy;
  const rex = 0x40 | (random.oneIn(2) ? 8 : 0) | (random.oneIn(2) ? random.below(8) : 0);
  // A REX prefix that is not the last prefix has no meaning.
  return random.oneIn(32) ? [rex, ...legacy] : [...legacy, rex];
}

const OPCODE_MAPS: readonly ((random: Random, mode: Mode) => number[])[] = [
  (random) => bytes(random, 1),
  (random) => bytes(random, 1),
  (random) => bytes(random, 1),
  (random) => [0x0f, ...bytes(random, 1)],
  (random) => [0x0f, ...bytes(random, 1)],
  (random) => [0x0f, ...bytes(random, 1)],
  (random) => [0x0f, 0x38, ...bytes(random, 1)],
  (random) => [0x0f, 0x3a, ...bytes(random, 1)],
  (random) => [0xd8 | random.below(8)],
  (random) => [0xc5, random.below(256), ...bytes(random, 1)],
  (random) => [0xc4, (0xe0 & random.below(256)) | 1 | random.below(3), random.below(256), ...bytes(random, 1)],
  (random) => [0xc4, 0xe1 + random.below(3), random.below(256) | 0x78, ...bytes(random, 1)],
  (random) => (random.oneIn(4) ? [0x62, ...bytes(random, 4)] : [0x8f, ...bytes(random, 3)]),
];

function opcode(random: Random, mode: Mode): number[] {
  return random.pick(OPCODE_MAPS)(random, mode);
}

/** ModRM, SIB, displacement, and something for immediates. */
function operandBytes(random: Random, mode: Mode): number[] {
  const modrm = random.oneIn(2) ? 0xc0 | random.below(64) : random.below(192);
  const [mod, rm] = [modrm >> 6, modrm & 7];
  const tail = bytes(random, RANDOM_BYTES);
  if (mod === 3 || mode === 16) return [modrm, ...tail];
  const sib = rm === 4 ? bytes(random, 1) : [];
  const base = rm === 4 ? (sib[0] ?? 0) & 7 : rm;
  if (mod === 0 && base !== 5) return [modrm, ...sib, ...tail];
  if (mod === 1) return [modrm, ...sib, ...tail];
  return [modrm, ...sib, ...displacement(random, mod, mode === 64 && rm === 5), ...tail];
}

/** Four bytes: what leads from a register, from nowhere or from the code to the data, mostly. */
function displacement(random: Random, mod: number, isRelative: boolean): number[] {
  if (random.oneIn(8)) return bytes(random, 4);
  const small = random.below(0x400) - 0x200;
  const value = mod === 2 ? small : (isRelative ? 0x10_0000 - 0x800 : DATA_ADDRESS) + random.below(DATA_BYTES);
  return [0, 8, 16, 24].map((shift) => (value >> shift) & 0xff);
}
