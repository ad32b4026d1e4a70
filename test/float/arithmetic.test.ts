import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { add, divide, multiply, multiplyAdd, squareRoot, subtract } from '../../engine/float/arithmetic.ts';
import { FloatException, type FloatResult, RoundingMode } from '../../engine/float/environment.ts';
import { binary32, binary64, extended80, type FloatFormat } from '../../engine/float/format.ts';
import { unpack } from '../../engine/float/unpack.ts';
import { doubleBits, doubleValue, encodings, formats, masked, singleBits, singleValue } from './reference.ts';

const { Invalid, Denormal, DivideByZero, Overflow, Underflow, Inexact } = FloatException;
const operations = [
  { name: 'addition', soft: add, judge: (a: number, b: number) => a + b },
  { name: 'subtraction', soft: subtract, judge: (a: number, b: number) => a - b },
  { name: 'multiplication', soft: multiply, judge: (a: number, b: number) => a * b },
  { name: 'division', soft: divide, judge: (a: number, b: number) => a / b },
];
const runs = { numRuns: 3000 };

describe.each(operations)('$name', ({ soft, judge }) => {
  it("gives JavaScript's doubles", () => {
    fc.assert(
      fc.property(encodings(binary64), encodings(binary64), (a, b) => {
        const got = soft(binary64, masked(), a, b).bits;
        expect(doubleValue(got)).toBe(judge(doubleValue(a), doubleValue(b)));
      }),
      runs,
    );
  });
  it('gives its doubles rounded to singles, which is innocuous for one operation', () => {
    fc.assert(
      fc.property(encodings(binary32), encodings(binary32), (a, b) => {
        const got = soft(binary32, masked(), a, b).bits;
        expect(singleValue(got)).toBe(Math.fround(judge(singleValue(a), singleValue(b))));
      }),
      runs,
    );
  });
  it.each(formats)(
    'in $name: the directed modes enclose the exact result, an ulp apart or equal if exact',
    (format) => {
      fc.assert(
        fc.property(encodings(format), encodings(format), (a, b) => {
          const [nearest, down, up, zero] = [0, 1, 2, 3].map((rounding) =>
            soft(format, masked({ rounding: rounding as RoundingMode }), a, b),
          ) as [FloatResult, FloatResult, FloatResult, FloatResult];
          if (unpack(format, nearest.bits).class.endsWith('NaN')) return;
          const inexact = (nearest.exceptions & Inexact) !== 0;
          const distance = ordinal(format, up.bits) - ordinal(format, down.bits);
          expect(distance).toBe(inexact ? 1n : 0n);
          expect([down.bits, up.bits]).toContain(nearest.bits);
          const towardsZero = nearest.bits & format.signBit ? up : down;
          if (inexact) expect(zero.bits).toBe(towardsZero.bits);
        }),
        { numRuns: 1000 },
      );
    },
  );
});

/** Neighbouring numbers have neighbouring ordinals; both zeros have the ordinal 0. */
function ordinal(format: FloatFormat, bits: bigint): bigint {
  const { class: kind, negative } = unpack(format, bits);
  const exponent = (bits & ~format.signBit) >> format.storedBits;
  const fraction = bits & format.storedMask & ~format.integerBit;
  const magnitude = kind === 'zero' ? 0n : (exponent << BigInt(format.fractionBits)) | fraction;
  return negative ? -magnitude : magnitude;
}

describe('square root', () => {
  it("gives JavaScript's doubles", () => {
    fc.assert(
      fc.property(encodings(binary64), (a) => {
        expect(doubleValue(squareRoot(binary64, masked(), a).bits)).toBe(Math.sqrt(doubleValue(a)));
      }),
      runs,
    );
  });
  it('is exact for squares in double extended precision, and inexact beside them', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 1n << 31n, max: (1n << 32n) - 1n }), (root) => {
        const square = (value: bigint) => extended80.encode(false, extended80.bias + 63, value);
        const normalized = root * root >= 1n << 63n;
        fc.pre(normalized);
        expect(squareRoot(extended80, masked(), square(root * root)).exceptions).toBe(0);
        expect(squareRoot(extended80, masked(), square(root * root - 1n)).exceptions).toBe(Inexact);
      }),
    );
  });
});

describe('fused multiply-add', () => {
  it.each(formats)('in $name: with an addend of -0 it is a product, with a factor of 1 a sum', (format) => {
    const one = format.encode(false, format.bias, format.integerBit);
    fc.assert(
      fc.property(encodings(format), encodings(format), fc.integer({ min: 0, max: 3 }), (a, b, rounding) => {
        const environment = masked({ rounding: rounding as RoundingMode });
        const anyNaN = [a, b].some((bits) => unpack(format, bits).class.endsWith('NaN'));
        fc.pre(!anyNaN);
        expect(multiplyAdd(format, environment, a, one, b)).toEqual(add(format, environment, a, b));
        const product = multiply(format, environment, a, b);
        const signOfZero = product.bits & format.signBit ? format.zero(true) : format.zero(false);
        expect(multiplyAdd(format, environment, a, b, signOfZero)).toEqual(product);
      }),
    );
  });
  it('keeps the low half of a product', () => {
    const a = doubleBits(1 + 2 ** -52);
    const rounded = multiply(binary64, masked(), a, a).bits;
    const error = multiplyAdd(binary64, masked(), a, a, rounded ^ binary64.signBit);
    expect([doubleValue(error.bits), error.exceptions]).toEqual([2 ** -104, 0]);
  });
});

