interface FloatFormat {
  readonly exponentBits: number;
  readonly mantissaBits: number;
  /** The x87 format stores its leading one. */
  readonly explicitOne: boolean;
}

const FORMATS: Readonly<Record<number, FloatFormat>> = {
  1: { exponentBits: 4, mantissaBits: 3, explicitOne: false },
  2: { exponentBits: 5, mantissaBits: 10, explicitOne: false },
  4: { exponentBits: 8, mantissaBits: 23, explicitOne: false },
  8: { exponentBits: 11, mantissaBits: 52, explicitOne: false },
  10: { exponentBits: 15, mantissaBits: 63, explicitOne: true },
  16: { exponentBits: 15, mantissaBits: 112, explicitOne: false },
};

/** Decimal exponents beyond this are infinity or zero in every format. */
const MAXIMUM_EXPONENT = 20_000;

/**
 * The bits of a floating-point constant in the format of `sizeBytes` bytes, rounded to nearest even, or undefined for
 * a size that has no format or a text that is no constant.
 */
export function encodeFloat(text: string, sizeBytes: number, negative: boolean): bigint | undefined {
  const format = FORMATS[sizeBytes];
  if (format === undefined) return undefined;
  const sign = negative ? 1n << BigInt(sizeBytes * 8 - 1) : 0n;
  const special = specialBits(text, format);
  if (special !== undefined) return sign | special;
  const ratio = ratioOf(text.replaceAll('_', '').toLowerCase());
  if (ratio === undefined) return undefined;
  return sign | roundToFormat(ratio.numerator, ratio.denominator, format);
}

function specialBits(text: string, format: FloatFormat): bigint | undefined {
  const infinity = assembleBits(1n << BigInt(format.exponentBits), 0n, format) - assembleBits(1n, 0n, format);
  const one = format.explicitOne ? 1n << BigInt(format.mantissaBits) : 0n;
  const quiet = 1n << BigInt(format.mantissaBits - 1);
  const name = text.replace(/^__\??|\??__$/gu, '').toLowerCase();
  if (name === 'infinity') return infinity | one;
  if (name === 'nan' || name === 'qnan') return infinity | one | quiet;
  return name === 'snan' ? infinity | one | 1n : undefined;
}

function ratioOf(text: string): { numerator: bigint; denominator: bigint } | undefined {
  const hexadecimal = /^0x([\da-f]*)\.?([\da-f]*)(?:p([+-]?\d+))?$/u.exec(text);
  const decimal = hexadecimal ? null : /^(\d*)\.?(\d*)(?:e([+-]?\d+))?$/u.exec(text);
  const parts = hexadecimal ?? decimal;
  if (!parts) return undefined;
  const [, whole = '', fraction = '', exponentText = '0'] = parts;
  if (whole + fraction === '') return undefined;
  const exponent = Math.max(-MAXIMUM_EXPONENT, Math.min(MAXIMUM_EXPONENT, Number(exponentText)));
  const digits = BigInt(`${hexadecimal ? '0x' : ''}${whole}${fraction}`);
  const scale = hexadecimal ? exponent - 4 * fraction.length : exponent - fraction.length;
  const power = (hexadecimal ? 2n : 10n) ** BigInt(Math.abs(scale));
  return scale >= 0 ? { numerator: digits * power, denominator: 1n } : { numerator: digits, denominator: power };
}

function roundToFormat(numerator: bigint, denominator: bigint, format: FloatFormat): bigint {
  if (numerator === 0n) return 0n;
  const bias = (1 << (format.exponentBits - 1)) - 1;
  let exponent = bitLength(numerator) - bitLength(denominator);
  if (compareWithPower(numerator, denominator, exponent) < 0) exponent--;
  const subnormal = exponent < 1 - bias;
  const unit = (subnormal ? 1 - bias : exponent) - format.mantissaBits;
  const mantissa = divideRounding(
    unit < 0 ? numerator << BigInt(-unit) : numerator,
    unit > 0 ? denominator << BigInt(unit) : denominator,
  );
  const one = 1n << BigInt(format.mantissaBits);
  let biased = subnormal ? 0n : BigInt(exponent + bias);
  if (!subnormal && mantissa >= one * 2n) biased += 1n;
  if (subnormal && mantissa >= one) biased = 1n;
  const stored = mantissa >= one * 2n ? mantissa >> 1n : mantissa;
  const largest = (1n << BigInt(format.exponentBits)) - 1n;
  if (biased >= largest) return assembleBits(largest, format.explicitOne ? one : 0n, format);
  return assembleBits(biased, format.explicitOne ? stored : stored & (one - 1n), format);
}

function assembleBits(exponent: bigint, mantissa: bigint, format: FloatFormat): bigint {
  return (exponent << BigInt(format.mantissaBits + (format.explicitOne ? 1 : 0))) | mantissa;
}

function bitLength(value: bigint): number {
  return value.toString(2).length;
}

/** The sign of numerator/denominator - 2**exponent. */
function compareWithPower(numerator: bigint, denominator: bigint, exponent: number): number {
  const left = exponent < 0 ? numerator << BigInt(-exponent) : numerator;
  const right = exponent > 0 ? denominator << BigInt(exponent) : denominator;
  return left < right ? -1 : left > right ? 1 : 0;
}

function divideRounding(numerator: bigint, denominator: bigint): bigint {
  const quotient = numerator / denominator;
  const twice = (numerator % denominator) * 2n;
  return twice > denominator || (twice === denominator && (quotient & 1n) === 1n) ? quotient + 1n : quotient;
}
