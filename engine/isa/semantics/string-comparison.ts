/** PCMPESTRI and its siblings (SDM volume 1, "SSE4.2 Text and String Processing"), and CRC32. */
import { call, constant, type Expr, ite } from '../../expr/expr.ts';
import { fromLanes, lanesOf } from '../../expr/lanes.ts';
import type { PureFunction } from '../../expr/pure-function.ts';
import type { Operand } from '../operand.ts';
import { RAX, RCX, RDX, type Semantics } from '../semantics-builder.ts';
import { immediateOf, type Vector } from './vector-operands.ts';

/** Characters, and how many of them are valid. */
interface Text {
  readonly characters: readonly number[];
  readonly length: number;
}

interface Comparison {
  /** IntRes2 of the manual: a bit for each character of the second operand. */
  readonly bits: number;
  readonly count: number;
}

const usesWords = (control: number): boolean => (control & 1) !== 0;
const countOf = (control: number): number => (usesWords(control) ? 8 : 16);

function charactersOf(vector: bigint, control: number): number[] {
  const bits = usesWords(control) ? 16 : 8;
  const isSigned = (control & 2) !== 0;
  return lanesOf(bits, vector).map((lane) => Number(isSigned ? BigInt.asIntN(bits, lane) : lane));
}

/** IntRes1: which characters of b match, by the aggregation that the control byte asks for. */
function matches(a: Text, b: Text, control: number): boolean[] {
  const places = b.characters.map((_, place) => place);
  const validA = a.characters.slice(0, a.length);
  const character = (place: number) => b.characters[place] as number;
  switch ((control >> 2) & 3) {
    case 0:
      return places.map((place) => place < b.length && validA.includes(character(place)));
    case 1:
      return places.map((place) => place < b.length && isInRanges(validA, character(place)));
    case 2:
      return places.map((place) =>
        place < a.length && place < b.length
          ? a.characters[place] === character(place)
          : place >= a.length && place >= b.length,
      );
    default:
      return places.map((place) => startsAt(validA, b, place));
  }
}

/** Pairs of a lower and an upper bound; one without the other counts for nothing. */
function isInRanges(bounds: readonly number[], character: number): boolean {
  for (let i = 0; i + 1 < bounds.length; i += 2) {
    if (character >= (bounds[i] as number) && character <= (bounds[i + 1] as number)) return true;
  }
  return false;
}

/** Whether the text goes on with a, as far as the vector reaches. */
const startsAt = (a: readonly number[], b: Text, place: number): boolean =>
  a.every((character, i) => {
    const at = place + i;
    return at >= b.characters.length || (at < b.length && b.characters[at] === character);
  });

const MASKED = 0x20;
const NEGATIVE = 0x10;

function compare(a: Text, b: Text, control: number): Comparison {
  const result = matches(a, b, control).map((match, place) => {
    const negates = (control & NEGATIVE) !== 0 && ((control & MASKED) === 0 || place < b.length);
    return negates ? !match : match;
  });
  return { bits: result.reduce((bits, match, place) => bits | (match ? 1 << place : 0), 0), count: result.length };
}

const MOST_SIGNIFICANT = 0x40;
function indexOf({ bits, count }: Comparison, control: number): number {
  if (bits === 0) return count;
  return control & MOST_SIGNIFICANT ? 31 - Math.clz32(bits) : 31 - Math.clz32(bits & -bits);
}
function maskOf({ bits, count }: Comparison, control: number): bigint {
  if ((control & MOST_SIGNIFICANT) === 0) return BigInt(bits);
  return fromLanes(
    128 / count,
    Array.from({ length: count }, (_, place) => ((bits >> place) & 1 ? -1n : 0n)),
  );
}

/** Length of a text that ends with a zero, within the vector. */
const implicitLength = (characters: readonly number[]): number => {
  const end = characters.indexOf(0);
  return end < 0 ? characters.length : end;
};
const IMPLICIT = 0xffff_ffff;

/** Bits of the second result of the function: the index below, then flags. */
const RESULT = { CF: 8, ZF: 9, SF: 10, OF: 11 } as const;

