/**
 * Conversions between memory's and the registers' real formats with 32-bit halves, for normal numbers and zeros. The
 * vectors hold them against silicon, and a test against engine/float.
 */
import type { RoundingMode } from '../../float/environment.ts';
import { goesUp } from '../../float/round.ts';
import { Outcome, type Parts } from './quick-arithmetic.ts';

/** A value of 8 bytes as halves and as a whole. */
const scratch = new DataView(new ArrayBuffer(8));

const BIAS = 16383;
const EXPONENT = 0x7fff;
const SIGN = 0x8000;
const TOP_BIT = 0x8000_0000;
const WORD = 0x1_0000_0000;

interface Narrow {
  readonly bias: number;
  readonly largestExponent: number;
}
const DOUBLE: Narrow = { bias: 1023, largestExponent: 2046 };
const SINGLE: Narrow = { bias: 127, largestExponent: 254 };

/** Puts a double into `into`; false for what is not normal or zero. */
export function widenDouble(bits: bigint, into: Parts): boolean {
  scratch.setBigUint64(0, bits, true);
  const [high, low] = [scratch.getUint32(4, true), scratch.getUint32(0, true)];
  const exponent = (high >>> 20) & 0x7ff;
  if (!widenExponent(into, high >>> 16, exponent, DOUBLE, (high & 0xf_ffff) === 0 && low === 0)) return false;
  if (exponent === 0) return true;
  into.high = (TOP_BIT | ((high & 0xf_ffff) << 11) | (low >>> 21)) >>> 0;
  into.low = (low << 11) >>> 0;
  return true;
}

/** The same of a single. */
export function widenSingle(bits: number, into: Parts): boolean {
  const exponent = (bits >>> 23) & 0xff;
  if (!widenExponent(into, bits >>> 16, exponent, SINGLE, (bits & 0x7f_ffff) === 0)) return false;
  if (exponent === 0) return true;
  into.high = (TOP_BIT | ((bits & 0x7f_ffff) << 8)) >>> 0;
  into.low = 0;
  return true;
}

/** Sets sign and exponent, and all of a zero. */
function widenExponent(into: Parts, upper: number, exponent: number, format: Narrow, isZero: boolean): boolean {
  if (exponent > format.largestExponent || (exponent === 0 && !isZero)) return false;
  into.signExponent = (upper & SIGN) | (exponent === 0 ? 0 : exponent - format.bias + BIAS);
  into.high = 0;
  into.low = 0;
  return true;
}

/** What the last narrowing gave. */
let narrowed = 0n;
export const narrowedBits = (): bigint => narrowed;

/** A register as a double, in `narrowedBits`. */
export function narrowToDouble({ signExponent, high, low }: Parts, rounding: RoundingMode): Outcome {
  return narrow(signExponent, rounding, DOUBLE, {
    upper: (high & 0x7fff_ffff) >>> 11,
    lower: ((high << 21) | (low >>> 11)) >>> 0,
    dropped: low & 0x7ff,
    half: 0x400,
    isZero: high === 0 && low === 0,
    isNormal: high >= TOP_BIT,
  });
}

/** A register as a single; the fraction is kept in the lower word. */
export function narrowToSingle({ signExponent, high, low }: Parts, rounding: RoundingMode): Outcome {
  return narrow(signExponent, rounding, SINGLE, {
    upper: 0,
    lower: (high & 0x7fff_ffff) >>> 8,
    // Of the lower word only whether it is zero matters.
    dropped: ((high & 0xff) << 1) | (low === 0 ? 0 : 1),
    half: 0x100,
    isZero: high === 0 && low === 0,
    isNormal: high >= TOP_BIT,
  });
}

interface Fraction {
  readonly upper: number;
  readonly lower: number;
  readonly dropped: number;
  readonly half: number;
  readonly isZero: boolean;
  readonly isNormal: boolean;
}

function narrow(signExponent: number, rounding: RoundingMode, format: Narrow, fraction: Fraction): Outcome {
  const negative = (signExponent & SIGN) !== 0;
  const field = signExponent & EXPONENT;
  if (field === 0 && fraction.isZero) return assemble(negative, 0, 0, 0, format, Outcome.Exact);
  let exponent = field - BIAS + format.bias;
  if (!fraction.isNormal || field === EXPONENT || exponent < 1) return Outcome.Other;
  const { dropped, half } = fraction;
  const toNearest = dropped > half || (dropped === half && (fraction.lower & 1) === 1);
  const up = dropped !== 0 && goesUp(negative, toNearest, rounding);
  let lower = fraction.lower + (up ? 1 : 0);
  let { upper } = fraction;
  const end = format === DOUBLE ? WORD : 0x80_0000;
  if (lower === end) [lower, upper] = [0, upper + 1];
  if (upper === (format === DOUBLE ? 0x10_0000 : 1)) [upper, exponent] = [0, exponent + 1];
  if (exponent > format.largestExponent) return Outcome.Other;
  const outcome = dropped === 0 ? Outcome.Exact : up ? Outcome.RoundedUp : Outcome.Inexact;
  return assemble(negative, exponent, upper, lower, format, outcome);
}

function assemble(
  negative: boolean,
  exponent: number,
  upper: number,
  lower: number,
  format: Narrow,
  outcome: Outcome,
): Outcome {
  const sign = negative ? TOP_BIT : 0;
  if (format === SINGLE) {
    narrowed = BigInt((sign | (exponent << 23) | lower) >>> 0);
    return outcome;
  }
  scratch.setUint32(0, lower, true);
  scratch.setUint32(4, (sign | (exponent << 20) | upper) >>> 0, true);
  narrowed = scratch.getBigUint64(0, true);
  return outcome;
}
