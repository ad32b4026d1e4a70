/** Conversions: between formats, from and to integers, and to integral values of the same format. */
import { exactResult, type FloatEnvironment, FloatException, type FloatResult } from './environment.ts';
import type { FloatFormat } from './format.ts';
import { invalidOperation, propagateNaN } from './nan.ts';
import { encodeFinite, roundAndPack, roundMagnitude } from './round.ts';
import { denormalException, type Finite, isNotANumber, operand, type Unpacked } from './unpack.ts';

const { Invalid, Inexact } = FloatException;

export interface IntegerType {
  /** In bits. */
  readonly width: number;
  readonly signed: boolean;
}

/** Precision control does not concern conversions: SDM volume 1, "Precision Control Field". */
const inFullPrecision = (environment: FloatEnvironment): FloatEnvironment =>
  environment.precision === undefined ? environment : { ...environment, precision: undefined };

/** A number of one format as a number of another. */
export function convert(from: FloatFormat, to: FloatFormat, environment: FloatEnvironment, bits: bigint): FloatResult {
  const value = operand(from, environment, bits);
  if (isNotANumber(value)) return convertNaN(from, to, value);
  if (value.class === 'infinity') return exactResult(to.infinity(value.negative));
  if (value.class === 'zero') return exactResult(to.zero(value.negative));
  const result = roundAndPack(to, inFullPrecision(environment), value);
  return { ...result, exceptions: result.exceptions | denormalException(value) };
}

/** The upper bits of the fraction are kept, and the NaN becomes quiet. */
function convertNaN(from: FloatFormat, to: FloatFormat, nan: Unpacked): FloatResult {
  if (nan.class === 'unsupported') return invalidOperation(to);
  const wider = to.fractionBits - from.fractionBits;
  const fraction = nan.significand & ~from.integerBit;
  const moved = wider >= 0 ? fraction << BigInt(wider) : fraction >> BigInt(-wider);
  return exactResult(to.nan(nan.negative, moved | to.quietBit), nan.class === 'signalling NaN' ? Invalid : 0);
}

/** An integer, of any size, as a floating-point number. */
export function fromInteger(to: FloatFormat, environment: FloatEnvironment, integer: bigint): FloatResult {
  if (integer === 0n) return exactResult(to.zero(false));
  const negative = integer < 0n;
  return roundAndPack(to, inFullPrecision(environment), {
    negative,
    exponent: 0,
    significand: negative ? -integer : integer,
  });
}

/**
 * A number as an integer of the given type, as an unsigned bit pattern. What has no place in it is invalid and gives the
 * integer indefinite: the most negative signed integer, or an unsigned one of ones only. Denormals are not reported.
 */
export function toInteger(
  from: FloatFormat,
  environment: FloatEnvironment,
  bits: bigint,
  { width, signed }: IntegerType,
): FloatResult {
  const indefinite = exactResult(signed ? 1n << BigInt(width - 1) : (1n << BigInt(width)) - 1n, Invalid);
  const value = operand(from, environment, bits);
  if (isNotANumber(value) || value.class === 'infinity') return indefinite;
  if (value.exponent > width) return indefinite;
  const { units, inexact, roundedUp } = roundToUnits(value, environment);
  const integer = value.negative ? -units : units;
  const lowest = signed ? -(1n << BigInt(width - 1)) : 0n;
  const highest = (1n << BigInt(signed ? width - 1 : width)) - 1n;
  if (integer < lowest || integer > highest) return indefinite;
  return { bits: BigInt.asUintN(width, integer), exceptions: inexact ? Inexact : 0, roundedUp };
}

/** A magnitude of less than 2^-100 is rounded as if it were that: 2^16384 steps of a shift are not needed to tell. */
function roundToUnits({ significand, exponent, negative }: Finite, { rounding }: FloatEnvironment) {
  if (exponent < -200 && significand !== 0n) return roundMagnitude(1n, 100, negative, rounding);
  return roundMagnitude(significand, -exponent, negative, rounding);
}

/** The number rounded to an integral value. A zero keeps the sign of the operand. */
export function roundToIntegral(format: FloatFormat, environment: FloatEnvironment, bits: bigint): FloatResult {
  const value = operand(format, environment, bits);
  if (isNotANumber(value)) return propagateNaN(format, environment, value);
  if (value.class === 'infinity' || value.class === 'zero' || value.exponent >= 0) return exactResult(value.bits);
  const { units, inexact, roundedUp } = roundToUnits(value, environment);
  return {
    bits: encodeFinite(format, { negative: value.negative, exponent: 0, significand: units }),
    exceptions: denormalException(value) | (inexact ? Inexact : 0),
    roundedUp,
  };
}
