/** What the tests of engine/float hold it against: JavaScript's own numbers, which are binary64 rounded to nearest. */
import fc from 'fast-check';
import { type FloatEnvironment, RoundingMode } from '../../engine/float/environment.ts';
import { binary32, binary64, extended80, type FloatFormat } from '../../engine/float/format.ts';

/** All exceptions masked. */
export const masked = (change: Partial<FloatEnvironment> = {}): FloatEnvironment => ({
  rounding: RoundingMode.Nearest,
  masks: 0x3f,
  denormalsAreZero: false,
  flushToZero: false,
  precision: undefined,
  rules: 'sse',
  ...change,
});

const view = new DataView(new ArrayBuffer(8));

export function doubleBits(value: number): bigint {
  view.setFloat64(0, value);
  return view.getBigUint64(0);
}
export function doubleValue(bits: bigint): number {
  view.setBigUint64(0, bits);
  return view.getFloat64(0);
}
export function singleBits(value: number): bigint {
  view.setFloat32(0, value);
  return BigInt(view.getUint32(0));
}
export function singleValue(bits: bigint): number {
  view.setUint32(0, Number(bits));
  return view.getFloat32(0);
}

/** Encodings of a format, the corners of its exponents and fractions as likely as all others together. */
export function encodings(format: FloatFormat): fc.Arbitrary<bigint> {
  const top = format.specialExponent;
  const exponent = fc.oneof(
    fc.constantFrom(0, 1, 2, top, top - 1, top - 2, format.bias, format.bias + format.fractionBits),
    fc.integer({ min: format.bias - 70, max: format.bias + 70 }).map((n) => Math.min(Math.max(n, 0), top)),
    fc.nat({ max: top }),
  );
  const fractionMask = (1n << BigInt(format.fractionBits)) - 1n;
  const fraction = fc.oneof(
    fc.constantFrom(0n, 1n, fractionMask, format.quietBit, format.quietBit - 1n, 1n << BigInt(format.precision >> 1)),
    fc.bigInt({ min: 0n, max: fractionMask }),
  );
  return fc
    .tuple(fc.boolean(), exponent, fraction)
    .map(([negative, e, f]) => format.encode(negative, e, f | (e === 0 ? 0n : format.integerBit)));
}

export const formats = [binary32, binary64, extended80];
