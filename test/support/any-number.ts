/** Floating-point numbers that arithmetic is tried on. */
import type { FloatFormat } from '../../engine/float/format.ts';
import type { Random } from './random.ts';

/** Long fractions and short ones, mostly of a magnitude about 1. */
export function anyNumber(format: FloatFormat, next: Random): bigint {
  const { bias, specialExponent, fractionBits } = format;
  const exponent = next(8) ? bias - 20 + next(40) : next(specialExponent + 1);
  const all = (BigInt(next(2 ** 26)) << 26n) | BigInt(next(2 ** 26));
  const fraction = BigInt.asUintN(fractionBits, next(3) ? all : BigInt(next(16)) << BigInt(next(fractionBits - 4)));
  return format.encode(next(2) === 1, exponent, fraction);
}
