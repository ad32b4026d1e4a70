/**
 * Addition, subtraction and multiplication of double extended numbers with 32-bit halves instead of bigints, for what is
 * ordinary: normal operands, full precision, a result that is normal. A test holds it against engine/float.
 */
import type { RoundingMode } from '../../float/environment.ts';
import { goesUp } from '../../float/round.ts';
import type { CpuState } from '../state.ts';
import { x87Address } from '../state-layout.ts';

/** A register: sign and exponent, and the halves of the significand, all unsigned. */
export interface Parts {
  signExponent: number;
  high: number;
  low: number;
}

export const partsOf = (): Parts => ({ signExponent: 0, high: 0, low: 0 });

const BIAS = 16383;
const EXPONENT = 0x7fff;
const SIGN = 0x8000;
const LARGEST_EXPONENT = 0x7ffe;
const TOP_BIT = 0x8000_0000;
const WORD = 0x1_0000_0000;

export function loadRegister({ view }: CpuState, n: number, into: Parts): void {
  const at = x87Address(n);
  into.low = view.getUint32(at, true);
  into.high = view.getUint32(at + 4, true);
  into.signExponent = view.getUint16(at + 8, true);
}

export function loadBits(bits: bigint, into: Parts): void {
  into.low = Number(bits & 0xffff_ffffn);
  into.high = Number((bits >> 32n) & 0xffff_ffffn);
  into.signExponent = Number(bits >> 64n);
}

export function storeRegister({ view }: CpuState, n: number, from: Parts): void {
  const at = x87Address(n);
  view.setUint32(at, from.low, true);
  view.setUint32(at + 4, from.high, true);
  view.setUint16(at + 8, from.signExponent, true);
}

/** How a result came about; `Other` says that nothing was computed. */
export const Outcome = { Other: 0, Exact: 1, Inexact: 2, RoundedUp: 3 } as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

const isNormal = ({ signExponent, high }: Parts): boolean => {
  const exponent = signExponent & EXPONENT;
  return exponent !== 0 && exponent !== EXPONENT && high >= TOP_BIT;
};

/** A significand before it is rounded: the halves to keep, the 32 bits below, and whether any bit further down is set. */
const raw = { high: 0, low: 0, below: 0, sticky: false };

/** Rounds `raw` and stores the result, unless it is not normal. */
function finish(result: Parts, negative: boolean, exponent: number, rounding: RoundingMode): Outcome {
  const { below, sticky } = raw;
  let { high, low } = raw;
  const inexact = below !== 0 || sticky;
  const toNearest = below > TOP_BIT || (below === TOP_BIT && (sticky || (low & 1) === 1));
  const up = inexact && goesUp(negative, toNearest, rounding);
  let power = exponent;
  if (up) {
    low = low === WORD - 1 ? 0 : low + 1;
    if (low === 0) high = high === WORD - 1 ? 0 : high + 1;
    if (low === 0 && high === 0) [high, power] = [TOP_BIT, exponent + 1];
  }
  if (power < 1 || power > LARGEST_EXPONENT) return Outcome.Other;
  result.signExponent = (negative ? SIGN : 0) | power;
  result.high = high;
  result.low = low;
  return inexact ? (up ? Outcome.RoundedUp : Outcome.Inexact) : Outcome.Exact;
}

/** The product of two 32-bit numbers: its halves. */
let productHigh = 0;
let productLow = 0;
function multiply32(a: number, b: number): void {
  const [aHigh, aLow, bHigh, bLow] = [a >>> 16, a & 0xffff, b >>> 16, b & 0xffff];
  const lowest = aLow * bLow;
  const middle = aLow * bHigh + aHigh * bLow + (lowest >>> 16);
  productLow = (((middle & 0xffff) << 16) | (lowest & 0xffff)) >>> 0;
  productHigh = aHigh * bHigh + Math.floor(middle / 0x1_0000);
}

/** result := a × b. */
export function multiply(a: Parts, b: Parts, result: Parts, rounding: RoundingMode): Outcome {
  if (!isNormal(a) || !isNormal(b)) return Outcome.Other;
  multiply32(a.low, b.low);
  const [carried, lowest] = [productHigh, productLow];
  multiply32(a.high, b.low);
  const [crossHigh, crossLow] = [productHigh, productLow];
  multiply32(a.low, b.high);
  const second = carried + crossLow + productLow;
  const third = crossHigh + productHigh + Math.floor(second / WORD);
  multiply32(a.high, b.high);
  const upper = third + productLow;
  raw.high = productHigh + Math.floor(upper / WORD);
  raw.low = upper % WORD;
  raw.below = second % WORD;
  raw.sticky = lowest !== 0;
  const negative = ((a.signExponent ^ b.signExponent) & SIGN) !== 0;
  const exponent = (a.signExponent & EXPONENT) + (b.signExponent & EXPONENT) - BIAS + 1;
  if (raw.high >= TOP_BIT) return finish(result, negative, exponent, rounding);
  moveLeft(1, lowest >>> 31);
  raw.sticky = (lowest & 0x7fff_ffff) !== 0;
  return finish(result, negative, exponent - 1, rounding);
}

