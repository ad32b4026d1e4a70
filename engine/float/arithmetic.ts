/** Addition, subtraction, multiplication, division, square root and fused multiply-add, exact and then rounded once. */
import { exactResult, type FloatEnvironment, FloatException, type FloatResult, RoundingMode } from './environment.ts';
import type { FloatFormat } from './format.ts';
import { invalidOperation, propagateNaN } from './nan.ts';
import { roundAndPack } from './round.ts';
import { bitLength, denormalException, type Finite, isNotANumber, operand, type Unpacked } from './unpack.ts';

/** An operation of two operands that have been looked at: neither is a NaN. */
type OnNumbers = (format: FloatFormat, environment: FloatEnvironment, a: Unpacked, b: Unpacked) => FloatResult;

function binaryOperation(onNumbers: OnNumbers) {
  return (format: FloatFormat, environment: FloatEnvironment, aBits: bigint, bBits: bigint): FloatResult => {
    const a = operand(format, environment, aBits);
    const b = operand(format, environment, bBits);
    if (isNotANumber(a) || isNotANumber(b)) return propagateNaN(format, environment, a, b);
    return withDenormals(onNumbers(format, environment, a, b), a, b);
  };
}

/** Reports denormal operands, unless an exception of higher priority is (SDM volume 1, "Floating-Point Exception Priority"). */
function withDenormals(result: FloatResult, ...operands: readonly Unpacked[]): FloatResult {
  const denormal = denormalException(...operands);
  if (denormal === 0 || result.exceptions & (FloatException.Invalid | FloatException.DivideByZero)) return result;
  return { ...result, exceptions: result.exceptions | denormal };
}

const negated = (value: Unpacked): Unpacked => ({ ...value, negative: !value.negative });

export const add = binaryOperation(sum);
export const subtract = binaryOperation((format, environment, a, b) => sum(format, environment, a, negated(b)));
export const multiply = binaryOperation(product);
export const divide = binaryOperation(quotient);

function sum(format: FloatFormat, environment: FloatEnvironment, a: Unpacked, b: Unpacked): FloatResult {
  if (a.class === 'infinity' || b.class === 'infinity') {
    if (a.class === b.class && a.negative !== b.negative) return invalidOperation(format);
    return exactResult(format.infinity(a.class === 'infinity' ? a.negative : b.negative));
  }
  return packOrZero(format, environment, addExactly(a, b), a.negative === b.negative && a.negative);
}

/** Rounds a sum. One that is exactly zero is negative if both its terms are, or if only one is and rounding is down. */
function packOrZero(
  format: FloatFormat,
  environment: FloatEnvironment,
  value: Finite,
  bothNegative: boolean,
): FloatResult {
  if (value.significand !== 0n) return roundAndPack(format, environment, value);
  return exactResult(format.zero(bothNegative || (value.negative && environment.rounding === RoundingMode.Down)));
}

/** Beyond this distance of the leading bits, only the existence of the smaller term matters to any rounding. */
const farApart = 400;

/** The exact sum; of terms very far apart one that rounds alike. If it is 0, it is negative unless both terms are not. */
function addExactly(a: Finite, b: Finite): Finite {
  const [low, high] = a.exponent < b.exponent ? [a, b] : [b, a];
  if (low.significand === 0n || high.significand === 0n) {
    if (low.significand !== high.significand) return low.significand === 0n ? high : low;
    return { ...low, negative: a.negative || b.negative };
  }
  if (high.exponent - low.exponent > farApart) {
    return addExactly(high, { ...low, exponent: high.exponent - farApart, significand: 1n });
  }
  const aligned = high.significand << BigInt(high.exponent - low.exponent);
  const total = signed(aligned, high.negative) + signed(low.significand, low.negative);
  if (total === 0n) return { negative: true, exponent: low.exponent, significand: 0n };
  return { negative: total < 0n, exponent: low.exponent, significand: total < 0n ? -total : total };
}

const signed = (magnitude: bigint, negative: boolean): bigint => (negative ? -magnitude : magnitude);

const multiplyExactly = (a: Finite, b: Finite): Finite => ({
  negative: a.negative !== b.negative,
  exponent: a.exponent + b.exponent,
  significand: a.significand * b.significand,
});

