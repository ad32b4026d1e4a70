/** Shortcuts (see shortcuts.ts) of conversions from and to half precision, which WebAssembly does not have, by integer operations. */
import { constant, type Expr, vector } from '../../expr/expr.ts';
import { RoundingMode } from '../../float/environment.ts';
import { binary32 } from '../../float/format.ts';
import type { ConversionShortcut } from './conversion-shortcuts.ts';
import { FloatLanes, inexact, type LaneShortcut, toNearest, whatever } from './shortcuts.ts';

type V = Expr<128>;
const singles = new FloatLanes(binary32, 'packed');
const every = (value: number): V => singles.everyLane(BigInt(value));
const nothing = constant(128, 0);

const add = (a: V, b: V): V => vector('i32x4.add', [a, b]);
const greater = (a: V, b: V): V => vector('i32x4.gt_s', [a, b]);
const shiftLeft = (a: V, count: number): V => vector('i32x4.shl', [a, constant(32, count)]);
const shiftRight = (a: V, count: number): V => vector('i32x4.shr_u', [a, constant(32, count)]);

/** Bits that a fraction of single precision has more, and what a bias of it is more (as a factor). */
const MORE_FRACTION = 13;
const SCALE = every((127 + 112) * 2 ** 23);
const HALF_INFINITY = every(0x7c00);
const SINGLE_INFINITY = every(0x7f80_0000);

/** Moved into place, the fields are those of a number 2^112 times too small, which may be denormal: the product is exact. */
function fromHalf(halves: V): LaneShortcut {
  const lanes = vector('i32x4.extend_low_i16x8_u', [halves]);
  const magnitude = lanes.and(every(0x7fff));
  const number = singles.binary('mul', shiftLeft(magnitude, MORE_FRACTION), SCALE);
  const infinite = vector('i32x4.eq', [magnitude, HALF_INFINITY]);
  const sign = shiftLeft(lanes.and(every(0x8000)), 16);
  return {
    value: singles.select(infinite, SINGLE_INFINITY, number).or(sign),
    // NaNs, which may be signalling.
    unsure: greater(magnitude, HALF_INFINITY),
    control: whatever,
  };
}
export const halvesToSingles: ConversionShortcut = ([source], halves) => {
  const low = source as V;
  const high = () => vector<64>('i64x2.extract_lane', [low], [1]).zeroExtend(128);
  return (halves === 2 ? [low, high()] : [low]).map(fromHalf);
};

/** 2^-14, the smallest normal number of half precision, and what rounds to its largest one. */
const SMALLEST = every(0x3880_0000);
const LARGEST = every(0x477f_efff);
const BIAS_DIFFERENCE = every(112 * 2 ** 10);

/** Rounded by adding half a unit, less a bit where the last bit kept is even. The lanes are those of doublewords. */
function toHalf(a: V, rounding: RoundingMode): { lanes: V; unsure: V } {
  const magnitude = a.and(every(0x7fff_ffff));
  const lastKept = shiftRight(magnitude, MORE_FRACTION).and(every(1));
  const rounded = rounding === RoundingMode.Zero ? magnitude : add(add(magnitude, every(0xfff)), lastKept);
  const number = vector('i32x4.sub', [shiftRight(rounded, MORE_FRACTION), BIAS_DIFFERENCE]);
  const isZero = vector('i32x4.eq', [magnitude, nothing]);
  const beyond = greater(SMALLEST, magnitude).or(greater(magnitude, LARGEST));
  return {
    lanes: singles.select(isZero, nothing, number).or(shiftRight(a, 16).and(every(0x8000))),
    unsure: beyond.and(isZero.not()),
  };
}

/** Undefined for the modes that the shortcut does not have. `mode`: undefined for that of MXCSR. */
export function singlesToHalves(source: readonly V[], mode: RoundingMode | undefined): LaneShortcut | undefined {
  if (mode === RoundingMode.Up || mode === RoundingMode.Down) return undefined;
  const [low, high] = source.map((half) => toHalf(half, mode ?? RoundingMode.Nearest));
  if (!low) throw new Error('there are no lanes to convert');
  return {
    value: vector('i16x8.narrow_i32x4_u', [low.lanes, high ? high.lanes : nothing]),
    unsure: high ? low.unsure.or(high.unsure) : low.unsure,
    control: mode === undefined ? toNearest : inexact,
  };
}
