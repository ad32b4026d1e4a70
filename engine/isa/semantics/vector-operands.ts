/**
 * How vector instructions read and write their operands. Legacy encodings have DEST = SRC1, leave what lies above bit 127 of a
 * register and want memory of 128 bits aligned; VEX encodings name DEST apart, zero what is above and want no alignment
 * (SDM volume 2, "Exceptions Classification of Instructions"). MM registers are taken as the lower halves of vectors.
 */
import { concatenate, constant, type Expr, vector } from '../../expr/expr.ts';
import type { VectorOp } from '../../expr/vector-operations.ts';
import type { Operand } from '../operand.ts';
import type { Semantics } from '../semantics-builder.ts';

export type Vector = Expr<128>;

/** DEST, SRC1 and what follows. */
export function splitOperands(m: Semantics, operands: readonly Operand[]): [dest: Operand, ...sources: Operand[]] {
  const [dest, ...rest] = operands;
  if (!dest) throw new Error('a vector instruction without operands');
  return m.sizes.vex ? [dest, ...rest] : [dest, dest, ...rest];
}

/** The value of the immediate, which comes last. */
export function immediateOf(operands: readonly Operand[]): number {
  const value = operands[operands.length - 1]?.constant;
  if (value === undefined) throw new Error('a vector instruction without the immediate it should have');
  return value;
}

const isNarrow = ({ width }: Operand): boolean => width < 128;

/** The halves of a source of 256, 128 or (of MMX) fewer bits, which are zero-extended. */
export const readVector = (m: Semantics, source: Operand): Vector[] =>
  isNarrow(source) ? [m.read(source).zeroExtend(128)] : m.readHalves(source, m.sizes.vex ? undefined : 16);

/** Sets a vector register, or an MM register, whose sign and exponent, as the x87 FPU sees it, become all ones. */
export function writeVector(m: Semantics, dest: Operand, values: readonly Vector[]): void {
  if (dest.file !== 'mmx') return m.writeHalves(dest, values);
  m.writeHalves(dest, [concatenate(lowQword(values[0] as Vector), constant(64, 0xffff))]);
}

/** The lowest `width` bits of a register, or memory of that size. */
export const readLow = <W extends 8 | 16 | 32 | 64 | 128>(m: Semantics, source: Operand, width: W): Expr<W> =>
  m.read({ ...source, width });

export const zero = constant(128, 0);
/** The same value in all lanes. */
export const lanesOf = (bits: number, value: number | bigint): Vector => {
  const lane = BigInt.asUintN(bits, BigInt(value));
  let all = 0n;
  for (let at = 0; at < 128; at += bits) all |= lane << BigInt(at);
  return constant(128, all);
};

export const lowQword = (of: Vector): Expr<64> => of.truncate(64);
export const highQword = (of: Vector): Expr<64> => vector<64>('i64x2.extract_lane', [of], [1]);

/** One operand, half by half. */
export const mapHalves =
  (of: (a: Vector) => Vector) =>
  (m: Semantics, ...operands: Operand[]): void => {
    const [dest, src] = operands as [Operand, Operand];
    writeVector(m, dest, readVector(m, src).map(of));
  };
/** One operand and an immediate, half by half. */
export const mapHalvesBy =
  (of: (a: Vector, immediate: number) => Vector) =>
  (m: Semantics, ...operands: Operand[]): void => {
    const immediate = immediateOf(operands);
    mapHalves((half) => of(half, immediate))(m, ...operands);
  };

/** What a combination is told besides its operands. */
export interface Place {
  /** The operands are MM registers: only the lower 64 bits count. */
  readonly isMmx: boolean;
  readonly half: 0 | 1;
  /** 0 without. */
  readonly immediate: number;
}

/** Two operands, combined half by half. */
export const combineHalves =
  (of: (a: Vector, b: Vector, place: Place) => Vector) =>
  (m: Semantics, ...operands: Operand[]): void => {
    const [dest, first, second] = splitOperands(m, operands) as [Operand, Operand, Operand];
    const a = readVector(m, first);
    const b = readVector(m, second);
    const immediate = operands[operands.length - 1]?.constant ?? 0;
    const isMmx = dest.file === 'mmx';
    writeVector(
      m,
      dest,
      a.map((half, i) => of(half, b[i] as Vector, { isMmx, half: i as 0 | 1, immediate })),
    );
  };

/** An operation of two vectors, lane by lane. */
export const lanewise = (op: VectorOp) => combineHalves((a, b) => vector(op, [a, b]));

/** Combinations that take the lanes of a and then those of b. */
export const combineJoined = (of: (a: Vector, b: Vector) => Vector) =>
  combineHalves((a, b, { isMmx }) => (isMmx ? of(concatenate(lowQword(a), lowQword(b)), zero) : of(a, b)));

/** Lanes of `bytes` bytes of a, and of b above them, in the order given. */
export const shuffleLanes = (bytes: number, a: Vector, b: Vector, lanes: readonly number[]): Vector =>
  vector(
    'i8x16.shuffle',
    [a, b],
    lanes.flatMap((lane) => Array.from({ length: bytes }, (_, byte) => lane * bytes + byte)),
  );
export const shuffleDwords = (a: Vector, lanes: readonly number[]): Vector => shuffleLanes(4, a, a, lanes);

/** All ones in the lanes whose sign bit is set. */
export const signMask = (bits: 8 | 16 | 32 | 64, a: Vector): Vector =>
  vector(({ 8: 'i8x16.gt_s', 16: 'i16x8.gt_s', 32: 'i32x4.gt_s', 64: 'i64x2.gt_s' } as const)[bits], [zero, a]);

/** Bits of a where the mask has ones, else of b. */
export const select = (mask: Vector, a: Vector, b: Vector): Vector => vector('v128.bitselect', [a, b, mask]);
