/**
 * FSIN, FCOS, FSINCOS, FPTAN, FPATAN, F2XM1, FYL2X, FYL2XP1. Each result is the exact one, rounded once as RC says (of
 * the trigonometric ones, that of the reduced argument).
 */
import { exactResult, type FloatEnvironment, FloatException, type FloatResult } from '../../float/environment.ts';
import { extended80 } from '../../float/format.ts';
import { invalidOperation, propagateNaN } from '../../float/nan.ts';
import { roundAndPack } from '../../float/round.ts';
import {
  bitLength,
  denormalException,
  type Finite,
  isNotANumber,
  topExponent,
  type Unpacked,
  unpack,
} from '../../float/unpack.ts';
import type { SystemInstruction } from '../instruction.ts';
import { fullPrecision, unary } from './arithmetic.ts';
import { arcTangent, ln2, logarithmOfRatio, pi, powerOfTwoLess1 } from './elementary-functions.ts';
import { INDEFINITE, pop, readStack, writeStack } from './register-stack.ts';
import { hasEmpty, raise, setPointers, stackUnderflow, waiting } from './x87-instruction.ts';

/** Bits that a result is computed with, counted from its leading one. */
const WORKING_BITS = 200;
/** Arguments smaller than 2 to this power are taken for infinitely small: the first term of the series decides. */
export const TINY = -140;

/** Units of 2^-precision, exact where the precision reaches that far. */
export const fixed = ({ exponent, significand, negative }: Finite, precision: number): bigint => {
  const shift = exponent + precision;
  const units = shift >= 0 ? significand << BigInt(shift) : significand >> BigInt(-shift);
  return negative ? -units : units;
};

/** An irrational number of which `units` of 2^-precision are known. */
export const irrational = (units: bigint, precision: number): Finite => ({
  negative: units < 0n,
  exponent: -precision - 1,
  significand: ((units < 0n ? -units : units) << 1n) | 1n,
});

/** A number that lies a little above or below another. */
export const beside = (value: Finite, where: 'above' | 'below'): Finite => ({
  ...value,
  exponent: value.exponent - 128,
  significand: (value.significand << 128n) + (where === 'above' ? 1n : -1n),
});

/** The precision for an argument, or a result, whose leading bit has this exponent. */
export const precisionFor = (top: number): number => WORKING_BITS - Math.min(0, top);

const withDenormals = (result: FloatResult, ...operands: readonly Unpacked[]): FloatResult => ({
  ...result,
  exceptions: result.exceptions | denormalException(...operands),
});

/** Silicon takes every result of a series for inexact, even that of FYL2X for a power of two. */
const inexact = (result: FloatResult, ...operands: readonly Unpacked[]): FloatResult =>
  withDenormals({ ...result, exceptions: result.exceptions | FloatException.Inexact }, ...operands);

export const F2XM1 = unary(({ state }, bits) => {
  const environment = fullPrecision(state.fcw);
  const x = unpack(extended80, bits);
  if (isNotANumber(x)) return propagateNaN(extended80, environment, x);
  if (x.class === 'zero') return exactResult(bits);
  if (x.class === 'infinity') return exactResult(x.negative ? ONE.negative : bits);
  const top = topExponent(x);
  // Undefined beyond ±1, where silicon leaves the operand.
  if (top >= 0)
    return exactResult(isPowerOfTwo(x) && top === 0 && x.negative ? MINUS_HALF : bits, FloatException.Inexact);
  return withDenormals(roundAndPack(extended80, environment, powerLess1(x, top)), x);
});

const ONE = { positive: 0x3fff_8000_0000_0000_0000n, negative: 0xbfff_8000_0000_0000_0000n } as const;
const MINUS_HALF = 0xbffe_8000_0000_0000_0000n;
const isPowerOfTwo = ({ significand }: Finite): boolean => (significand & (significand - 1n)) === 0n;

function powerLess1(x: Finite, top: number): Finite {
  if (top < TINY) return scaledBy(x, ln2(BigInt(WORKING_BITS)));
  const precision = precisionFor(top);
  return irrational(powerOfTwoLess1(fixed(x, precision), BigInt(precision)), precision);
}

