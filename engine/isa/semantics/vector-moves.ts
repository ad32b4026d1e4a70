/** Moves to, from and between vector registers (SDM volume 1, "SSE Data Transfer Instructions" and their successors). */
import { concatenate, constant, type Expr, vector } from '../../expr/expr.ts';
import type { Operand } from '../operand.ts';
import type { Semantics } from '../semantics-builder.ts';
import {
  highQword,
  lowQword,
  mapHalves,
  readLow,
  readVector,
  shuffleDwords,
  splitOperands,
  writeVector,
} from './vector-operands.ts';

/** MOVAPS, MOVAPD, MOVDQA, MOVNTPS, MOVNTDQ … — Move Aligned. DEST := SRC. */
export function MOVAPS(m: Semantics, dest: Operand, src: Operand): void {
  const alignment = dest.halves === 2 || src.halves === 2 ? 32 : 16;
  m.writeHalves(dest, m.readHalves(src, alignment), alignment);
}

/** MOVUPS, MOVUPD, MOVDQU, LDDQU — Move Unaligned. DEST := SRC. */
export function MOVUPS(m: Semantics, dest: Operand, src: Operand): void {
  m.writeHalves(dest, m.readHalves(src));
}

/** MOVD, MOVQ — Move Doubleword or Quadword. A vector register takes it zero-extended, and gives its lowest bits. */
const moveScalar =
  <W extends 32 | 64>(width: W) =>
  (m: Semantics, dest: Operand, src: Operand): void => {
    const value = readLow(m, src, width);
    if (dest.file !== undefined) writeVector(m, dest, [value.zeroExtend(128)]);
    else m.write({ ...dest, width }, value);
  };
export const MOVD = moveScalar(32);
export const MOVQ = moveScalar(64);

/** MOVSS, MOVSD — Move Scalar. From memory zero-extended; from a register, DEST keeps (VEX: SRC1 gives) the other lanes. */
const moveLane =
  <W extends 32 | 64>(width: W) =>
  (m: Semantics, ...operands: Operand[]): void => {
    const [dest, src] = operands as [Operand, Operand];
    if (dest.kind === 'memory' || src.kind === 'memory') return moveScalar(width)(m, dest, src);
    const [, first, second] = splitOperands(m, operands) as [Operand, Operand, Operand];
    m.writeHalves(dest, [replaceLow(m.readHalf(first, 0), readLow(m, second, width))]);
  };
export const MOVSS = moveLane(32);
export const MOVSD = moveLane(64);

/** The vector with its lowest lane replaced. */
export const replaceLow = (of: Expr<128>, lane: Expr): Expr<128> =>
  vector(lane.width === 32 ? 'i32x4.replace_lane' : 'i64x2.replace_lane', [of, lane], [0]);

/** MOVLPS, MOVLPD — Move Low Packed Values. The lower quadword of DEST, or memory; the upper one is kept. */
export function MOVLPS(m: Semantics, ...operands: Operand[]): void {
  const [dest, first, second] = splitOperands(m, operands) as [Operand, Operand, Operand | undefined];
  if (dest.kind === 'memory') return m.write({ ...dest, width: 64 }, readLow(m, operands[1] as Operand, 64));
  m.writeHalves(dest, [replaceLow(m.readHalf(first, 0), readLow(m, second as Operand, 64))]);
}

/** MOVHPS, MOVHPD — Move High Packed Values. The upper quadword of DEST, or memory; the lower one is kept. */
export function MOVHPS(m: Semantics, ...operands: Operand[]): void {
  const [dest, first, second] = splitOperands(m, operands) as [Operand, Operand, Operand | undefined];
  if (dest.kind === 'memory') {
    return m.write({ ...dest, width: 64 }, highQword(m.readHalf(operands[1] as Operand, 0)));
  }
  m.writeHalves(dest, [concatenate(lowQword(m.readHalf(first, 0)), readLow(m, second as Operand, 64))]);
}

/** MOVLHPS — Move Packed Values Low to High. The upper quadword of DEST := the lower one of SRC. */
export function MOVLHPS(m: Semantics, ...operands: Operand[]): void {
  const [dest, first, second] = splitOperands(m, operands) as [Operand, Operand, Operand];
  m.writeHalves(dest, [concatenate(lowQword(m.readHalf(first, 0)), lowQword(m.readHalf(second, 0)))]);
}

/** MOVHLPS — Move Packed Values High to Low. The lower quadword of DEST := the upper one of SRC. */
export function MOVHLPS(m: Semantics, ...operands: Operand[]): void {
  const [dest, first, second] = splitOperands(m, operands) as [Operand, Operand, Operand];
  m.writeHalves(dest, [replaceLow(m.readHalf(first, 0), highQword(m.readHalf(second, 0)))]);
}

/** MOVMSKPS, MOVMSKPD, PMOVMSKB — Extract Sign Mask. DEST := the sign bits of SRC's lanes, zero-extended. */
export const MOVMSK =
  (bits: 8 | 32 | 64) =>
  (m: Semantics, dest: Operand, src: Operand): void => {
    const name = ({ 8: 'i8x16.bitmask', 32: 'i32x4.bitmask', 64: 'i64x2.bitmask' } as const)[bits];
    const [low, high] = readVector(m, src).map((half) => vector<32>(name, [half])) as [Expr<32>, Expr<32> | undefined];
    m.write({ ...dest, width: 32 }, high ? low.or(high.shl(constant(32, 128 / bits))) : low);
  };

/** MOVSLDUP, MOVSHDUP — Replicate Single Precision Values: those of even, or odd, index. */
export const MOVSLDUP = mapHalves((half) => shuffleDwords(half, [0, 0, 2, 2]));
export const MOVSHDUP = mapHalves((half) => shuffleDwords(half, [1, 1, 3, 3]));

/** MOVDDUP — Replicate Double Precision Values: those of even index. */
export function MOVDDUP(m: Semantics, dest: Operand, src: Operand): void {
  if (src.halves !== 2) return m.writeHalves(dest, [vector('i64x2.splat', [readLow(m, src, 64)])]);
  m.writeHalves(
    dest,
    m.readHalves(src).map((half) => vector('i64x2.splat', [lowQword(half)])),
  );
}
