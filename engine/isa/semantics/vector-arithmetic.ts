/** Integer arithmetic on vectors that no single lane operation is (SDM volume 1, "Packed Arithmetic Instructions" and their successors). */
import { call, constant, vector } from '../../expr/expr.ts';
import { lanesOf as lanesOfValue } from '../../expr/lanes.ts';
import type { PureFunction } from '../../expr/pure-function.ts';
import {
  combineHalves,
  combineJoined,
  lanesOf,
  mapHalves,
  shuffleDwords,
  shuffleLanes,
  signMask,
  type Vector,
  zero,
} from './vector-operands.ts';

const EVEN_WORDS = [0, 2, 4, 6, 8, 10, 12, 14];
const ODD_WORDS = [1, 3, 5, 7, 9, 11, 13, 15];

/** The upper words of products of words. */
const multiplyHigh = (low: 'i32x4.extmul_low_i16x8_s' | 'i32x4.extmul_low_i16x8_u') =>
  combineHalves((a, b) => {
    const high = low === 'i32x4.extmul_low_i16x8_s' ? 'i32x4.extmul_high_i16x8_s' : 'i32x4.extmul_high_i16x8_u';
    return shuffleLanes(2, vector(low, [a, b]), vector(high, [a, b]), ODD_WORDS);
  });
/** PMULHW, PMULHUW — Multiply Packed Integers and Store High Result. */
export const PMULHW = multiplyHigh('i32x4.extmul_low_i16x8_s');
export const PMULHUW = multiplyHigh('i32x4.extmul_low_i16x8_u');

/** PMULHRSW — Packed Multiply High With Round and Scale. Only -1 times -1, as fractions, is not the saturated product. */
export const PMULHRSW = combineHalves((a, b) => {
  const least = lanesOf(16, 0x8000);
  const overflows = vector('i16x8.eq', [a, least]).and(vector('i16x8.eq', [b, least]));
  return vector('i16x8.q15mulr_sat_s', [a, b]).xor(overflows);
});

/** Products of the even doublewords. */
const multiplyEven = (op: 'i64x2.extmul_low_i32x4_s' | 'i64x2.extmul_low_i32x4_u') =>
  combineHalves((a, b) => vector(op, [shuffleDwords(a, [0, 2, 0, 2]), shuffleDwords(b, [0, 2, 0, 2])]));
/** PMULUDQ, PMULDQ — Multiply Packed Doubleword Integers. */
export const PMULUDQ = multiplyEven('i64x2.extmul_low_i32x4_u');
export const PMULDQ = multiplyEven('i64x2.extmul_low_i32x4_s');

/** PMADDUBSW — Multiply and Add Packed Signed and Unsigned Bytes: unsigned ones of SRC1, signed ones of SRC2. */
export const PMADDUBSW = combineHalves((a, b) => {
  const eight = countOf(8);
  const low = vector('i16x8.mul', [
    a.and(lanesOf(16, 0xff)),
    vector('i16x8.shr_s', [vector('i16x8.shl', [b, eight]), eight]),
  ]);
  const high = vector('i16x8.mul', [vector('i16x8.shr_u', [a, eight]), vector('i16x8.shr_s', [b, eight])]);
  return vector('i16x8.add_sat_s', [low, high]);
});

/** The distance of unsigned bytes. */
const byteDistance = (a: Vector, b: Vector): Vector =>
  vector('i8x16.sub_sat_u', [a, b]).or(vector('i8x16.sub_sat_u', [b, a]));

/** PSADBW — Compute Sum of Absolute Differences: of eight bytes each, as quadwords. */
export const PSADBW = combineHalves((a, b) => {
  const words = vector('i16x8.extadd_pairwise_i8x16_u', [byteDistance(a, b)]);
  const dwords = vector('i32x4.extadd_pairwise_i16x8_u', [words]);
  const low = dwords.and(lanesOf(64, 0xffff_ffff));
  return vector('i64x2.add', [low, vector('i64x2.shr_u', [dwords, countOf(32)])]);
});

