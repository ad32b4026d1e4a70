/**
 * The operations on vectors of 128 bits, one row each: what an operation takes and gives, its definition, and how it is
 * printed. Names are those of the WebAssembly instructions that compute the same (WebAssembly Core Specification,
 * "Vector Instructions"); the executions look their opcodes up under them.
 */
import { floatOperations } from './float-operations.ts';
import { fromLanes, lanesOf, type VectorRow } from './lanes.ts';

export { fromLanes, lanesOf } from './lanes.ts';

type LaneBits = 8 | 16 | 32 | 64;
type Lanes = readonly bigint[];

const laneNames: Readonly<Record<LaneBits, string>> = { 8: 'Bytes', 16: 'Words', 32: 'Dwords', 64: 'Qwords' };

const signed = (bits: number, value: bigint): bigint => BigInt.asIntN(bits, value);
const clamp = (value: bigint, least: bigint, most: bigint): bigint =>
  value < least ? least : value > most ? most : value;
/** The nearest value that the lane can hold. */
const saturateSigned = (bits: number, value: bigint): bigint =>
  clamp(value, -(1n << BigInt(bits - 1)), (1n << BigInt(bits - 1)) - 1n);
const saturateUnsigned = (bits: number, value: bigint): bigint => clamp(value, 0n, (1n << BigInt(bits)) - 1n);

type LaneFunction = (a: bigint, b: bigint) => bigint;

/** Lane by lane, on unsigned lanes. */
function lanewise(bits: LaneBits, name: string, of: LaneFunction): VectorRow {
  return {
    arguments: [128, 128],
    result: 128,
    text: name + laneNames[bits],
    evaluate: ([a = 0n, b = 0n]) => {
      const right = lanesOf(bits, b);
      return fromLanes(
        bits,
        lanesOf(bits, a).map((lane, i) => of(lane, right[i] as bigint)),
      );
    },
  };
}
/** Lane by lane, on signed lanes. */
const signedLanewise = (bits: LaneBits, name: string, of: LaneFunction): VectorRow =>
  lanewise(bits, name, (a, b) => of(signed(bits, a), signed(bits, b)));
/** Lane by lane, all ones where the relation holds. */
const compare = (bits: LaneBits, name: string, holds: (a: bigint, b: bigint) => boolean): VectorRow =>
  lanewise(bits, name, (a, b) => (holds(a, b) ? -1n : 0n));
const signedCompare = (bits: LaneBits, name: string, holds: (a: bigint, b: bigint) => boolean): VectorRow =>
  signedLanewise(bits, name, (a, b) => (holds(a, b) ? -1n : 0n));

function unary(bits: LaneBits, name: string, of: (a: bigint) => bigint): VectorRow {
  return {
    arguments: [128],
    result: 128,
    text: name + laneNames[bits],
    evaluate: ([a = 0n]) => fromLanes(bits, lanesOf(bits, a).map(of)),
  };
}

/** Shifts of all lanes by a count modulo their width. */
function shift(bits: LaneBits, name: string, of: LaneFunction): VectorRow {
  return {
    arguments: [128, 32],
    result: 128,
    text: name + laneNames[bits],
    evaluate: ([a = 0n, count = 0n]) =>
      fromLanes(
        bits,
        lanesOf(bits, a).map((lane) => of(lane, count % BigInt(bits))),
      ),
  };
}

/** The lanes of a, then those of b, each narrowed to half its width. */
function narrow(bits: 16 | 32, name: string, saturate: (bits: number, value: bigint) => bigint): VectorRow {
  const half = (bits / 2) as LaneBits;
  return {
    arguments: [128, 128],
    result: 128,
    text: `${name}${laneNames[bits]}To${laneNames[half]}`,
    evaluate: ([a = 0n, b = 0n]) =>
      fromLanes(
        half,
        [...lanesOf(bits, a), ...lanesOf(bits, b)].map((lane) => saturate(half, signed(bits, lane))),
      ),
  };
}

const identity = (_bits: number, value: bigint): bigint => value;

/** The lower half of the lanes, each widened to twice its width. */
function extend(bits: 8 | 16 | 32, extension: 'Sign' | 'Zero'): VectorRow {
  const value = extension === 'Sign' ? signed : identity;
  return {
    arguments: [128],
    result: 128,
    text: `${extension}Extend${laneNames[bits]}`,
    evaluate: ([a = 0n]) =>
      fromLanes(
        bits * 2,
        halfOf('Low', lanesOf(bits, a)).map((lane) => value(bits, lane)),
      ),
  };
}
const halfOf = (half: 'Low' | 'High', lanes: Lanes): bigint[] =>
  half === 'Low' ? lanes.slice(0, lanes.length / 2) : lanes.slice(lanes.length / 2);

