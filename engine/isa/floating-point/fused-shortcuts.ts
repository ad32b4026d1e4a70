/**
 * Shortcuts (see shortcuts.ts) of fused multiply-add, which WebAssembly does not have. In double precision the product and the
 * sum are split into rounded results and their exact errors; the errors are added with rounding to odd, so that the last
 * addition rounds as if it were the only one (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums").
 */
import { constant, type Expr, vector } from '../../expr/expr.ts';
import { binary64 } from '../../float/format.ts';
import { FloatLanes, type ShortcutOf, toNearest } from './shortcuts.ts';

type V = Expr<128>;
const doubles = new FloatLanes(binary64, 'packed');
const power = (exponent: number): V => doubles.everyLane(BigInt(exponent + 1023) << 52n);

const add = (a: V, b: V): V => doubles.binary('add', a, b);
const subtract = (a: V, b: V): V => doubles.binary('sub', a, b);
const multiply = (a: V, b: V): V => doubles.binary('mul', a, b);

/** The rounding error of sum = a + b (Knuth). */
function sumError(a: V, b: V, sum: V): V {
  const other = subtract(sum, a);
  return add(subtract(a, subtract(sum, other)), subtract(b, other));
}

/** 2^27 + 1. */
const SPLITTER = doubles.everyLane(0x41a0_0000_0200_0000n);
/** Two parts of 26 bits. */
function split(a: V): [high: V, low: V] {
  const scaled = multiply(SPLITTER, a);
  const high = subtract(scaled, subtract(scaled, a));
  return [high, subtract(a, high)];
}
/** The rounding error of product = a × b (Dekker). */
function productError(a: V, b: V, product: V): V {
  const [highA, lowA] = split(a);
  const [highB, lowB] = split(b);
  const rest = add(subtract(multiply(highA, highB), product), multiply(highA, lowB));
  return add(add(rest, multiply(lowA, highB)), multiply(lowA, lowB));
}

const ONE = doubles.everyLane(1n);
/** a + b, where it is inexact the one of the two neighbours whose last bit is 1. */
function sumToOdd(a: V, b: V): V {
  const sum = add(a, b);
  const error = sumError(a, b, sum);
  const isEven = vector('i64x2.eq', [sum.and(ONE), constant(128, 0)]);
  // 1 if the exact sum is of greater magnitude, else -1.
  const step = vector('i64x2.gt_s', [constant(128, 0), error.xor(sum)]).or(ONE);
  return vector('i64x2.add', [sum, step.and(isEven).and(doubles.isNotZero(error))]);
}

const [LEAST, MOST] = [power(-960), power(960)];
/** Of a magnitude at which no error of a product is lost, or zero. */
function isExtreme(a: V): V {
  const magnitude = doubles.magnitude(a);
  const moderate = doubles.binary('lt', LEAST, magnitude).and(doubles.binary('lt', magnitude, MOST));
  return moderate.not().and(doubles.isNotZero(a));
}

function fusedDouble(a: V, b: V, c: V): { value: V; unsure: V } {
  const product = multiply(a, b);
  const low = productError(a, b, product);
  const middle = add(c, low);
  const high = add(product, middle);
  const value = add(high, sumToOdd(sumError(c, low, middle), sumError(product, middle, high)));
  const lost = doubles.binary('le', doubles.magnitude(product), LEAST).and(doubles.isNotZero(a));
  return {
    value,
    unsure: [isExtreme(a), isExtreme(b), isExtreme(c), isExtreme(product), lost.and(doubles.isNotZero(b))].reduce(
      (all, mask) => all.or(mask),
      doubles.isSmall(value).or(doubles.isFinite(value).not()),
    ),
  };
}

const lowSingles = (a: V): V => vector('f64x2.promote_low_f32x4', [a]);
const highSingles = (a: V): V => lowSingles(vector<64>('i64x2.extract_lane', [a], [1]).zeroExtend(128));

/** Products of singles are doubles. */
function fusedSingle(lanes: FloatLanes, operands: readonly [V, V, V]): { value: V; unsure: V } {
  const half = (of: (a: V) => V): V => {
    const [a, b, c] = operands.map(of) as [V, V, V];
    return vector('f32x4.demote_f64x2_zero', [sumToOdd(multiply(a, b), c)]);
  };
  const low = half(lowSingles);
  const upper = () => vector<64>('i64x2.extract_lane', [half(highSingles)], [0]);
  const value = lanes.extent === 'scalar' ? low : vector('i64x2.replace_lane', [low, upper()], [1]);
  return {
    value,
    unsure: operands.reduce<V>(
      (all, operand) => all.or(lanes.isDenormal(operand)),
      lanes.isSmall(value).or(lanes.isFinite(value).not()),
    ),
  };
}

/** `product` and `addend`: the lanes in which these are negated, as ones in their sign bits. */
export const fused =
  (negated: (lanes: FloatLanes) => { product: V; addend: V }): ShortcutOf =>
  (lanes, a, b, c) => {
    const { product, addend } = negated(lanes);
    const operands = [(a as V).xor(product), b as V, (c as V).xor(addend)] as const;
    const { value, unsure } = lanes.bits === 64 ? fusedDouble(...operands) : fusedSingle(lanes, operands);
    return { value, unsure, control: toNearest };
  };
