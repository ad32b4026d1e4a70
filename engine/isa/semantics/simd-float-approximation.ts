/**
 * Approximations of single precision (SDM volume 1, "SSE Packed Arithmetic Instructions"). The manual bounds the relative error
 * by 1.5 × 2^-12, and processors differ within it. Ringside gives the quotient rounded to nearest, with the lower 11 bits of
 * its significand cleared, so that the error is below 2^-12 + 2^-22. MXCSR does not matter, and no exceptions are met.
 */
import { constant, type Expr, vector } from '../../expr/expr.ts';
import type { Operand } from '../operand.ts';
import type { Semantics } from '../semantics-builder.ts';
import { replaceLow } from './vector-moves.ts';
import { mapHalves, readLow, splitOperands } from './vector-operands.ts';

type Approximation = (a: Expr<128>) => Expr<128>;

const everyLane = (bits: number): Expr<128> => {
  const pair = (BigInt(bits) << 32n) | BigInt(bits);
  return constant(128, (pair << 64n) | pair);
};
const SIGN = everyLane(0x8000_0000);
const MAGNITUDE = everyLane(0x7fff_ffff);
const KEPT = everyLane(0xffff_f800);
const QUIET = everyLane(0x0040_0000);
const SMALLEST_NORMAL = everyLane(0x0080_0000);
const ONE = everyLane(0x3f80_0000);
const DEFAULT_NAN = everyLane(0xffc0_0000);

const select = (a: Expr<128>, b: Expr<128>, mask: Expr<128>): Expr<128> => vector('v128.bitselect', [a, b, mask]);

/** Denormals become zeros of their sign. */
const flushed = (a: Expr<128>): Expr<128> =>
  select(a.and(SIGN), a, vector('f32x4.lt', [a.and(MAGNITUDE), SMALLEST_NORMAL]));
/** What is not a NaN; of a NaN, the same made quiet. */
const orQuiet = (a: Expr<128>, value: Expr<128>): Expr<128> => select(a.or(QUIET), value, vector('f32x4.ne', [a, a]));

const reciprocal: Approximation = (a) => orQuiet(a, flushed(vector('f32x4.div', [ONE, flushed(a)]).and(KEPT)));

const reciprocalSquareRoot: Approximation = (a) => {
  const radicand = flushed(a);
  const value = vector('f32x4.div', [ONE, vector('f32x4.sqrt', [radicand])]).and(KEPT);
  const negative = vector('f32x4.lt', [radicand, constant(128, 0)]);
  return orQuiet(a, select(DEFAULT_NAN, value, negative));
};

const scalar =
  (of: Approximation) =>
  (m: Semantics, ...operands: Operand[]): void => {
    const [dest, first, second] = splitOperands(m, operands) as [Operand, Operand, Operand];
    const lane = of(readLow(m, second, 32).zeroExtend(128)).truncate(32);
    m.writeHalves(dest, [replaceLow(m.readHalf(first, 0), lane)]);
  };

/** RCPPS, RCPSS — Reciprocal Approximation. Denormals count as zeros, tiny results are zeros. */
export const RCPPS = mapHalves(reciprocal);
export const RCPSS = scalar(reciprocal);
/** RSQRTPS, RSQRTSS — Approximation of the Reciprocal of the Square Root. */
export const RSQRTPS = mapHalves(reciprocalSquareRoot);
export const RSQRTSS = scalar(reciprocalSquareRoot);
