/** Rearranging lanes: unpacking, packing, shuffling, blending, inserting and extracting, extending. */
import { type Expr, vector } from '../../expr/expr.ts';
import type { VectorOp } from '../../expr/vector-operations.ts';
import type { Operand } from '../operand.ts';
import type { Semantics } from '../semantics-builder.ts';
import {
  combineHalves,
  combineJoined,
  immediateOf,
  lanesOf,
  mapHalvesBy,
  readLow,
  readVector,
  select,
  shuffleDwords,
  shuffleLanes,
  signMask,
  splitOperands,
  type Vector,
  writeVector,
  zero,
} from './vector-operands.ts';

type LaneBits = 8 | 16 | 32 | 64;

/** PUNPCKLBW, UNPCKHPS … — Unpack. Lanes of the lower, or upper, half of SRC1 and SRC2 in turn. */
export const unpack = (bits: LaneBits, half: 'low' | 'high') =>
  combineHalves((a, b, { isMmx }) => {
    const count = 128 / bits;
    const start = half === 'low' ? 0 : isMmx ? count / 4 : count / 2;
    const lanes = Array.from({ length: count }, (_, i) => ((start + (i >> 1)) % count) + (i % 2) * count);
    return shuffleLanes(bits / 8, a, b, lanes);
  });

/** PACKSSWB, PACKUSDW … — Pack With Saturation. */
export const pack = (op: VectorOp) => combineJoined((a, b) => vector(op, [a, b]));

/** Lane numbers of two bits each. */
const twoBits = (immediate: number): number[] => [0, 2, 4, 6].map((at) => (immediate >> at) & 3);

/** PSHUFD, VPERMILPS — Shuffle Packed Doublewords. */
export const PSHUFD = mapHalvesBy((a, immediate) => shuffleDwords(a, twoBits(immediate)));
/** PSHUFLW, PSHUFW — Shuffle Packed Low Words. */
export const PSHUFLW = mapHalvesBy((a, immediate) => shuffleLanes(2, a, a, [...twoBits(immediate), 4, 5, 6, 7]));
/** PSHUFHW — Shuffle Packed High Words. */
export const PSHUFHW = mapHalvesBy((a, immediate) =>
  shuffleLanes(2, a, a, [0, 1, 2, 3, ...twoBits(immediate).map((lane) => lane + 4)]),
);
/** SHUFPS — Packed Interleave Shuffle of Single Precision Values: two of SRC1, two of SRC2. */
export const SHUFPS = combineHalves((a, b, { immediate }) => {
  const [w, x, y, z] = twoBits(immediate) as [number, number, number, number];
  return shuffleLanes(4, a, b, [w, x, y + 4, z + 4]);
});
/** SHUFPD — Packed Interleave Shuffle of Double Precision Values: one of SRC1, one of SRC2. */
export const SHUFPD = combineHalves((a, b, { immediate, half }) => {
  const choice = immediate >> (2 * half);
  return shuffleLanes(8, a, b, [choice & 1, 2 + ((choice >> 1) & 1)]);
});

/** PSHUFB — Packed Shuffle Bytes of SRC1 by SRC2; zero where its sign bit is set. */
export const PSHUFB = combineHalves((a, b, { isMmx }) =>
  vector('i8x16.swizzle', [a, b.and(lanesOf(8, isMmx ? 0x87 : 0x8f))]),
);

/** Sixteen bytes from one on of those of low, those of high and zeros. */
function bytesFrom(start: number, low: Vector, high: Vector): Vector {
  if (start >= 32) return zero;
  if (start >= 16) return bytesFrom(start - 16, high, zero);
  return shuffleLanes(
    1,
    low,
    high,
    Array.from({ length: 16 }, (_, i) => start + i),
  );
}
/** PALIGNR — Packed Align Right. SRC1:SRC2, shifted right by bytes. */
export const PALIGNR = combineHalves((a, b, { isMmx, immediate }) => {
  if (!isMmx) return bytesFrom(immediate, b, a);
  return bytesFrom(immediate, shuffleLanes(8, b, a, [0, 2]), zero);
});
/** PSLLDQ, PSRLDQ — Shift Double Quadword Logical, by bytes. */
export const PSLLDQ = shiftBytes((a, bytes) => bytesFrom(16 - Math.min(bytes, 16), zero, a));
export const PSRLDQ = shiftBytes((a, bytes) => bytesFrom(Math.min(bytes, 16), a, zero));

function shiftBytes(of: (a: Vector, bytes: number) => Vector) {
  return (m: Semantics, ...operands: Operand[]): void => {
    const [dest, src] = splitOperands(m, operands) as [Operand, Operand];
    const bytes = immediateOf(operands);
    writeVector(
      m,
      dest,
      readVector(m, src).map((half) => of(half, bytes)),
    );
  };
}

/** BLENDPS, BLENDPD, PBLENDW, VPBLENDD — Blend by Immediate: lanes of SRC2 where its bits are ones; words repeat it. */
export const blend = (bits: 16 | 32 | 64) =>
  combineHalves((a, b, { half, immediate }) => {
    const count = 128 / bits;
    const control = bits === 16 ? immediate : immediate >> (count * half);
    const lanes = Array.from({ length: count }, (_, lane) => lane + ((control >> lane) & 1) * count);
    return shuffleLanes(bits / 8, a, b, lanes);
  });

