/** Arithmetic of SIMD floating-point numbers (SDM volume 1, "SSE Packed Arithmetic Instructions" and their successors). */
import { constant, type Expr } from '../../expr/expr.ts';
import { add, divide, multiply, squareRoot, subtract } from '../../float/arithmetic.ts';
import { maximum, minimum } from '../../float/compare.ts';
import type { FloatEnvironment, FloatResult } from '../../float/environment.ts';
import type { FloatFormat } from '../../float/format.ts';
import { quick } from '../floating-point/quick-arithmetic.ts';
import {
  difference,
  greatest,
  least,
  product,
  quotient,
  root,
  type ShortcutOf,
  sum,
} from '../floating-point/shortcuts.ts';
import type { Operand } from '../operand.ts';
import type { Semantics } from '../semantics-builder.ts';
import { callArithmetic, double, type LaneArithmetic, type LaneType, packed, scalar, single } from './simd-float.ts';
import { readVector, shuffleLanes, splitOperands } from './vector-operands.ts';

type Binary = (format: FloatFormat, environment: FloatEnvironment, a: bigint, b: bigint) => FloatResult;

const binary = (
  name: string,
  operation: Binary,
  shortcut: ShortcutOf,
  quick?: LaneArithmetic['quick'],
): LaneArithmetic => ({
  name,
  shortcut,
  ...(quick ? { quick } : {}),
  operands: 2,
  of:
    (format) =>
    (environment, [a = 0n, b = 0n]) =>
      operation(format, environment, a, b),
});
const addition = binary('Add', add, sum, (bits) => quick.add[bits]);
const subtraction = binary('Subtract', subtract, difference, (bits) => quick.subtract[bits]);
const multiplication = binary('Multiply', multiply, product, (bits) => quick.multiply[bits]);
const division = binary('Divide', divide, quotient, (bits) => quick.divide[bits]);
const minima = binary('Minimum', minimum, least);
const maxima = binary('Maximum', maximum, greatest);
const squareRoots: LaneArithmetic = {
  shortcut: root,
  quick: (bits) => quick.squareRoot[bits],
  name: 'SquareRoot',
  operands: 1,
  of:
    (format) =>
    (environment, [a = 0n]) =>
      squareRoot(format, environment, a),
};
/** ADDSUBPS: the even lanes are subtracted, the odd ones added. */
const alternation: LaneArithmetic = {
  name: 'AlternatelySubtractAndAdd',
  quick: (bits, lane) => (lane % 2 === 0 ? quick.subtract : quick.add)[bits],
  operands: 2,
  of:
    (format) =>
    (environment, [a = 0n, b = 0n], lane) =>
      (lane % 2 === 0 ? subtract : add)(format, environment, a, b),
};

/** ADDPS, ADDPD, ADDSS, ADDSD — Add. DEST := SRC1 + SRC2. */
export const ADDPS = packed(single, addition);
export const ADDPD = packed(double, addition);
export const ADDSS = scalar(single, addition);
export const ADDSD = scalar(double, addition);

/** SUBPS, SUBPD, SUBSS, SUBSD — Subtract. DEST := SRC1 - SRC2. */
export const SUBPS = packed(single, subtraction);
export const SUBPD = packed(double, subtraction);
export const SUBSS = scalar(single, subtraction);
export const SUBSD = scalar(double, subtraction);

/** MULPS, MULPD, MULSS, MULSD — Multiply. DEST := SRC1 * SRC2. */
export const MULPS = packed(single, multiplication);
export const MULPD = packed(double, multiplication);
export const MULSS = scalar(single, multiplication);
export const MULSD = scalar(double, multiplication);

/** DIVPS, DIVPD, DIVSS, DIVSD — Divide. DEST := SRC1 / SRC2. */
export const DIVPS = packed(single, division);
export const DIVPD = packed(double, division);
export const DIVSS = scalar(single, division);
export const DIVSD = scalar(double, division);

/** SQRTPS, SQRTPD, SQRTSS, SQRTSD — Square Root. DEST := √SRC. */
export const SQRTPS = packed(single, squareRoots);
export const SQRTPD = packed(double, squareRoots);
export const SQRTSS = scalar(single, squareRoots);
export const SQRTSD = scalar(double, squareRoots);