describe('exceptions', () => {
  const single = (value: number) => singleBits(value);
  const nan = 0x7f800001n;
  const rows = [
    { what: '∞ - ∞', got: add(binary32, masked(), single(Infinity), single(-Infinity)), exceptions: Invalid },
    { what: '0 × ∞', got: multiply(binary32, masked(), 0n, single(Infinity)), exceptions: Invalid },
    { what: '0 / 0', got: divide(binary32, masked(), 0n, 0n), exceptions: Invalid },
    { what: '√-1', got: squareRoot(binary32, masked(), single(-1)), exceptions: Invalid },
    { what: '1 + SNaN', got: add(binary32, masked(), single(1), nan), exceptions: Invalid },
    { what: 'denormal × 1', got: multiply(binary32, masked(), 1n, single(1)), exceptions: Denormal },
    { what: 'SNaN + denormal', got: add(binary32, masked(), nan, 1n), exceptions: Invalid },
    { what: '1 / 0', got: divide(binary32, masked(), single(1), 0n), exceptions: DivideByZero },
    { what: 'denormal / 0', got: divide(binary32, masked(), 1n, 0n), exceptions: DivideByZero },
    { what: 'QNaN / 0', got: divide(binary32, masked(), 0x7fc00000n, 0n), exceptions: 0 },
    {
      what: 'overflow',
      got: multiply(binary32, masked(), single(2e38), single(2)),
      exceptions: Overflow | Inexact,
    },
    {
      what: 'a tiny inexact result',
      got: multiply(binary32, masked(), single(2 ** -100), single(2 ** -27 + 2 ** -50)),
      exceptions: Underflow | Inexact,
    },
    {
      what: 'a tiny exact result',
      got: multiply(binary32, masked(), single(2 ** -100), single(2 ** -27)),
      exceptions: 0,
    },
    {
      what: 'a tiny exact result, flushed',
      got: multiply(binary32, masked({ flushToZero: true }), single(2 ** -100), single(2 ** -27)),
      exceptions: Underflow | Inexact,
    },
    {
      what: 'a tiny exact result, underflow unmasked',
      got: multiply(binary32, masked({ masks: 0x2f }), single(2 ** -100), single(2 ** -27)),
      exceptions: Underflow,
    },
    {
      what: 'denormals as zeros',
      got: divide(binary32, masked({ denormalsAreZero: true }), 1n, 1n),
      exceptions: Invalid,
    },
  ];
  it.each(rows)('$what', ({ got, exceptions }) => expect(got.exceptions).toBe(exceptions));

  it('tininess is found after rounding: what rounds to the smallest normal number at full precision is not tiny', () => {
    const justBelow = singleBits(1 - 2 ** -24);
    const got = multiply(binary32, masked(), justBelow, singleBits(2 ** -126 * (1 + 2 ** -23)));
    expect(got).toMatchObject({ bits: singleBits(2 ** -126), exceptions: Inexact });
  });
});

describe('NaNs', () => {
  it('SSE: the first operand that is one, made quiet', () => {
    expect(add(binary32, masked(), 0x7f800001n, 0x7fc00002n).bits).toBe(0x7fc00001n);
    expect(add(binary32, masked(), singleBits(1), 0xff800002n).bits).toBe(0xffc00002n);
  });
  it('x87: a quiet one before a signalling one, then the larger significand, then the positive one', () => {
    const x87 = masked({ rules: 'x87' });
    const quiet = (negative: boolean, low: bigint) => extended80.nan(negative, extended80.quietBit | low);
    const signalling = extended80.nan(false, 0xffn);
    expect(add(extended80, x87, signalling, quiet(true, 1n)).bits).toBe(quiet(true, 1n));
    expect(add(extended80, x87, quiet(false, 1n), quiet(true, 2n)).bits).toBe(quiet(true, 2n));
    expect(add(extended80, x87, quiet(true, 2n), quiet(false, 2n)).bits).toBe(quiet(false, 2n));
  });
  it('an encoding that is none gives the default NaN', () => {
    const unnormal = extended80.encode(false, extended80.bias, 1n);
    const got = add(extended80, masked({ rules: 'x87' }), unnormal, extended80.nan(false, extended80.quietBit | 1n));
    expect(got).toMatchObject({ bits: extended80.defaultNaN, exceptions: Invalid });
  });
});

describe('double extended precision', () => {
  const one = extended80.encode(false, extended80.bias, 1n << 63n);
  const three = extended80.encode(false, extended80.bias + 1, 3n << 62n);
  it.each([
    { precision: 24, significand: 0xaaaaab0000000000n },
    { precision: 53, significand: 0xaaaaaaaaaaaaa800n },
    { precision: undefined, significand: 0xaaaaaaaaaaaaaaabn },
  ])('1/3 with precision $precision', ({ precision, significand }) => {
    const got = divide(extended80, masked({ rules: 'x87', precision }), one, three);
    expect(got.bits).toBe(extended80.encode(false, extended80.bias - 2, significand));
  });
  it.each([
    { what: 'overflow', masks: 0x37, factor: 0x6000, exponent: 2 * (0x6000 - 0x3fff) - 24576, exceptions: Overflow },
    { what: 'underflow', masks: 0x2f, factor: 0x1000, exponent: 2 * (0x1000 - 0x3fff) + 24576, exceptions: Underflow },
  ])('an unmasked $what adjusts the exponent', ({ masks, factor, exponent, exceptions }) => {
    const operand = extended80.encode(false, factor, 1n << 63n);
    const got = multiply(extended80, masked({ rules: 'x87', masks }), operand, operand);
    expect(got.bits).toBe(extended80.encode(false, exponent + extended80.bias, 1n << 63n));
    expect(got.exceptions).toBe(exceptions);
  });
  it('says whether rounding went up', () => {
    expect(divide(extended80, masked({ rules: 'x87' }), one, three).roundedUp).toBe(true);
    expect(divide(extended80, masked({ rules: 'x87', rounding: RoundingMode.Zero }), one, three).roundedUp).toBe(false);
  });
});
