/** Shortcuts (see shortcuts.ts) of conversions and roundings: what WebAssembly's own operations do right. */
import { constant, type Expr, vector } from '../../expr/expr.ts';
import { RoundingMode } from '../../float/environment.ts';
import { binary32, binary64 } from '../../float/format.ts';
import {
  FloatLanes,
  inexact,
  type LaneShortcut,
  type MxcsrControl,
  notOrdinary,
  roundingToNearest,
  type ShortcutOf,
  toNearest,
  whatever,
} from './shortcuts.ts';

/** From the vectors of a source (one, or the halves of 256 bits) to those of the result, of which there are so many. */
export type ConversionShortcut = (source: readonly Expr<128>[], halves: 1 | 2) => LaneShortcut[];

const singles = new FloatLanes(binary32, 'packed');
const doubles = new FloatLanes(binary64, 'packed');
const nothing = constant(128, 0);
/** 2^30: integers below it are far from the limits of doublewords, however they are rounded. */
const INTEGER_LIMIT = { single: singles.everyLane(0x4e80_0000n), double: doubles.everyLane(0x41d0_0000_0000_0000n) };
/** 2^-126 and 2^127 as doubles: singles between them are normal. */
const SINGLE_SMALLEST = doubles.everyLane(0x3810_0000_0000_0000n);
const SINGLE_LARGE = doubles.everyLane(0x47e0_0000_0000_0000n);

const each =
  (of: (a: Expr<128>) => LaneShortcut): ConversionShortcut =>
  (source) =>
    source.map(of);

const lowQwords = (halves: readonly LaneShortcut[]): LaneShortcut[] => {
  const [low, high] = halves as [LaneShortcut, LaneShortcut | undefined];
  if (!high) return [low];
  const upper = vector<64>('i64x2.extract_lane', [high.value], [0]);
  const value = vector('i64x2.replace_lane', [low.value, upper], [1]);
  const inexactLanes = low.inexact && high.inexact ? { inexact: low.inexact.or(high.inexact) } : {};
  return [{ ...low, value, unsure: low.unsure.or(high.unsure), ...inexactLanes }];
};

/** The result is wider: the lower half of the source, and for 256 bits the upper one. */
const widening =
  (of: (a: Expr<128>) => LaneShortcut): ConversionShortcut =>
  ([source], halves) => {
    const low = source as Expr<128>;
    const high = () => vector<64>('i64x2.extract_lane', [low], [1]).zeroExtend(128);
    return (halves === 2 ? [low, high()] : [low]).map(of);
  };

/** Singles have the integers up to 2^24. */
const EXACT_INTEGER = { most: singles.everyLane(0x0100_0000n), least: singles.everyLane(0xff00_0000n) };
export const dwordsToSingles: ConversionShortcut = each((a) => ({
  value: vector('f32x4.convert_i32x4_s', [a]),
  unsure: nothing,
  control: toNearest,
  inexact: vector('i32x4.gt_s', [a, EXACT_INTEGER.most]).or(vector('i32x4.gt_s', [EXACT_INTEGER.least, a])),
}));

const beyond = (lanes: FloatLanes, a: Expr<128>, limit: Expr<128>): Expr<128> =>
  lanes.binary('lt', lanes.magnitude(a), limit).not();

export const singlesToDwords = (rounding: 'current' | 'truncate'): ConversionShortcut =>
  each((a) => {
    const value = vector('i32x4.trunc_sat_f32x4_s', [rounding === 'truncate' ? a : singles.unary('nearest', a)]);
    return {
      value,
      unsure: beyond(singles, a, INTEGER_LIMIT.single),
      control: rounding === 'truncate' ? inexact : toNearest,
      inexact: singles.binary('ne', vector('f32x4.convert_i32x4_s', [value]), a),
    };
  });

export const doublesToDwords =
  (rounding: 'current' | 'truncate'): ConversionShortcut =>
  (source) =>
    lowQwords(
      source.map((a) => {
        const value = vector('i32x4.trunc_sat_f64x2_s_zero', [
          rounding === 'truncate' ? a : doubles.unary('nearest', a),
        ]);
        return {
          value,
          unsure: beyond(doubles, a, INTEGER_LIMIT.double),
          control: rounding === 'truncate' ? inexact : toNearest,
          inexact: doubles.binary('ne', vector('f64x2.convert_low_i32x4_s', [value]), a),
        };
      }),
    );

/** Always exact. */
export const singlesToDoubles = widening((a) => ({
  value: vector('f64x2.promote_low_f32x4', [a]),
  // Of lanes that are not converted, too: that only means a call in vain.
  unsure: notOrdinary(singles, a),
  control: whatever,
}));

export const doublesToSingles: ConversionShortcut = (source) =>
  lowQwords(
    source.map((a) => {
      const magnitude = doubles.magnitude(a);
      const small = doubles.binary('le', magnitude, SINGLE_SMALLEST).and(doubles.isNotZero(a));
      const value = vector('f32x4.demote_f64x2_zero', [a]);
      return {
        value,
        unsure: beyond(doubles, a, SINGLE_LARGE).or(small),
        control: toNearest,
        inexact: doubles.binary('ne', vector('f64x2.promote_low_f32x4', [value]), a),
      };
    }),
  );

/** The number of a quadword's upper half, times 2^32, and that of its lower half are exact: only their sum is rounded. */
export function qwordToDouble(a: Expr<64>): LaneShortcut {
  const quad = a.zeroExtend(128);
  const upper = a.shr(constant(64, 32)).zeroExtend(128);
  const scale = constant(128, 0x41f0_0000_0000_0000n);
  const high = doubles.binary('mul', vector('f64x2.convert_low_i32x4_s', [upper]), scale);
  const low = vector('f64x2.convert_low_i32x4_u', [quad]);
  // Doubles have the integers below 2^53.
  const shifted = vector('i64x2.add', [quad, doubles.everyLane(1n << 53n)]);
  return {
    value: doubles.binary('add', high, low),
    unsure: nothing,
    control: toNearest,
    inexact: vector('i64x2.shr_u', [shifted, constant(32, 54)]),
  };
}

const operationOf: Readonly<Record<RoundingMode, 'nearest' | 'floor' | 'ceil' | 'trunc'>> = {
  [RoundingMode.Nearest]: 'nearest',
  [RoundingMode.Down]: 'floor',
  [RoundingMode.Up]: 'ceil',
  [RoundingMode.Zero]: 'trunc',
};

/** `mode`: undefined for that of MXCSR. */
export function rounding(mode: RoundingMode | undefined, reportsInexact: boolean): ShortcutOf {
  const unreported: MxcsrControl = mode === undefined ? roundingToNearest : whatever;
  const reported: MxcsrControl = mode === undefined ? toNearest : inexact;
  return (lanes, a) => {
    const value = lanes.unary(operationOf[mode ?? RoundingMode.Nearest], a as Expr<128>);
    return {
      value,
      unsure: notOrdinary(lanes, a as Expr<128>),
      control: reportsInexact ? reported : unreported,
      inexact: lanes.binary('ne', value, a as Expr<128>),
    };
  };
}
