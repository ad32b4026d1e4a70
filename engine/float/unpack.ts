/** Taking an encoding apart. */
import type { FloatEnvironment } from './environment.ts';
import { FloatException } from './environment.ts';
import type { FloatFormat } from './format.ts';

/** `unsupported`: an encoding of double extended precision with a wrong integer bit (pseudo-NaN, unnormal …). */
export type FloatClass = 'zero' | 'denormal' | 'normal' | 'infinity' | 'quiet NaN' | 'signalling NaN' | 'unsupported';

/** A finite number: ± significand × 2^exponent. */
export interface Finite {
  readonly negative: boolean;
  readonly exponent: number;
  readonly significand: bigint;
}

/** For what is not finite, `significand` is the stored field and `exponent` means nothing. */
export interface Unpacked extends Finite {
  readonly class: FloatClass;
  readonly bits: bigint;
}

export function unpack(format: FloatFormat, bits: bigint): Unpacked {
  const negative = (bits & format.signBit) !== 0n;
  const field = Number(bits >> format.storedBits) & format.specialExponent;
  const stored = bits & format.storedMask;
  const classified = classify(format, field, stored);
  const hiddenBit = !format.explicitIntegerBit && classified === 'normal' ? format.storedMask + 1n : 0n;
  return {
    class: classified,
    negative,
    exponent: (field === 0 ? format.minExponent : field - format.bias) - format.fractionBits,
    significand: stored | hiddenBit,
    bits,
  };
}

function classify(format: FloatFormat, exponentField: number, stored: bigint): FloatClass {
  // A pseudo-denormal (exponent 0, integer bit 1) has the value its fields say, and is reported as a denormal.
  if (exponentField === 0) return stored === 0n ? 'zero' : 'denormal';
  if ((stored & format.integerBit) !== format.integerBit) return 'unsupported';
  if (exponentField !== format.specialExponent) return 'normal';
  if (stored === format.integerBit) return 'infinity';
  return stored & format.quietBit ? 'quiet NaN' : 'signalling NaN';
}

/** An operand as the operation sees it: denormals are zeros if the environment says so. */
export function operand(format: FloatFormat, environment: FloatEnvironment, bits: bigint): Unpacked {
  const value = unpack(format, bits);
  if (value.class !== 'denormal' || !environment.denormalsAreZero) return value;
  return { ...value, class: 'zero', significand: 0n, bits: format.zero(value.negative) };
}

export const isNotANumber = (value: Unpacked): boolean =>
  value.class === 'quiet NaN' || value.class === 'signalling NaN' || value.class === 'unsupported';

/** The denormal-operand exception of these operands. */
export const denormalException = (...operands: readonly Unpacked[]): number =>
  operands.some((value) => value.class === 'denormal') ? FloatException.Denormal : 0;

/** The exponent of the leading bit of a number that is not 0. */
export const topExponent = ({ exponent, significand }: Finite): number => exponent + bitLength(significand) - 1;

/** Number of bits of a value that is not negative. */
export function bitLength(value: bigint): number {
  let rest = value;
  let length = 0;
  while (rest > 0xffff_ffffn) {
    rest >>= 32n;
    length += 32;
  }
  return length + 32 - Math.clz32(Number(rest));
}