function product(format: FloatFormat, environment: FloatEnvironment, a: Unpacked, b: Unpacked): FloatResult {
  const negative = a.negative !== b.negative;
  const hasZero = a.class === 'zero' || b.class === 'zero';
  if (a.class === 'infinity' || b.class === 'infinity') {
    return hasZero ? invalidOperation(format) : exactResult(format.infinity(negative));
  }
  if (hasZero) return exactResult(format.zero(negative));
  return roundAndPack(format, environment, multiplyExactly(a, b));
}

function quotient(format: FloatFormat, environment: FloatEnvironment, a: Unpacked, b: Unpacked): FloatResult {
  const negative = a.negative !== b.negative;
  if (a.class === b.class && (a.class === 'infinity' || a.class === 'zero')) return invalidOperation(format);
  if (a.class === 'infinity') return exactResult(format.infinity(negative));
  if (b.class === 'infinity' || a.class === 'zero') return exactResult(format.zero(negative));
  if (b.class === 'zero') return exactResult(format.infinity(negative), FloatException.DivideByZero);
  // Three bits more than the precision, and a last one that stands for the remainder.
  const shift = Math.max(0, format.precision + 3 + bitLength(b.significand) - bitLength(a.significand));
  const numerator = a.significand << BigInt(shift);
  const digits = numerator / b.significand;
  const rest = digits * b.significand === numerator ? 0n : 1n;
  const exponent = a.exponent - b.exponent - shift - 1;
  return roundAndPack(format, environment, { negative, exponent, significand: (digits << 1n) | rest });
}

export function squareRoot(format: FloatFormat, environment: FloatEnvironment, bits: bigint): FloatResult {
  const a = operand(format, environment, bits);
  if (isNotANumber(a)) return propagateNaN(format, environment, a);
  if (a.class === 'zero') return exactResult(a.bits);
  if (a.negative) return invalidOperation(format);
  if (a.class === 'infinity') return exactResult(a.bits);
  const wanted = 2 * (format.precision + 3);
  const shift = wanted - bitLength(a.significand);
  const evenShift = (a.exponent - shift) % 2 === 0 ? shift : shift + 1;
  const radicand = a.significand << BigInt(evenShift);
  const root = integerSquareRoot(radicand);
  const rest = root * root === radicand ? 0n : 1n;
  const value = { negative: false, exponent: (a.exponent - evenShift) / 2 - 1, significand: (root << 1n) | rest };
  return withDenormals(roundAndPack(format, environment, value), a);
}

/** The largest integer whose square is not above `value` (below 2^1000): Newton's method, from above. */
function integerSquareRoot(value: bigint): bigint {
  let root = BigInt(Math.ceil(Math.sqrt(Number(value)) * (1 + 2 ** -50))) + 1n;
  for (;;) {
    const better = (root + value / root) >> 1n;
    if (better >= root) return root;
    root = better;
  }
}

/** What a fused operation negates, NaNs excepted. */
export interface Negations {
  readonly product: boolean;
  readonly addend: boolean;
}
const noNegations: Negations = { product: false, addend: false };

/** ± a × b ± c, rounded once. */
export function multiplyAdd(
  format: FloatFormat,
  environment: FloatEnvironment,
  aBits: bigint,
  bBits: bigint,
  cBits: bigint,
  negations: Negations = noNegations,
): FloatResult {
  const a = operand(format, environment, aBits);
  const b = operand(format, environment, bBits);
  const c = operand(format, environment, cBits);
  if (isNotANumber(a) || isNotANumber(b) || isNotANumber(c)) return propagateNaN(format, environment, a, b, c);
  const factor = negations.product ? negated(a) : a;
  const addend = negations.addend ? negated(c) : c;
  return withDenormals(multiplyAddNumbers(format, environment, [factor, b], addend), a, b, c);
}

function multiplyAddNumbers(
  format: FloatFormat,
  environment: FloatEnvironment,
  [a, b]: readonly [Unpacked, Unpacked],
  c: Unpacked,
): FloatResult {
  const negative = a.negative !== b.negative;
  if (a.class === 'infinity' || b.class === 'infinity') {
    if (a.class === 'zero' || b.class === 'zero') return invalidOperation(format);
    if (c.class === 'infinity' && c.negative !== negative) return invalidOperation(format);
    return exactResult(format.infinity(negative));
  }
  if (c.class === 'infinity') return exactResult(format.infinity(c.negative));
  return packOrZero(format, environment, addExactly(multiplyExactly(a, b), c), negative && c.negative);
}