/** BLENDVPS, BLENDVPD, PBLENDVB — Variable Blend: lanes of SRC2 where the sign bit of the mask is set. */
export const blendVariable =
  (bits: 8 | 32 | 64) =>
  (m: Semantics, ...operands: Operand[]): void => {
    const [dest, first, second, third] = splitOperands(m, operands) as [Operand, Operand, Operand, Operand | undefined];
    const masks = third ? m.readHalves(third) : [m.vectorRegister(0)];
    const [a, b] = [readVector(m, first), readVector(m, second)];
    writeVector(
      m,
      dest,
      a.map((half, i) => select(signMask(bits, masks[i] as Vector), b[i] as Vector, half)),
    );
  };

const replaceOp = { 8: 'i8x16.replace_lane', 16: 'i16x8.replace_lane', 32: 'i32x4.replace_lane', 64: 'i64x2.replace_lane' } as const; // biome-ignore format: by width
const extractOp = { 8: 'i8x16.extract_lane_u', 16: 'i16x8.extract_lane_u', 32: 'i32x4.extract_lane', 64: 'i64x2.extract_lane' } as const; // biome-ignore format: by width

/** PINSRB, PINSRW, PINSRD, PINSRQ — Insert. The lane of DEST that the immediate names. */
export const insert =
  (bits: LaneBits) =>
  (m: Semantics, ...operands: Operand[]): void => {
    const [dest, first, second] = splitOperands(m, operands) as [Operand, Operand, Operand];
    const count = (dest.file === 'mmx' ? 64 : 128) / bits;
    const lane = immediateOf(operands) & (count - 1);
    const [a] = readVector(m, first) as [Vector];
    writeVector(m, dest, [vector(replaceOp[bits], [a, readLow(m, second, bits)], [lane])]);
  };
/** PEXTRB, PEXTRW, PEXTRD, PEXTRQ, EXTRACTPS — Extract. The lane of SRC, zero-extended in a register. */
export const extract =
  (bits: LaneBits) =>
  (m: Semantics, ...operands: Operand[]): void => {
    const [dest, src] = operands as [Operand, Operand];
    const count = (src.file === 'mmx' ? 64 : 128) / bits;
    const [a] = readVector(m, src) as [Vector];
    const value: Expr<LaneBits> = vector<LaneBits>(extractOp[bits], [a], [immediateOf(operands) & (count - 1)]);
    if (dest.kind === 'memory' || bits >= 32) m.write({ ...dest, width: bits }, value);
    else m.write({ ...dest, width: 32 }, value.zeroExtend(32));
  };

/** INSERTPS — Insert Scalar Single Precision Value: a lane of SRC2 into one of SRC1; the immediate's lowest bits zero lanes. */
export function INSERTPS(m: Semantics, ...operands: Operand[]): void {
  const [dest, first, second] = splitOperands(m, operands) as [Operand, Operand, Operand];
  const immediate = immediateOf(operands);
  const value =
    second.kind === 'memory'
      ? readLow(m, second, 32)
      : vector<32>('i32x4.extract_lane', [m.readHalf(second, 0)], [immediate >> 6]);
  const inserted = vector('i32x4.replace_lane', [m.readHalf(first, 0), value], [(immediate >> 4) & 3]);
  const lanes = [0, 1, 2, 3].map((lane) => ((immediate >> lane) & 1 ? 4 : lane));
  writeVector(m, dest, [shuffleLanes(4, inserted, zero, lanes)]);
}

type Extension = 's' | 'u';
const extendOp = (from: 8 | 16 | 32, extension: Extension): VectorOp =>
  (
    ({
      8: { s: 'i16x8.extend_low_i8x16_s', u: 'i16x8.extend_low_i8x16_u' },
      16: { s: 'i32x4.extend_low_i16x8_s', u: 'i32x4.extend_low_i16x8_u' },
      32: { s: 'i64x2.extend_low_i32x4_s', u: 'i64x2.extend_low_i32x4_u' },
    }) as const
  )[from][extension];

/** The lowest lanes, widened step by step. */
function widen(a: Vector, from: LaneBits, to: LaneBits, extension: Extension): Vector {
  if (from === to) return a;
  return widen(vector(extendOp(from as 8, extension), [a]), (from * 2) as LaneBits, to, extension);
}
/** PMOVSXBW, PMOVZXDQ … — Packed Move With Sign or Zero Extend. */
export const extend =
  (from: 8 | 16 | 32, to: LaneBits, extension: Extension) =>
  (m: Semantics, dest: Operand, src: Operand): void => {
    const halves = dest.halves ?? 1;
    const bits = ((128 * halves * from) / to) as 16 | 32 | 64 | 128;
    const value = readLow(m, src, bits);
    const whole = bits === 128 ? (value as Vector) : value.zeroExtend(128);
    // The upper half of the result comes from the lanes above those of the lower one.
    const shift = (128 * from) / to / 8;
    const parts = halves === 2 ? [whole, bytesFrom(shift, whole, zero)] : [whole];
    writeVector(
      m,
      dest,
      parts.map((part) => widen(part, from, to, extension)),
    );
  };

/** MOVQ2DQ, MOVDQ2Q — Move Quadword Between MM and XMM Registers. */
export function MOVQ2DQ(m: Semantics, dest: Operand, src: Operand): void {
  writeVector(m, dest, [readLow(m, src, 64).zeroExtend(128)]);
}