/** MPSADBW — Compute Multiple Packed Sums of Absolute Difference: of four bytes of SRC2 and each four of SRC1 from one on. */
export const MPSADBW = combineHalves((a, b, { half, immediate }) => {
  const control = immediate >> (3 * half);
  const [from, block] = [control & 4, (control & 3) * 4];
  const sums = [0, 1, 2, 3].map((byte) => {
    const moving = bytesAsWords(a, (word) => from + word + byte);
    const fixed = bytesAsWords(b, () => block + byte);
    return vector('i16x8.abs', [vector('i16x8.sub', [moving, fixed])]);
  });
  return sums.reduce((sum, distance) => vector('i16x8.add', [sum, distance]));
});
const ZERO_BYTE = 16;
const bytesAsWords = (a: Vector, byteOf: (word: number) => number): Vector =>
  vector(
    'i8x16.shuffle',
    [a, zero],
    EVEN_WORDS.flatMap((_, word) => [byteOf(word), ZERO_BYTE]),
  );

type LaneBits = 8 | 16 | 32;
const negate = { 8: 'i8x16.neg', 16: 'i16x8.neg', 32: 'i32x4.neg' } as const;
const equal = { 8: 'i8x16.eq', 16: 'i16x8.eq', 32: 'i32x4.eq' } as const;
const absolute = { 8: 'i8x16.abs', 16: 'i16x8.abs', 32: 'i32x4.abs' } as const;

/** PSIGNB, PSIGNW, PSIGND — Packed Sign. SRC1 negated, kept or zeroed by the sign of SRC2. */
export const PSIGN = (bits: LaneBits) =>
  combineHalves((a, b) => {
    const signed = vector('v128.bitselect', [vector(negate[bits], [a]), a, signMask(bits, b)]);
    return vector('v128.andnot', [signed, vector(equal[bits], [b, zero])]);
  });
/** PABSB, PABSW, PABSD — Packed Absolute Value. */
export const PABS = (bits: LaneBits) => mapHalves((a) => vector(absolute[bits], [a]));

type HorizontalOp =
  | 'i16x8.add' | 'i32x4.add' | 'i16x8.sub' | 'i32x4.sub' | 'i16x8.add_sat_s' | 'i16x8.sub_sat_s'; // biome-ignore format: one list
/** PHADDW, PHSUBD … — Packed Horizontal Add or Subtract: of neighbouring lanes of SRC1, then of SRC2. */
export const horizontal = (op: HorizontalOp) =>
  combineJoined((a, b) => {
    const [bytes, even, odd] = op.startsWith('i16')
      ? ([2, EVEN_WORDS, ODD_WORDS] as const)
      : ([4, [0, 2, 4, 6], [1, 3, 5, 7]] as const);
    return vector(op, [shuffleLanes(bytes, a, b, even), shuffleLanes(bytes, a, b, odd)]);
  });

const countOf = (count: number) => constant(32, count);

/** The least word, and where it is first found. */
const leastWord: PureFunction = {
  name: 'LeastWordAndIndex',
  parameters: [128],
  results: [128],
  evaluate: ([a = 0n]) => {
    const words = lanesOfValue(16, a);
    const least = words.reduce((x, y) => (y < x ? y : x));
    return [least | (BigInt(words.indexOf(least)) << 16n)];
  },
  execute: (view, from, to) => {
    let [least, index] = [0x1_0000, 0];
    for (let word = 0; word < 8; word++) {
      const value = view.getUint16(from + 2 * word, true);
      if (value < least) [least, index] = [value, word];
    }
    view.setUint32(to, least | (index << 16), true);
    for (let at = 4; at < 16; at += 4) view.setUint32(to + at, 0, true);
  },
};
/** PHMINPOSUW — Packed Horizontal Word Minimum: the least unsigned word, and its index in bits 18:16. */
export const PHMINPOSUW = mapHalves((a) => call(leastWord, [a])[0] as Vector);
