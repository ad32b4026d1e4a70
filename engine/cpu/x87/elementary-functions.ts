/**
 * Sine, cosine, logarithm and so on with many more digits than the x87 keeps. Numbers are fixed-point: bigints in units
 * of 2^-precision. Results are cut, not rounded, and off by a few units.
 */

/** Terms of a power series are added until they vanish. */
function series(first: bigint, next: (term: bigint, n: bigint) => bigint, part: (term: bigint, n: bigint) => bigint) {
  let sum = 0n;
  for (let [term, n] = [first, 0n]; term !== 0n; term = next(term, n), n++) sum += part(term, n);
  return sum;
}

/** The inverse hyperbolic tangent (`sign` 1) or the inverse tangent (-1) of z, below about a third. */
function inverseTangent(z: bigint, precision: bigint, sign: 1n | -1n): bigint {
  const square = (z * z) >> precision;
  // What is negative is cut downwards and would never vanish, so the powers themselves stay positive.
  return series(
    z,
    (power) => (power * square) >> precision,
    (power, n) => (sign === -1n && n % 2n === 1n ? -power : power) / (2n * n + 1n),
  );
}

const CONSTANT_PRECISION = 640n;

/** 1 / n, in units of 2^-precision. */
const reciprocal = (n: bigint, precision: bigint): bigint => (1n << precision) / n;

/** ln 2 is twice the inverse hyperbolic tangent of 1/3. */
const LN2 = 2n * inverseTangent(reciprocal(3n, CONSTANT_PRECISION), CONSTANT_PRECISION, 1n);
/** Machin's formula. */
const PI =
  16n * inverseTangent(reciprocal(5n, CONSTANT_PRECISION), CONSTANT_PRECISION, -1n) -
  4n * inverseTangent(reciprocal(239n, CONSTANT_PRECISION), CONSTANT_PRECISION, -1n);

export const ln2 = (precision: bigint): bigint => LN2 >> (CONSTANT_PRECISION - precision);
export const pi = (precision: bigint): bigint => PI >> (CONSTANT_PRECISION - precision);

const magnitude = (value: bigint): bigint => (value < 0n ? -value : value);

/** 2^x - 1, for x between -1 and 1. */
export function powerOfTwoLess1(x: bigint, precision: bigint): bigint {
  const t = (magnitude(x) * ln2(precision)) >> precision;
  const isNegative = x < 0n;
  return series(
    t,
    (term, n) => ((term * t) >> precision) / (n + 2n),
    (term, n) => (isNegative && n % 2n === 0n ? -term : term),
  );
}

/** log2 of a/b, both positive, for a ratio between 1/2 and 2: from the inverse hyperbolic tangent of (a - b) / (a + b). */
export function logarithmOfRatio(a: bigint, b: bigint, precision: bigint): bigint {
  const isNegative = a < b;
  const z = (magnitude(a - b) << precision) / (a + b);
  const log = ((2n * inverseTangent(z, precision, 1n)) << precision) / ln2(precision);
  return isNegative ? -log : log;
}

/** Sine of r, for r between 0 and π/4. */
export function sine(r: bigint, precision: bigint): bigint {
  const square = (r * r) >> precision;
  return series(
    r,
    (term, n) => ((term * square) >> precision) / ((2n * n + 2n) * (2n * n + 3n)),
    (term, n) => (n % 2n === 1n ? -term : term),
  );
}

/** Cosine of r, for r between 0 and π/4. */
export function cosine(r: bigint, precision: bigint): bigint {
  const square = (r * r) >> precision;
  return series(
    1n << precision,
    (term, n) => ((term * square) >> precision) / ((2n * n + 1n) * (2n * n + 2n)),
    (term, n) => (n % 2n === 1n ? -term : term),
  );
}

/** How often the argument of the inverse tangent is halved before its series converges fast enough. */
const HALVINGS = 3;

/** Inverse tangent of t, for t between 0 and 1. */
export function arcTangent(t: bigint, precision: bigint): bigint {
  const one = 1n << precision;
  let reduced = t;
  for (let n = 0; n < HALVINGS; n++) {
    const hypotenuse = squareRoot(one * one + reduced * reduced, precision);
    reduced = (reduced << precision) / (one + hypotenuse);
  }
  return inverseTangent(reduced, precision, -1n) << BigInt(HALVINGS);
}

/** The square root of a number between 2^(2 × precision) and four times that, cut: Newton's method, from above. */
function squareRoot(value: bigint, precision: bigint): bigint {
  let root = 2n << precision;
  for (;;) {
    const better = (root + value / root) >> 1n;
    if (better >= root) return root;
    root = better;
  }
}