/** Moves `raw` up by 1 to 31 bits; `entering` come in from below. */
function moveLeft(by: number, entering: number): void {
  const { high, low, below } = raw;
  raw.high = ((high << by) | (low >>> (32 - by))) >>> 0;
  raw.low = ((low << by) | (below >>> (32 - by))) >>> 0;
  raw.below = ((below << by) | entering) >>> 0;
}

/** Beyond this distance nothing is left of the smaller term but that it was there. */
const FAR = 160;

/** The smaller term, moved right into `raw`. */
function shiftRight({ high, low }: Parts, by: number): void {
  let [first, second, third, out] = [high, low, 0, 0];
  let rest = Math.min(by, FAR);
  for (; rest >= 32; rest -= 32) {
    out |= third;
    [first, second, third] = [0, first, second];
  }
  if (rest > 0) {
    out |= third << (32 - rest);
    third = ((third >>> rest) | (second << (32 - rest))) >>> 0;
    second = ((second >>> rest) | (first << (32 - rest))) >>> 0;
    first >>>= rest;
  }
  raw.high = first;
  raw.low = second;
  raw.below = third;
  raw.sticky = out !== 0;
}

const magnitudeOrder = (a: Parts, b: Parts): number =>
  (a.signExponent & EXPONENT) - (b.signExponent & EXPONENT) || a.high - b.high || a.low - b.low;

/** result := a + b. */
export function add(a: Parts, b: Parts, result: Parts, rounding: RoundingMode): Outcome {
  if (!isNormal(a) || !isNormal(b)) return Outcome.Other;
  const [larger, smaller] = magnitudeOrder(a, b) >= 0 ? [a, b] : [b, a];
  shiftRight(smaller, (larger.signExponent & EXPONENT) - (smaller.signExponent & EXPONENT));
  const isSum = ((a.signExponent ^ b.signExponent) & SIGN) === 0;
  return isSum ? sum(larger, result, rounding) : difference(larger, result, rounding);
}

/** The larger term and the shifted one. */
function sum(larger: Parts, result: Parts, rounding: RoundingMode): Outcome {
  const lower = larger.low + raw.low;
  const upper = larger.high + raw.high + (lower >= WORD ? 1 : 0);
  const exponent = larger.signExponent & EXPONENT;
  const negative = (larger.signExponent & SIGN) !== 0;
  raw.high = upper % WORD;
  raw.low = lower % WORD;
  if (upper < WORD) return finish(result, negative, exponent, rounding);
  const { high, low, below } = raw;
  raw.high = (TOP_BIT | (high >>> 1)) >>> 0;
  raw.low = ((high << 31) | (low >>> 1)) >>> 0;
  raw.below = ((low << 31) | (below >>> 1)) >>> 0;
  raw.sticky ||= (below & 1) !== 0;
  return finish(result, negative, exponent + 1, rounding);
}

/** The larger term less the shifted one. What was moved out of `raw` counts for one more unit, of which a part stays. */
function difference(larger: Parts, result: Parts, rounding: RoundingMode): Outcome {
  let below = -raw.below - (raw.sticky ? 1 : 0);
  let low = larger.low - raw.low;
  let high = larger.high - raw.high;
  if (below < 0) [below, low] = [below + WORD, low - 1];
  if (low < 0) [low, high] = [low + WORD, high - 1];
  // The sign of a zero is not for here.
  if (high === 0 && low === 0 && below === 0) return Outcome.Other;
  let exponent = larger.signExponent & EXPONENT;
  while (high === 0) [high, low, below, exponent] = [low, below, 0, exponent - 32];
  raw.high = high;
  raw.low = low;
  raw.below = below;
  const shift = Math.clz32(high);
  if (shift > 0) moveLeft(shift, 0);
  return finish(result, (larger.signExponent & SIGN) !== 0, exponent - shift, rounding);
}

/** result := a - b. `b` comes back negated. */
export function subtract(a: Parts, b: Parts, result: Parts, rounding: RoundingMode): Outcome {
  b.signExponent ^= SIGN;
  return add(a, b, result, rounding);
}
