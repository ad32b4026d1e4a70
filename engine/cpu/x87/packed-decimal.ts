/** The packed decimal format: 18 digits and a byte with the sign (SDM volume 1, "Packed BCD Integer Data Types"). */

import { type FloatEnvironment, FloatException } from '../../float/environment.ts';
import { extended80 } from '../../float/format.ts';
import { roundMagnitude } from '../../float/round.ts';
import { isNotANumber, unpack } from '../../float/unpack.ts';

const DIGITS = 18n;
const SIGN = 1n << 79n;
const LIMIT = 10n ** DIGITS;
/** What stands for a number that has no place in the format. */
export const PACKED_INDEFINITE = 0xffff_c000_0000_0000_0000n;

/** The magnitude that 18 digits say, and the sign. Digits above 9 count with their value, as silicon has it. */
export function fromPackedDecimal(packed: bigint): { magnitude: bigint; negative: boolean } {
  let magnitude = 0n;
  for (let digit = DIGITS - 1n; digit >= 0n; digit--) magnitude = magnitude * 10n + ((packed >> (4n * digit)) & 15n);
  return { magnitude, negative: (packed & SIGN) !== 0n };
}

function pack(magnitude: bigint): bigint {
  let packed = 0n;
  let rest = magnitude;
  for (let digit = 0n; digit < DIGITS; digit++) {
    packed |= (rest % 10n) << (4n * digit);
    rest /= 10n;
  }
  return packed;
}

/** A register's value, rounded to an integer and packed. */
export function toPackedDecimal(
  { rounding }: FloatEnvironment,
  bits: bigint,
): { bits: bigint; exceptions: number; roundedUp: boolean } {
  const invalid = { bits: PACKED_INDEFINITE, exceptions: FloatException.Invalid, roundedUp: false };
  const value = unpack(extended80, bits);
  if (isNotANumber(value) || value.class === 'infinity' || value.exponent > 0) return invalid;
  // Anything below 2^-100 rounds as that does.
  const isTiny = value.significand !== 0n && value.exponent < -200;
  const [significand, dropped] = isTiny ? [1n, 100] : [value.significand, -value.exponent];
  const { units, inexact, roundedUp } = roundMagnitude(significand, dropped, value.negative, rounding);
  if (units >= LIMIT) return invalid;
  return {
    bits: pack(units) | (value.negative ? SIGN : 0n),
    exceptions: inexact ? FloatException.Inexact : 0,
    roundedUp,
  };
}