/** MINPS, MINPD, MINSS, MINSD — Minimum. DEST := SRC1 < SRC2 ? SRC1 : SRC2. */
export const MINPS = packed(single, minima);
export const MINPD = packed(double, minima);
export const MINSS = scalar(single, minima);
export const MINSD = scalar(double, minima);

/** MAXPS, MAXPD, MAXSS, MAXSD — Maximum. DEST := SRC1 > SRC2 ? SRC1 : SRC2. */
export const MAXPS = packed(single, maxima);
export const MAXPD = packed(double, maxima);
export const MAXSS = scalar(single, maxima);
export const MAXSD = scalar(double, maxima);

/** ADDSUBPS, ADDSUBPD — Add and Subtract. */
export const ADDSUBPS = packed(single, alternation);
export const ADDSUBPD = packed(double, alternation);

/** The even lanes of a, then those of b; the same of the odd ones. */
const unzip = (type: LaneType, odd: 0 | 1, a: Expr<128>, b: Expr<128>): Expr<128> =>
  shuffleLanes(type.bits / 8, a, b, type.bits === 32 ? [odd, odd + 2, odd + 4, odd + 6] : [odd, odd + 2]);

/** Neighbouring lanes with each other: first those of SRC1, then those of SRC2, in each half. */
const horizontal =
  (type: LaneType, arithmetic: LaneArithmetic) =>
  (m: Semantics, ...operands: Operand[]): void => {
    const [dest, first, second] = splitOperands(m, operands) as [Operand, Operand, Operand];
    const a = readVector(m, first);
    const b = readVector(m, second);
    const lanes = (odd: 0 | 1) => a.map((half, i) => unzip(type, odd, half, b[i] as Expr<128>));
    const { values, mxcsr } = callArithmetic(m, type, arithmetic, [lanes(0), lanes(1)]);
    m.writeHalves(dest, values as Expr<128>[]);
    m.setState('mxcsr', mxcsr);
  };

/** HADDPS, HADDPD — Horizontal Add; HSUBPS, HSUBPD — Horizontal Subtract. */
export const HADDPS = horizontal(single, addition);
export const HADDPD = horizontal(double, addition);
export const HSUBPS = horizontal(single, subtraction);
export const HSUBPD = horizontal(double, subtraction);

const DWORD = 0xffff_ffffn;
/** Ones in the lanes whose bit is set, the lowest bit for the lowest lane. */
const laneMask = ({ bits }: LaneType, chosen: number): Expr<128> => {
  const ones = bits === 32 ? DWORD : (DWORD << 32n) | DWORD;
  let mask = 0n;
  for (let lane = 0; lane < 128 / bits; lane++) if ((chosen >> lane) & 1) mask |= ones << BigInt(lane * bits);
  return constant(128, mask);
};

/**
 * DPPS, DPPD — Dot Product. The upper half of the immediate chooses the products that are added (the others are +0), the lower
 * half the lanes that get the sum. Exceptions are raised by each of the steps, so that a later one may not come about.
 */
const dotProduct =
  (type: LaneType) =>
  (m: Semantics, ...operands: Operand[]): void => {
    const [dest, first, second, immediate] = splitOperands(m, operands) as [Operand, Operand, Operand, Operand];
    const control = immediate.constant ?? 0;
    const step = (arithmetic: LaneArithmetic, args: Expr[][], mxcsr: Expr<32>) =>
      callArithmetic(m, type, arithmetic, args, mxcsr) as { values: Expr<128>[]; mxcsr: Expr<32> };
    const chosen = laneMask(type, control >> 4);
    const products = step(
      multiplication,
      [first, second].map((source) => readVector(m, source).map((half) => half.and(chosen))),
      m.state('mxcsr'),
    );
    let sums = products;
    for (let lanes = 128 / type.bits; lanes > 1; lanes /= 2) {
      const pairs = ([0, 1] as const).map((odd) => sums.values.map((half) => unzip(type, odd, half, half)));
      sums = step(addition, pairs, sums.mxcsr);
    }
    const written = laneMask(type, control);
    m.writeHalves(
      dest,
      sums.values.map((half) => half.and(written)),
    );
    m.setState('mxcsr', sums.mxcsr);
  };
export const DPPS = dotProduct(single);
export const DPPD = dotProduct(double);