/** The product with an irrational number, of which WORKING_BITS after the point are given. */
const scaledBy = (x: Finite, units: bigint): Finite => {
  const product = irrational(x.significand * units, WORKING_BITS - x.exponent);
  return { ...product, negative: x.negative };
};

/** ST(1) := f(ST(1), ST(0)), and a pop. */
const popping = (
  compute: (environment: FloatEnvironment, y: Unpacked, x: Unpacked) => FloatResult,
): SystemInstruction =>
  waiting((cpu, insn) => {
    const { state } = cpu;
    setPointers(cpu, insn);
    if (hasEmpty(state, 0, 1)) {
      if (!stackUnderflow(cpu)) return;
      writeStack(state, 1, INDEFINITE);
      return pop(state);
    }
    const environment = fullPrecision(state.fcw);
    const [x, y] = [unpack(extended80, readStack(state, 0)), unpack(extended80, readStack(state, 1))];
    const result =
      isNotANumber(x) || isNotANumber(y) ? propagateNaN(extended80, environment, x, y) : compute(environment, y, x);
    if (!raise(cpu, result.exceptions, result.roundedUp)) return;
    writeStack(state, 1, result.bits);
    pop(state);
  });

export const FYL2X = popping((environment, y, x) => {
  if (x.class === 'zero') return logarithmOfZero(y);
  if (x.negative) return invalidOperation(extended80);
  const isOne = x.class !== 'infinity' && isPowerOfTwo(x) && topExponent(x) === 0;
  if (x.class === 'infinity' || y.class === 'infinity' || y.class === 'zero' || isOne) {
    return productOfLogarithm(y, x, isOne);
  }
  return inexact(roundAndPack(extended80, environment, times(y, logarithm(x))), y, x);
});

function logarithmOfZero(y: Unpacked): FloatResult {
  if (y.class === 'zero') return invalidOperation(extended80);
  const divides = y.class === 'infinity' ? 0 : FloatException.DivideByZero;
  return exactResult(extended80.infinity(!y.negative), divides);
}

/** y × log2 x where one of the factors is zero or infinite. */
function productOfLogarithm(y: Unpacked, x: Unpacked, isOne: boolean): FloatResult {
  const negative = y.negative !== (x.class !== 'infinity' && topExponent(x) < 0);
  const [isZero, isInfinite] = [isOne || y.class === 'zero', x.class === 'infinity' || y.class === 'infinity'];
  if (isZero && isInfinite) return invalidOperation(extended80);
  const bits = isZero ? extended80.zero(negative) : extended80.infinity(negative);
  return exactResult(bits, denormalException(y, x));
}

/** log2 x = exponent + log2 of the significand, which is taken between 2/3 and 4/3. */
function logarithm(x: Finite): Finite {
  const length = bitLength(x.significand);
  if (isPowerOfTwo(x)) return integer(topExponent(x));
  const isUpper = 3n * x.significand >= 4n << BigInt(length - 1);
  const power = topExponent(x) + (isUpper ? 1 : 0);
  const precision = WORKING_BITS + 64;
  const units = logarithmOfRatio(x.significand, 1n << BigInt(length - (isUpper ? 0 : 1)), BigInt(precision));
  return irrational((BigInt(power) << BigInt(precision)) + units, precision);
}

const integer = (value: number): Finite => ({
  negative: value < 0,
  exponent: 0,
  significand: BigInt(Math.abs(value)),
});

/** The product; if the second factor is irrational, it is known well enough not to matter. */
const times = (a: Finite, b: Finite): Finite => ({
  negative: a.negative !== b.negative,
  exponent: a.exponent + b.exponent,
  significand: a.significand * b.significand,
});

export const FYL2XP1 = popping((environment, y, x) => {
  const negative = y.negative !== x.negative;
  if (x.class === 'zero' || y.class === 'zero') {
    if (x.class === 'infinity' || y.class === 'infinity') return invalidOperation(extended80);
    return exactResult(extended80.zero(negative), denormalException(y, x));
  }
  if (x.class === 'infinity')
    return x.negative ? invalidOperation(extended80) : exactResult(extended80.infinity(negative));
  if (y.class === 'infinity') return exactResult(extended80.infinity(negative), denormalException(x));
  // Undefined: silicon gives x.
  if (x.negative && topExponent(x) >= 0) return inexact(exactResult(x.bits), y);
  return inexact(roundAndPack(extended80, environment, times(y, logarithmOf1Plus(x))), y, x);
});

