/** Floating-point values that arithmetic tests want, as their bits. */
import type { Random } from './random.ts';

interface Format {
  exponentBits: number;
  /** Without the integer bit. */
  fractionBits: number;
  hasIntegerBit: boolean;
}

const FORMATS: Record<number, Format> = {
  16: { exponentBits: 5, fractionBits: 10, hasIntegerBit: false },
  32: { exponentBits: 8, fractionBits: 23, hasIntegerBit: false },
  64: { exponentBits: 11, fractionBits: 52, hasIntegerBit: false },
  80: { exponentBits: 15, fractionBits: 63, hasIntegerBit: true },
};

/** Exponent field (biased) and fraction; `integerBit` is what the format implies unless said otherwise. */
interface Parts {
  exponent: number;
  fraction: bigint;
  integerBit?: 0 | 1;
}

type Maker = (format: Format, random: Random) => Parts;

const biasOf = ({ exponentBits }: Format) => 2 ** (exponentBits - 1) - 1;
const maximumOf = ({ exponentBits }: Format) => 2 ** exponentBits - 1;
const allOnes = ({ fractionBits }: Format) => (1n << BigInt(fractionBits)) - 1n;
const quietBit = ({ fractionBits }: Format) => 1n << BigInt(fractionBits - 1);

/** All of its bits random, or few of them, so that exact results and ties come about. */
function fractionOf(format: Format, random: Random): bigint {
  const all = random.bits(format.fractionBits);
  const few = 1 + random.below(12);
  const sparse =
    (all >> BigInt(Math.max(0, format.fractionBits - few))) << BigInt(Math.max(0, format.fractionBits - few));
  return random.pick([all, all, sparse, sparse, 0n, allOnes(format), 1n]);
}

const ordinary: Maker = (format, random) => ({
  exponent: biasOf(format) + random.below(9) - 4,
  fraction: fractionOf(format, random),
});
const wide: Maker = (format, random) => ({
  exponent: Math.max(1, Math.min(maximumOf(format) - 1, biasOf(format) + random.below(140) - 70)),
  fraction: fractionOf(format, random),
});
const anyNormal: Maker = (format, random) => ({
  exponent: 1 + random.below(maximumOf(format) - 1),
  fraction: fractionOf(format, random),
});
/** Products and quotients of these come near overflow and underflow. */
const halfway: Maker = (format, random) => {
  const half = biasOf(format) >> 1;
  return {
    exponent: biasOf(format) + random.pick([-half, half]) + random.below(9) - 4,
    fraction: fractionOf(format, random),
  };
};
const extreme: Maker = (format, random) => ({
  exponent: random.pick([1, 2, maximumOf(format) - 1, maximumOf(format) - 2]),
  fraction: fractionOf(format, random),
});
const zero: Maker = () => ({ exponent: 0, fraction: 0n });
const one: Maker = (format) => ({ exponent: biasOf(format), fraction: 0n });
const denormal: Maker = (format, random) => ({
  exponent: 0,
  fraction: random.pick([
    1n,
    allOnes(format),
    random.bits(format.fractionBits),
    1n << BigInt(random.below(format.fractionBits)),
  ]),
});
const infinity: Maker = (format) => ({ exponent: maximumOf(format), fraction: 0n });
const quiet: Maker = (format, random) => ({
  exponent: maximumOf(format),
  fraction: quietBit(format) | random.pick([0n, 1n, random.bits(format.fractionBits)]),
});
const signalling: Maker = (format, random) => ({
  exponent: maximumOf(format),
  fraction: (random.bits(format.fractionBits) & (quietBit(format) - 1n)) | random.pick([1n, 2n]),
});
/** Pseudo-denormal, unnormal, pseudo-infinity and pseudo-NaN: only formats with an integer bit have them. */
const unsupported: Maker = (format, random) => {
  const exponent = random.pick([0, 1 + random.below(maximumOf(format) - 1), maximumOf(format)]);
  return { exponent, fraction: random.pick([0n, fractionOf(format, random)]), integerBit: exponent === 0 ? 1 : 0 };
};

const MAKERS: Maker[] = [
  ...[ordinary, ordinary, ordinary, ordinary, wide, wide, anyNormal, halfway, extreme, zero, one],
  ...[denormal, infinity, quiet, signalling],
];

/** A value of a format, named by its width: zeros, denormals, infinities, NaNs, values near the limits, plain ones. */
export function interestingFloat(random: Random, bits: number): bigint {
  const format = FORMATS[bits];
  if (!format) throw new Error(`interestingFloat: expected 16, 32, 64 or 80 bits, found ${bits}`);
  const make = format.hasIntegerBit && random.oneIn(12) ? unsupported : random.pick(MAKERS);
  const { exponent, fraction, integerBit } = make(format, random);
  const sign = random.oneIn(2) ? 1n : 0n;
  const signed = (sign << BigInt(format.exponentBits)) | BigInt(exponent);
  if (!format.hasIntegerBit) return (signed << BigInt(format.fractionBits)) | fraction;
  const integer = BigInt(integerBit ?? (exponent === 0 ? 0 : 1));
  return (((signed << 1n) | integer) << BigInt(format.fractionBits)) | fraction;
}
