/** Rounding an exact value to a format, with the responses to overflow and underflow. */
import { exactResult, type FloatEnvironment, FloatException, type FloatResult, RoundingMode } from './environment.ts';
import type { FloatFormat } from './format.ts';
import { bitLength, type Finite, topExponent } from './unpack.ts';

const { Overflow, Underflow, Inexact } = FloatException;

/** A magnitude cut to a multiple of 2^dropped. */
interface Rounded {
  /** In units of 2^dropped. */
  readonly units: bigint;
  readonly inexact: boolean;
  readonly roundedUp: boolean;
}

/** Rounds `magnitude` to units of 2^dropped; if `dropped` is not positive, it is exact. */
export function roundMagnitude(magnitude: bigint, dropped: number, negative: boolean, rounding: RoundingMode): Rounded {
  if (dropped <= 0) return { units: magnitude << BigInt(-dropped), inexact: false, roundedUp: false };
  const below = magnitude & ((1n << BigInt(dropped)) - 1n);
  const units = magnitude >> BigInt(dropped);
  if (below === 0n) return { units, inexact: false, roundedUp: false };
  const half = 1n << BigInt(dropped - 1);
  const toNearest = below > half || (below === half && (units & 1n) === 1n);
  const up = goesUp(negative, toNearest, rounding);
  return { units: up ? units + 1n : units, inexact: true, roundedUp: up };
}

/** Whether the magnitude of an inexact value grows as it is rounded; `toNearest` if it does towards the nearest, ties to even. */
export function goesUp(negative: boolean, toNearest: boolean, rounding: RoundingMode): boolean {
  switch (rounding) {
    case RoundingMode.Nearest:
      return toNearest;
    case RoundingMode.Down:
      return negative;
    case RoundingMode.Up:
      return !negative;
    case RoundingMode.Zero:
      return false;
  }
}

/**
 * Rounds an exact value (significand not 0) and encodes it. A value that is only known to lie between two numbers can
 * be given by any number between them, if these are much closer than the precision of the result.
 */
export function roundAndPack(format: FloatFormat, environment: FloatEnvironment, value: Finite): FloatResult {
  const precision = precisionOf(format, environment);
  const top = topExponent(value);
  // As if exponents had no limits, which is what tells tiny results and overflows.
  const unlimited = roundAt(value, top - precision + 1, environment.rounding);
  const exponent = top + (bitLength(unlimited.units) > precision ? 1 : 0);
  if (exponent > format.maxExponent) return overflow(format, environment, value, unlimited);
  if (exponent < format.minExponent) return tiny(format, environment, value, unlimited);
  return encodeRounded(format, value.negative, top - precision + 1, unlimited);
}

/** Precision control concerns double extended results only. */
const precisionOf = (format: FloatFormat, { precision }: FloatEnvironment): number =>
  format.explicitIntegerBit && precision !== undefined ? precision : format.precision;

const roundAt = ({ significand, exponent, negative }: Finite, unit: number, rounding: RoundingMode): Rounded =>
  roundMagnitude(significand, unit - exponent, negative, rounding);

/** Encodes `rounded.units` × 2^unit, which must have a place in the format. */
function encodeRounded(
  format: FloatFormat,
  negative: boolean,
  unit: number,
  { units, inexact, roundedUp }: Rounded,
  exceptions = 0,
): FloatResult {
  return {
    bits: encodeFinite(format, { negative, exponent: unit, significand: units }),
    exceptions: exceptions | (inexact ? Inexact : 0),
    roundedUp,
  };
}

/** Encodes a value that the format has: nothing is rounded. */
export function encodeFinite(format: FloatFormat, { negative, exponent, significand }: Finite): bigint {
  if (significand === 0n) return format.zero(negative);
  const top = Math.max(exponent + bitLength(significand) - 1, format.minExponent);
  const shift = exponent - (top - format.fractionBits);
  const aligned = shift >= 0 ? significand << BigInt(shift) : significand >> BigInt(-shift);
  const isNormal = aligned >> BigInt(format.fractionBits) !== 0n;
  return format.encode(negative, isNormal ? top + format.bias : 0, aligned & format.storedMask);
}

function overflow(format: FloatFormat, environment: FloatEnvironment, value: Finite, unlimited: Rounded): FloatResult {
  const { negative } = value;
  if (!(environment.masks & Overflow)) {
    const response = unmasked(format, environment, value, unlimited, Overflow);
    if (response) return response;
  }
  const toInfinity =
    environment.rounding === RoundingMode.Nearest ||
    environment.rounding === (negative ? RoundingMode.Down : RoundingMode.Up);
  return {
    bits: toInfinity ? format.infinity(negative) : format.largest(negative, precisionOf(format, environment)),
    exceptions: Overflow | Inexact,
    roundedUp: toInfinity,
  };
}

function tiny(format: FloatFormat, environment: FloatEnvironment, value: Finite, unlimited: Rounded): FloatResult {
  const { negative } = value;
  const isMasked = (environment.masks & Underflow) !== 0;
  if (!isMasked) {
    const response = unmasked(format, environment, value, unlimited, Underflow);
    if (response) return response;
  } else if (environment.flushToZero) {
    return { bits: format.zero(negative), exceptions: Underflow | Inexact, roundedUp: false };
  }
  const unit = format.minExponent - precisionOf(format, environment) + 1;
  const rounded = roundAt(value, unit, environment.rounding);
  return encodeRounded(format, negative, unit, rounded, rounded.inexact || !isMasked ? Underflow : 0);
}

/** SDM volume 1, "Numeric Overflow Exception (#O)": 3 × 2^13 brings the result of any one operation into range. */
const exponentAdjustment = 24576;

/**
 * The response to an unmasked overflow or underflow: no result, or on the x87 one whose exponent is adjusted. Undefined
 * if that is still out of range, as can be after FSCALE: then the result is as if the exception were masked.
 */
function unmasked(
  format: FloatFormat,
  environment: FloatEnvironment,
  value: Finite,
  rounded: Rounded,
  exception: number,
): FloatResult | undefined {
  if (environment.rules === 'sse' || !format.explicitIntegerBit) {
    // A store by FST does not even report that the result it does not store would be inexact.
    const inexact = environment.rules === 'sse' && rounded.inexact;
    return exactResult(0n, exception | (inexact ? Inexact : 0));
  }
  const adjustment = exception === Overflow ? -exponentAdjustment : exponentAdjustment;
  const top = topExponent(value) + adjustment;
  const unit = top - precisionOf(format, environment) + 1;
  const roundedTop = unit + bitLength(rounded.units) - 1;
  if (roundedTop > format.maxExponent || roundedTop < format.minExponent) return undefined;
  return encodeRounded(format, value.negative, unit, rounded, exception);
}