/** Full products of the lower or upper half of the lanes. */
function multiplyWide(bits: 16 | 32, half: 'Low' | 'High', extension: 'Sign' | 'Zero'): VectorRow {
  const wide = (bits * 2) as LaneBits;
  const value = extension === 'Sign' ? signed : identity;
  return {
    arguments: [128, 128],
    result: 128,
    text: `Multiply${extension === 'Sign' ? 'Signed' : 'Unsigned'}${half}${laneNames[bits]}`,
    evaluate: ([a = 0n, b = 0n]) => {
      const right = halfOf(half, lanesOf(bits, b));
      return fromLanes(
        wide,
        halfOf(half, lanesOf(bits, a)).map((lane, i) => value(bits, lane) * value(bits, right[i] as bigint)),
      );
    },
  };
}

/** Sums of neighbouring unsigned lanes, twice as wide. */
function addPairs(bits: 8 | 16): VectorRow {
  return {
    arguments: [128],
    result: 128,
    text: `AddPairsOfUnsigned${laneNames[bits]}`,
    evaluate: ([a = 0n]) => {
      const lanes = lanesOf(bits, a);
      return fromLanes(
        bits * 2,
        lanes.flatMap((lane, i) => (i % 2 === 0 ? [lane + (lanes[i + 1] as bigint)] : [])),
      );
    },
  };
}

const splat = (bits: LaneBits): VectorRow => ({
  arguments: [bits],
  result: 128,
  text: `Broadcast${laneNames[bits]}`,
  evaluate: ([value = 0n]) => fromLanes(bits, Array<bigint>(128 / bits).fill(value)),
});
/** The lane that the immediate names. */
const extract = (bits: LaneBits): VectorRow => ({
  arguments: [128],
  result: bits,
  text: laneNames[bits].slice(0, -1),
  evaluate: ([a = 0n], [lane = 0]) => a >> BigInt(bits * lane),
});
/** The vector with the lane replaced that the immediate names. */
const replace = (bits: LaneBits): VectorRow => ({
  arguments: [128, bits],
  result: 128,
  text: `Replace${laneNames[bits].slice(0, -1)}`,
  evaluate: ([a = 0n, value = 0n], [lane = 0]) => {
    const at = BigInt(bits * lane);
    return (a & ~(((1n << BigInt(bits)) - 1n) << at)) | (value << at);
  },
});
/** The sign bits of the lanes. */
const bitmask = (bits: LaneBits): VectorRow => ({
  arguments: [128],
  result: 32,
  text: `SignsOf${laneNames[bits]}`,
  evaluate: ([a = 0n]) =>
    lanesOf(bits, a).reduce((mask, lane, i) => mask | ((lane >> BigInt(bits - 1)) << BigInt(i)), 0n),
});

/** Bytes of a (0 to 15) and b (16 to 31) by the immediates. */
const shuffle: VectorRow = {
  arguments: [128, 128],
  result: 128,
  text: 'Shuffle',
  evaluate: ([a = 0n, b = 0n], indices) => {
    const bytes = [...lanesOf(8, a), ...lanesOf(8, b)];
    return fromLanes(
      8,
      indices.map((index) => bytes[index] as bigint),
    );
  },
};
/** Bytes of a by the bytes of b; 0 for an index beyond 15. */
const swizzle: VectorRow = {
  arguments: [128, 128],
  result: 128,
  text: 'Swizzle',
  evaluate: ([a = 0n, b = 0n]) => {
    const bytes = lanesOf(8, a);
    return fromLanes(
      8,
      lanesOf(8, b).map((index) => bytes[Number(index)] ?? 0n),
    );
  },
};
/** Bits of a where the mask has ones, else of b. */
const bitselect: VectorRow = {
  arguments: [128, 128, 128],
  result: 128,
  text: 'Select',
  evaluate: ([a = 0n, b = 0n, mask = 0n]) => (a & mask) | (b & ~mask),
};
const andNot: VectorRow = {
  arguments: [128, 128],
  result: 128,
  text: 'AndNot',
  evaluate: ([a = 0n, b = 0n]) => a & ~b,
};
/** Products of signed words, added in pairs. */
const dot: VectorRow = {
  arguments: [128, 128],
  result: 128,
  text: 'MultiplyAddPairsOfWords',
  evaluate: ([a = 0n, b = 0n]) => {
    const right = lanesOf(16, b);
    const products = lanesOf(16, a).map((lane, i) => signed(16, lane) * signed(16, right[i] as bigint));
    return fromLanes(
      32,
      products.flatMap((product, i) => (i % 2 === 0 ? [product + (products[i + 1] as bigint)] : [])),
    );
  },
};

