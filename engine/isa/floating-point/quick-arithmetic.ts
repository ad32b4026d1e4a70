/**
 * Arithmetic with JavaScript's numbers that also tells how the rounded result compares with the exact one, which gives the
 * other rounding modes and the precision exception without BigInt. Where a method does not hold (results near the limits of
 * double precision), the result is a NaN, which nobody uses.
 */

/** A result rounded to nearest; `residue` then has the sign of (exact result - rounded result), 0 if it is exact. */
export type QuickOperation = (a: number, b: number, c: number) => number;

let residue = 0;
/** What the last operation left. */
export const lastResidue = (): number => residue;

// ---- double precision: error-free transformations -------------------------------------------------------------------------

/** The rounding error of sum = a + b, by Knuth's method. */
function sumError(a: number, b: number, sum: number): number {
  const other = sum - a;
  return a - (sum - other) + (b - other);
}

/** Of these magnitudes no step of `productError` overflows or loses bits to underflow. */
const LEAST = 2 ** -960;
const MOST = 2 ** 960;
const isModerate = (a: number): boolean => Math.abs(a) > LEAST && Math.abs(a) < MOST;

const SPLITTER = 2 ** 27 + 1;
/** The rounding error of product = a × b, by Dekker's method. */
function productError(a: number, b: number, product: number): number {
  const scaledA = SPLITTER * a;
  const highA = scaledA - (scaledA - a);
  const lowA = a - highA;
  const scaledB = SPLITTER * b;
  const highB = scaledB - (scaledB - b);
  const lowB = b - highB;
  return highA * highB - product + highA * lowB + lowA * highB + lowA * lowB;
}

const addDouble: QuickOperation = (a, b) => {
  const sum = a + b;
  residue = sumError(a, b, sum);
  return sum;
};
const subtractDouble: QuickOperation = (a, b) => addDouble(a, -b, 0);

const multiplyDouble: QuickOperation = (a, b) => {
  const product = a * b;
  residue = 0;
  if (a === 0 || b === 0) return product;
  if (!isModerate(a) || !isModerate(b) || !isModerate(product)) return Number.NaN;
  residue = productError(a, b, product);
  return product;
};

/** What is left of a after quotient × b was taken away, which is exact. */
function remainder(a: number, quotient: number, b: number): number {
  const product = quotient * b;
  return a - product - productError(quotient, b, product);
}

const divideDouble: QuickOperation = (a, b) => {
  const quotient = a / b;
  residue = 0;
  if (b === 0) return Number.NaN;
  if (a === 0) return quotient;
  if (!isModerate(a) || !isModerate(b) || !isModerate(quotient)) return Number.NaN;
  residue = b < 0 ? -remainder(a, quotient, b) : remainder(a, quotient, b);
  return quotient;
};

const squareRootDouble: QuickOperation = (a) => {
  const root = Math.sqrt(a);
  residue = 0;
  if (a === 0) return root;
  if (!isModerate(a)) return Number.NaN;
  residue = remainder(a, root, root);
  return root;
};

const words = new Uint32Array(2);
const value = new Float64Array(words.buffer);

/** The sum rounded to odd: an inexact one is that of its two neighbours whose last bit is 1. Leaves its error in `residue`. */
function sumToOdd(a: number, b: number): number {
  const sum = a + b;
  const error = sumError(a, b, sum);
  residue = error;
  if (error === 0) return sum;
  value[0] = sum;
  if ((words[0] as number) & 1) return sum;
  if (error > 0 === sum > 0) words[0] = (words[0] as number) + 1;
  else if (words[0] === 0) {
    words[0] = 0xffff_ffff;
    words[1] = (words[1] as number) - 1;
  } else words[0] = (words[0] as number) - 1;
  residue = sum - (value[0] as number) + error;
  return value[0] as number;
}

/** By Boldo and Melquiond: the lower parts of product and sum are added with rounding to odd, then the upper one to them. */
const multiplyAddDouble: QuickOperation = (a, b, c) => {
  const product = a * b;
  if (a === 0 || b === 0) return addDouble(product, c, 0);
  if (!isModerate(a) || !isModerate(b) || !isModerate(product) || !(c === 0 || isModerate(c))) return Number.NaN;
  const low = productError(a, b, product);
  const middle = c + low;
  const middleError = sumError(c, low, middle);
  const high = product + middle;
  const rest = sumToOdd(middleError, sumError(product, middle, high));
  const restError = residue;
  const sum = high + rest;
  residue = sumError(high, rest, sum) || restError;
  return sum;
};

// ---- single precision: twice rounding from double precision does no harm to one operation ---------------------------------------

/** Rounds a double that is at most `error` (far below its last bit) from the exact result. */
function toSingle(wide: number, error: number): number {
  const narrow = Math.fround(wide);
  residue = wide - narrow || error;
  return narrow;
}

const addSingle: QuickOperation = (a, b) => {
  const sum = a + b;
  return toSingle(sum, sumError(a, b, sum));
};
const subtractSingle: QuickOperation = (a, b) => addSingle(a, -b, 0);
/** The product of two singles is a double. */
const multiplySingle: QuickOperation = (a, b) => toSingle(a * b, 0);

const divideSingle: QuickOperation = (a, b) => {
  if (b === 0) return Number.NaN;
  const quotient = Math.fround(a / b);
  const rest = a - quotient * b;
  residue = b < 0 ? -rest : rest;
  return quotient;
};
const squareRootSingle: QuickOperation = (a) => {
  const root = Math.fround(Math.sqrt(a));
  residue = a - root * root;
  return root;
};
/** A sum rounded to odd can be rounded again without harm. */
const multiplyAddSingle: QuickOperation = (a, b, c) => {
  const wide = sumToOdd(a * b, c);
  return toSingle(wide, residue);
};

/** By the width of the lanes. */
export const quick = {
  add: { 32: addSingle, 64: addDouble },
  subtract: { 32: subtractSingle, 64: subtractDouble },
  multiply: { 32: multiplySingle, 64: multiplyDouble },
  divide: { 32: divideSingle, 64: divideDouble },
  squareRoot: { 32: squareRootSingle, 64: squareRootDouble },
  multiplyAdd: { 32: multiplyAddSingle, 64: multiplyAddDouble },
} as const satisfies Readonly<Record<string, Readonly<Record<32 | 64, QuickOperation>>>>;