/** Arguments: both texts, their lengths (or IMPLICIT), the control byte. Results: the mask; index and flags. */
const compareStrings: PureFunction = {
  name: 'CompareStrings',
  parameters: [128, 128, 32, 32, 32],
  results: [128, 32],
  evaluate: ([first = 0n, second = 0n, firstLength = 0n, secondLength = 0n, controlByte = 0n]) => {
    const control = Number(controlByte);
    const text = (vector: bigint, length: bigint): Text => {
      const characters = charactersOf(vector, control);
      return { characters, length: Number(length) === IMPLICIT ? implicitLength(characters) : Number(length) };
    };
    const [a, b] = [text(first, firstLength), text(second, secondLength)];
    const result = compare(a, b, control);
    const flag = (bit: number, holds: boolean) => (holds ? 1 << bit : 0);
    const flags =
      flag(RESULT.CF, result.bits !== 0) |
      flag(RESULT.ZF, b.length < result.count) |
      flag(RESULT.SF, a.length < result.count) |
      flag(RESULT.OF, (result.bits & 1) !== 0);
    return [maskOf(result, control), BigInt(indexOf(result, control) | flags)];
  },
};

/** The absolute value of a length in a register, at most that of a whole vector. */
function explicitLength(m: Semantics, register: number, width: 32 | 64, count: number): Expr<32> {
  const value: Expr<32 | 64> = m.gpr<32 | 64>(register, width);
  const magnitude = ite(value.msb(), value.neg(), value);
  const most = constant(value.width, count);
  return ite(magnitude.ltu(most), magnitude, most).truncate(32);
}

/** PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM — Packed Compare Explicit or Implicit Length Strings, Return Index or Mask. */
export const PCMPSTR =
  (lengths: 'implicit' | 32 | 64, returns: 'index' | 'mask') =>
  (m: Semantics, ...operands: Operand[]): void => {
    const [first, second] = operands as [Operand, Operand];
    const control = immediateOf(operands);
    const length = (register: number) =>
      lengths === 'implicit' ? constant(32, IMPLICIT) : explicitLength(m, register, lengths, countOf(control));
    // Memory need not be aligned.
    const texts = [m.readHalf(first, 0), m.readHalf(second, 0)];
    const args = [...texts, length(RAX), length(RDX), constant(32, control)];
    const [mask, result] = call(compareStrings, args) as [Vector, Expr<32>];
    if (returns === 'index') m.setGpr(RCX, result.and(constant(32, 0xff)));
    else {
      m.setVectorRegister(0, mask);
      if (m.sizes.vex) m.setVectorRegister(0, constant(128, 0), 1);
    }
    const clear = constant(1, 0);
    m.setFlags({
      CF: result.bit(RESULT.CF),
      ZF: result.bit(RESULT.ZF),
      SF: result.bit(RESULT.SF),
      OF: result.bit(RESULT.OF),
      AF: clear,
      PF: clear,
    });
  };

/** 11EDC6F41H with its bits in reverse order. */
const POLYNOMIAL = 0x82f6_3b78;
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
  return crc;
});
const addByte = (crc: number, byte: number): number => (table[(crc ^ byte) & 0xff] as number) ^ (crc >>> 8);

const crc32Of = (width: 8 | 16 | 32 | 64): PureFunction => ({
  name: 'CRC32',
  parameters: [32, width],
  results: [32],
  evaluate: ([crc = 0n, value = 0n]) => {
    let result = Number(crc);
    for (let at = 0; at < width; at += 8) result = addByte(result, Number((value >> BigInt(at)) & 0xffn)) >>> 0;
    return [BigInt(result)];
  },
  execute: (view, args, results) => {
    let crc = view.getUint32(args, true);
    for (let byte = 0; byte < width / 8; byte++) crc = addByte(crc, view.getUint8(args + 16 + byte));
    view.setUint32(results, crc, true);
  },
});
const crc32 = { 8: crc32Of(8), 16: crc32Of(16), 32: crc32Of(32), 64: crc32Of(64) } as const;

/** CRC32 — Accumulate CRC32 Value, of the polynomial 11EDC6F41H. */
export function CRC32(m: Semantics, dest: Operand, src: Operand): void {
  const width = src.width as 8 | 16 | 32 | 64;
  const accumulator = m.read({ ...dest, width: 32 });
  const [crc] = call(crc32[width], [accumulator, m.read(src)]) as [Expr<32>];
  m.write({ ...dest, width: 32 }, crc);
}