const magnitude = (bits: number, a: bigint): bigint => (signed(bits, a) < 0n ? -signed(bits, a) : a);
const least: LaneFunction = (a, b) => (a < b ? a : b);
const most: LaneFunction = (a, b) => (a > b ? a : b);
const average: LaneFunction = (a, b) => (a + b + 1n) >> 1n;
const sum: LaneFunction = (a, b) => a + b;
const difference: LaneFunction = (a, b) => a - b;
const product: LaneFunction = (a, b) => a * b;
const left: LaneFunction = (a, count) => a << count;
const right: LaneFunction = (a, count) => a >> count;
const rightSigned =
  (bits: number): LaneFunction =>
  (a, count) =>
    signed(bits, a) >> count;

export const vectorOperations = {
  'i8x16.splat': splat(8),
  'i16x8.splat': splat(16),
  'i32x4.splat': splat(32),
  'i64x2.splat': splat(64),
  'i8x16.extract_lane_u': extract(8),
  'i16x8.extract_lane_u': extract(16),
  'i32x4.extract_lane': extract(32),
  'i64x2.extract_lane': extract(64),
  'i8x16.replace_lane': replace(8),
  'i16x8.replace_lane': replace(16),
  'i32x4.replace_lane': replace(32),
  'i64x2.replace_lane': replace(64),
  'i8x16.shuffle': shuffle,
  'i8x16.swizzle': swizzle,
  'v128.bitselect': bitselect,
  'v128.andnot': andNot,
  'i8x16.bitmask': bitmask(8),
  'i32x4.bitmask': bitmask(32),
  'i64x2.bitmask': bitmask(64),

  'i8x16.add': lanewise(8, 'Add', sum),
  'i16x8.add': lanewise(16, 'Add', sum),
  'i32x4.add': lanewise(32, 'Add', sum),
  'i64x2.add': lanewise(64, 'Add', sum),
  'i8x16.sub': lanewise(8, 'Subtract', difference),
  'i16x8.sub': lanewise(16, 'Subtract', difference),
  'i32x4.sub': lanewise(32, 'Subtract', difference),
  'i64x2.sub': lanewise(64, 'Subtract', difference),
  'i16x8.mul': lanewise(16, 'Multiply', product),
  'i32x4.mul': lanewise(32, 'Multiply', product),
  'i64x2.mul': lanewise(64, 'Multiply', product),
  'i8x16.add_sat_s': signedLanewise(8, 'AddSaturating', (a, b) => saturateSigned(8, a + b)),
  'i8x16.add_sat_u': lanewise(8, 'AddUnsignedSaturating', (a, b) => saturateUnsigned(8, a + b)),
  'i16x8.add_sat_s': signedLanewise(16, 'AddSaturating', (a, b) => saturateSigned(16, a + b)),
  'i16x8.add_sat_u': lanewise(16, 'AddUnsignedSaturating', (a, b) => saturateUnsigned(16, a + b)),
  'i8x16.sub_sat_s': signedLanewise(8, 'SubtractSaturating', (a, b) => saturateSigned(8, a - b)),
  'i8x16.sub_sat_u': lanewise(8, 'SubtractUnsignedSaturating', (a, b) => saturateUnsigned(8, a - b)),
  'i16x8.sub_sat_s': signedLanewise(16, 'SubtractSaturating', (a, b) => saturateSigned(16, a - b)),
  'i16x8.sub_sat_u': lanewise(16, 'SubtractUnsignedSaturating', (a, b) => saturateUnsigned(16, a - b)),
  'i16x8.q15mulr_sat_s': signedLanewise(16, 'MultiplyFractionsRounding', (a, b) =>
    saturateSigned(16, (a * b + 0x4000n) >> 15n),
  ),
  'i8x16.avgr_u': lanewise(8, 'Average', average),
  'i16x8.avgr_u': lanewise(16, 'Average', average),

  'i8x16.min_s': signedLanewise(8, 'Minimum', least),
  'i8x16.min_u': lanewise(8, 'UnsignedMinimum', least),
  'i8x16.max_s': signedLanewise(8, 'Maximum', most),
  'i8x16.max_u': lanewise(8, 'UnsignedMaximum', most),
  'i16x8.min_s': signedLanewise(16, 'Minimum', least),
  'i16x8.min_u': lanewise(16, 'UnsignedMinimum', least),
  'i16x8.max_s': signedLanewise(16, 'Maximum', most),
  'i16x8.max_u': lanewise(16, 'UnsignedMaximum', most),
  'i32x4.min_s': signedLanewise(32, 'Minimum', least),
  'i32x4.min_u': lanewise(32, 'UnsignedMinimum', least),
  'i32x4.max_s': signedLanewise(32, 'Maximum', most),
  'i32x4.max_u': lanewise(32, 'UnsignedMaximum', most),

  'i8x16.eq': compare(8, 'Equal', (a, b) => a === b),
  'i16x8.eq': compare(16, 'Equal', (a, b) => a === b),
  'i32x4.eq': compare(32, 'Equal', (a, b) => a === b),
  'i64x2.eq': compare(64, 'Equal', (a, b) => a === b),
  'i8x16.gt_s': signedCompare(8, 'Greater', (a, b) => a > b),
  'i16x8.gt_s': signedCompare(16, 'Greater', (a, b) => a > b),
  'i32x4.gt_s': signedCompare(32, 'Greater', (a, b) => a > b),
  'i64x2.gt_s': signedCompare(64, 'Greater', (a, b) => a > b),

  'i8x16.abs': unary(8, 'Absolute', (a) => magnitude(8, a)),
  'i16x8.abs': unary(16, 'Absolute', (a) => magnitude(16, a)),
  'i32x4.abs': unary(32, 'Absolute', (a) => magnitude(32, a)),
  'i8x16.neg': unary(8, 'Negate', (a) => -a),
  'i16x8.neg': unary(16, 'Negate', (a) => -a),
  'i32x4.neg': unary(32, 'Negate', (a) => -a),

  'i16x8.shl': shift(16, 'ShiftLeft', left),
  'i32x4.shl': shift(32, 'ShiftLeft', left),
  'i64x2.shl': shift(64, 'ShiftLeft', left),
  'i16x8.shr_u': shift(16, 'ShiftRight', right),
  'i32x4.shr_u': shift(32, 'ShiftRight', right),
  'i64x2.shr_u': shift(64, 'ShiftRight', right),
  'i16x8.shr_s': shift(16, 'ShiftRightSigned', rightSigned(16)),
  'i32x4.shr_s': shift(32, 'ShiftRightSigned', rightSigned(32)),

  'i8x16.narrow_i16x8_s': narrow(16, 'Saturate', saturateSigned),
  'i8x16.narrow_i16x8_u': narrow(16, 'SaturateUnsigned', saturateUnsigned),
  'i16x8.narrow_i32x4_s': narrow(32, 'Saturate', saturateSigned),
  'i16x8.narrow_i32x4_u': narrow(32, 'SaturateUnsigned', saturateUnsigned),
  'i16x8.extend_low_i8x16_s': extend(8, 'Sign'),
  'i16x8.extend_low_i8x16_u': extend(8, 'Zero'),
  'i32x4.extend_low_i16x8_s': extend(16, 'Sign'),
  'i32x4.extend_low_i16x8_u': extend(16, 'Zero'),
  'i64x2.extend_low_i32x4_s': extend(32, 'Sign'),
  'i64x2.extend_low_i32x4_u': extend(32, 'Zero'),
  'i32x4.extmul_low_i16x8_s': multiplyWide(16, 'Low', 'Sign'),
  'i32x4.extmul_high_i16x8_s': multiplyWide(16, 'High', 'Sign'),
  'i32x4.extmul_low_i16x8_u': multiplyWide(16, 'Low', 'Zero'),
  'i32x4.extmul_high_i16x8_u': multiplyWide(16, 'High', 'Zero'),
  'i64x2.extmul_low_i32x4_s': multiplyWide(32, 'Low', 'Sign'),
  'i64x2.extmul_low_i32x4_u': multiplyWide(32, 'Low', 'Zero'),
  'i16x8.extadd_pairwise_i8x16_u': addPairs(8),
  'i32x4.extadd_pairwise_i16x8_u': addPairs(16),
  'i32x4.dot_i16x8_s': dot,

  ...floatOperations,
} as const satisfies Readonly<Record<string, VectorRow>>;

export type VectorOp = keyof typeof vectorOperations;
