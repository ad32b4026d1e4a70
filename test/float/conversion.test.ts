import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compare, maximum, minimum } from '../../engine/float/compare.ts';
import { convert, fromInteger, roundToIntegral, toInteger } from '../../engine/float/convert.ts';
import { FloatException, RoundingMode } from '../../engine/float/environment.ts';
import { binary16, binary32, binary64, extended80 } from '../../engine/float/format.ts';
import { unpack } from '../../engine/float/unpack.ts';
import { doubleBits, doubleValue, encodings, masked, singleBits, singleValue } from './reference.ts';

const { Invalid, Inexact, Denormal, Overflow, Underflow } = FloatException;
const inMode = (rounding: RoundingMode) => masked({ rounding });

describe('between formats', () => {
  it('a double becomes the single that Math.fround gives', () => {
    fc.assert(
      fc.property(encodings(binary64), (bits) => {
        const got = convert(binary64, binary32, masked(), bits).bits;
        expect(singleValue(got)).toBe(Math.fround(doubleValue(bits)));
      }),
      { numRuns: 5000 },
    );
  });
  it.each([
    { narrow: binary16, wide: binary32 },
    { narrow: binary32, wide: binary64 },
    { narrow: binary64, wide: extended80 },
    { narrow: binary16, wide: extended80 },
  ])('$narrow.name survives $wide.name, and precision control', ({ narrow, wide }) => {
    fc.assert(
      fc.property(encodings(narrow), (bits) => {
        const signalling = unpack(narrow, bits).class === 'signalling NaN';
        const environment = masked({ precision: 24 });
        const widened = convert(narrow, wide, environment, bits);
        expect(convert(wide, narrow, environment, widened.bits).bits).toBe(signalling ? bits | narrow.quietBit : bits);
        expect(widened.exceptions & (Inexact | Invalid)).toBe(signalling ? Invalid : 0);
      }),
    );
  });
  it('a store that overflows or underflows unmasked has no result, so nothing is said of its exactness', () => {
    const tiny = extended80.encode(false, 100, (3n << 62n) | 1n);
    const store = (masks: number) => convert(extended80, binary64, masked({ rules: 'x87', masks }), tiny);
    expect(store(0x3f)).toMatchObject({ bits: 0n, exceptions: Underflow | Inexact });
    expect(store(0x2f).exceptions).toBe(Underflow);
  });
  it('what is too large for half precision overflows as the rounding mode says', () => {
    const large = singleBits(65520);
    const of = (rounding: RoundingMode) => convert(binary32, binary16, inMode(rounding), large);
    expect(of(RoundingMode.Nearest)).toMatchObject({ bits: 0x7c00n, exceptions: Overflow | Inexact });
    expect(of(RoundingMode.Zero)).toMatchObject({ bits: 0x7bffn, exceptions: Inexact });
  });
});