/** log2 (1 + x), for x above -1. */
function logarithmOf1Plus(x: Finite): Finite {
  const top = topExponent(x);
  if (top < TINY) return scaledBy(x, (1n << BigInt(2 * WORKING_BITS)) / ln2(BigInt(WORKING_BITS)));
  if (top > WORKING_BITS) return logarithm(beside(x, 'above'));
  const precision = precisionFor(top);
  const one = 1n << BigInt(precision);
  const sum = one + fixed(x, precision);
  if (top >= -2) return logarithm({ negative: false, exponent: -precision, significand: sum });
  return irrational(logarithmOfRatio(sum, one, BigInt(precision)), precision);
}

/** FPATAN: the angle of the point (ST(0), ST(1)). */
export const FPATAN = popping((environment, y, x) => {
  const negative = y.negative;
  if (y.class === 'zero' || (x.class === 'infinity' && y.class !== 'infinity')) {
    const denormal = denormalException(y, x);
    return x.negative
      ? withDenormals(angle(environment, partOfPi(4n), negative), y, x)
      : exactResult(extended80.zero(negative), denormal);
  }
  if (y.class === 'infinity') {
    const quarters = x.class !== 'infinity' ? 2n : x.negative ? 3n : 1n;
    return withDenormals(angle(environment, partOfPi(quarters), negative), x);
  }
  if (x.class === 'zero') return withDenormals(angle(environment, partOfPi(2n), negative), y);
  return withDenormals(angle(environment, arcTangentOf(y, x), negative), y, x);
});

const angle = (environment: FloatEnvironment, value: Finite, negative: boolean): FloatResult =>
  roundAndPack(extended80, environment, { ...value, negative });

/** Quarters of π. */
const partOfPi = (quarters: bigint): Finite => irrational((quarters * pi(BigInt(WORKING_BITS))) >> 2n, WORKING_BITS);

/** The angle, without the sign that it has from y, of a point off the axes. */
function arcTangentOf(y: Unpacked, x: Unpacked): Finite {
  const isSteep = compareMagnitudes(y, x) > 0;
  const [small, large] = isSteep ? [x, y] : [y, x];
  const top = topExponent(small) - topExponent(large);
  if (top < TINY) return nearAxis(small, large, isSteep, x.negative);
  const precision = precisionFor(top - 1);
  const tangent = dividedBy(small, large, precision);
  const near = arcTangent(tangent, BigInt(precision));
  const full = pi(BigInt(precision));
  if (isSteep) return irrational(x.negative ? (full >> 1n) + near : (full >> 1n) - near, precision);
  return irrational(x.negative ? full - near : near, precision);
}

/** An angle so close to an axis that its tangent is the angle, or makes no difference but for rounding. */
function nearAxis(small: Finite, large: Finite, isSteep: boolean, isLeft: boolean): Finite {
  if (isSteep) return partOfPi(2n);
  if (isLeft) return partOfPi(4n);
  const bits = WORKING_BITS - topExponent(small) + topExponent(large);
  const quotient = dividedBy(small, large, bits);
  const isExact = quotient * large.significand === shifted(small.significand, bits + small.exponent - large.exponent);
  const cut: Finite = { negative: false, exponent: -bits, significand: quotient };
  return isExact ? beside(cut, 'below') : irrational(quotient, bits);
}

const shifted = (value: bigint, by: number): bigint => (by >= 0 ? value << BigInt(by) : value >> BigInt(-by));

/** The quotient of the magnitudes in units of 2^-precision, cut. */
const dividedBy = (a: Finite, b: Finite, precision: number): bigint => {
  const shift = a.exponent - b.exponent + precision;
  return shift >= 0
    ? (a.significand << BigInt(shift)) / b.significand
    : a.significand / (b.significand << BigInt(-shift));
};

function compareMagnitudes(a: Finite, b: Finite): number {
  const difference = topExponent(a) - topExponent(b);
  if (difference !== 0) return difference;
  const [left, right] = [
    a.significand << BigInt(64 - bitLength(a.significand)),
    b.significand << BigInt(64 - bitLength(b.significand)),
  ];
  return left === right ? 0 : left > right ? 1 : -1;
}
