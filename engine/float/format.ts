/** The floating-point formats of x86: how wide their fields are, and the encodings of what is not a number. */

export interface FieldWidths {
  readonly name: string;
  readonly exponentBits: number;
  /** Bits of the significand, the integer bit included whether it is stored or not. */
  readonly precision: number;
  /** The integer bit is stored (double extended), so that encodings exist that no operation produces. */
  readonly explicitIntegerBit: boolean;
}

export class FloatFormat {
  readonly name: string;
  readonly precision: number;
  readonly explicitIntegerBit: boolean;
  /** Width of an encoding in bits. */
  readonly width: number;
  /** Bits of the significand that are stored. */
  readonly storedBits: bigint;
  readonly storedMask: bigint;
  /** The exponent field of infinities and NaNs; also the mask of that field. */
  readonly specialExponent: number;
  readonly bias: number;
  /** Exponents of the smallest and the largest normal number, where 1 has exponent 0. */
  readonly minExponent: number;
  readonly maxExponent: number;
  /** The highest bit of the fraction: set in quiet NaNs. */
  readonly quietBit: bigint;
  /** Bits of the fraction, without any integer bit. */
  readonly fractionBits: number;
  readonly signBit: bigint;
  readonly integerBit: bigint;
  /** What an invalid operation gives: "real indefinite", a negative quiet NaN. */
  readonly defaultNaN: bigint;

  constructor({ name, exponentBits, precision, explicitIntegerBit }: FieldWidths) {
    const stored = explicitIntegerBit ? precision : precision - 1;
    this.name = name;
    this.precision = precision;
    this.explicitIntegerBit = explicitIntegerBit;
    this.width = 1 + exponentBits + stored;
    this.storedBits = BigInt(stored);
    this.storedMask = (1n << this.storedBits) - 1n;
    this.specialExponent = 2 ** exponentBits - 1;
    this.bias = 2 ** (exponentBits - 1) - 1;
    this.minExponent = 1 - this.bias;
    this.maxExponent = this.bias;
    this.fractionBits = precision - 1;
    this.quietBit = 1n << BigInt(precision - 2);
    this.signBit = 1n << BigInt(exponentBits + stored);
    this.integerBit = explicitIntegerBit ? 1n << BigInt(precision - 1) : 0n;
    this.defaultNaN = this.nan(true, this.quietBit);
  }

  /** The encoding made of its three fields. `stored` has the integer bit if the format stores it. */
  encode(negative: boolean, exponentField: number, stored: bigint): bigint {
    return (negative ? this.signBit : 0n) | (BigInt(exponentField) << this.storedBits) | stored;
  }
  zero(negative: boolean): bigint {
    return negative ? this.signBit : 0n;
  }
  infinity(negative: boolean): bigint {
    return this.encode(negative, this.specialExponent, this.integerBit);
  }
  /** The finite number of largest magnitude whose significand has `precision` bits. */
  largest(negative: boolean, precision: number = this.precision): bigint {
    const cleared = BigInt(this.precision - precision);
    return this.encode(negative, this.specialExponent - 1, (this.storedMask >> cleared) << cleared);
  }
  /** A NaN with this fraction, which must not be 0. */
  nan(negative: boolean, fraction: bigint): bigint {
    return this.encode(negative, this.specialExponent, this.integerBit | fraction);
  }
}

export const binary16 = new FloatFormat({
  name: 'half precision',
  exponentBits: 5,
  precision: 11,
  explicitIntegerBit: false,
});
export const binary32 = new FloatFormat({
  name: 'single precision',
  exponentBits: 8,
  precision: 24,
  explicitIntegerBit: false,
});
export const binary64 = new FloatFormat({
  name: 'double precision',
  exponentBits: 11,
  precision: 53,
  explicitIntegerBit: false,
});
export const extended80 = new FloatFormat({
  name: 'double extended precision',
  exponentBits: 15,
  precision: 64,
  explicitIntegerBit: true,
});