describe('to and from integers', () => {
  const judges = { [RoundingMode.Down]: Math.floor, [RoundingMode.Up]: Math.ceil, [RoundingMode.Zero]: Math.trunc };
  it.each([RoundingMode.Down, RoundingMode.Up, RoundingMode.Zero])('mode %i is that of Math', (rounding) => {
    fc.assert(
      fc.property(encodings(binary64), (bits) => {
        const judge = judges[rounding as keyof typeof judges](doubleValue(bits));
        expect(doubleValue(roundToIntegral(binary64, inMode(rounding), bits).bits)).toBe(judge);
        const fits = judge >= -(2 ** 31) && judge < 2 ** 31;
        const got = toInteger(binary64, inMode(rounding), bits, { width: 32, signed: true });
        expect(Number(BigInt.asIntN(32, got.bits))).toBe(fits ? judge + 0 : -(2 ** 31));
        expect(got.exceptions).toBe(fits ? (judge === doubleValue(bits) ? 0 : Inexact) : Invalid);
      }),
    );
  });
  it.each([
    [0.5, 0],
    [1.5, 2],
    [2.5, 2],
    [-2.5, -2],
    [2.5000000000000004, 3],
  ])('%d is nearest to %d', (value, integer) => {
    expect(doubleValue(roundToIntegral(binary64, masked(), doubleBits(value)).bits)).toBe(integer);
  });
  it('an integer of 64 bits becomes the number that JavaScript makes of it, and is kept by double extended precision', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }), (integer) => {
        expect(doubleValue(fromInteger(binary64, masked(), integer).bits)).toBe(Number(integer));
        const kept = fromInteger(extended80, masked({ precision: 24 }), integer);
        const back = toInteger(extended80, masked(), kept.bits, { width: 64, signed: true });
        expect([kept.exceptions, back.exceptions, BigInt.asIntN(64, back.bits)]).toEqual([0, 0, integer]);
      }),
    );
  });
  it.each([
    { value: -1, type: { width: 32, signed: false }, bits: 0xffff_ffffn, exceptions: Invalid },
    { value: -0.5, type: { width: 32, signed: false }, bits: 0n, exceptions: Inexact },
    { value: 2 ** 32 - 1, type: { width: 32, signed: false }, bits: 0xffff_ffffn, exceptions: 0 },
    { value: 40000, type: { width: 16, signed: true }, bits: 0x8000n, exceptions: Invalid },
    { value: -32768.25, type: { width: 16, signed: true }, bits: 0x8000n, exceptions: Inexact },
    { value: 2 ** 63, type: { width: 64, signed: true }, bits: 1n << 63n, exceptions: Invalid },
    { value: 1e300, type: { width: 64, signed: true }, bits: 1n << 63n, exceptions: Invalid },
    { value: 5e-324, type: { width: 64, signed: true }, bits: 0n, exceptions: Inexact },
  ])('$value as $type.width bits, signed $type.signed', ({ value, type, bits, exceptions }) => {
    expect(toInteger(binary64, masked(), doubleBits(value), type)).toMatchObject({ bits, exceptions });
  });
});

describe('comparison', () => {
  it('is that of JavaScript', () => {
    const relation = (a: number, b: number) => (a < b ? 'less' : a > b ? 'greater' : a === b ? 'equal' : 'unordered');
    fc.assert(
      fc.property(encodings(binary64), encodings(binary64), fc.boolean(), (a, other, same) => {
        const b = same ? a : other;
        expect(compare(binary64, masked(), a, b, 'quiet').relation).toBe(relation(doubleValue(a), doubleValue(b)));
      }),
    );
  });
  it.each([
    { what: 'QNaN, quiet', a: 0x7fc00000n, kind: 'quiet', exceptions: 0 },
    { what: 'QNaN, signalling', a: 0x7fc00000n, kind: 'signalling', exceptions: Invalid },
    { what: 'SNaN, quiet', a: 0x7f800001n, kind: 'quiet', exceptions: Invalid },
    { what: 'denormal', a: 1n, kind: 'quiet', exceptions: Denormal },
  ] as const)('reports $what', ({ a, kind, exceptions }) => {
    expect(compare(binary32, masked(), a, singleBits(1), kind).exceptions).toBe(exceptions);
  });
  it.each([
    { what: 'of zeros the second', a: singleBits(-0), b: 0n, least: 0n, most: 0n },
    { what: 'the second if the first is a NaN', a: 0x7fc00000n, b: 5n, least: 5n, most: 5n },
    { what: 'the second, unchanged, if it is a NaN', a: 5n, b: 0x7f800001n, least: 0x7f800001n, most: 0x7f800001n },
    { what: 'numbers', a: singleBits(-1), b: singleBits(2), least: singleBits(-1), most: singleBits(2) },
  ])('minimum and maximum: $what', ({ a, b, least, most }) => {
    expect(minimum(binary32, masked(), a, b).bits).toBe(least);
    expect(maximum(binary32, masked(), a, b).bits).toBe(most);
  });
});
