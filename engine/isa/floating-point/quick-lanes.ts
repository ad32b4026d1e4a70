/**
 * Carries out a function of floating-point lanes without BigInt where all operands and results are ordinary: normal numbers, and
 * zeros that are exact. Then the only exception there can be is that of precision, which must be masked; DAZ, FTZ and the
 * other masks do not matter.
 */
import { RoundingMode, roundingMode } from '../../float/environment.ts';
import { lastResidue, type QuickOperation } from './quick-arithmetic.ts';

export interface QuickShape {
  readonly operands: number;
  /** Of an operand, and of the result. */
  readonly bytes: number;
  readonly laneBits: 32 | 64;
  /** For each lane. */
  readonly operations: readonly QuickOperation[];
}

/** Reads and writes as `PureFunction.execute` does; false if it cannot tell, and has written nothing of meaning. */
export type QuickFunction = (view: DataView, args: number, results: number) => boolean;

const SLOT = 16;
const PRECISION_FLAG = 0x20;
const PRECISION_MASK = 0x1000;

/** The smallest and the largest normal number. */
const limits = {
  32: { least: 2 ** -126, most: (2 - 2 ** -23) * 2 ** 127 },
  64: { least: 2 ** -1022, most: Number.MAX_VALUE },
};

export function quickFunction({ operands, bytes, laneBits, operations }: QuickShape): QuickFunction {
  const { least, most } = limits[laneBits];
  const laneBytes = laneBits / 8;
  const stride = Math.ceil(bytes / SLOT) * SLOT;
  const read = laneBits === 32 ? readSingle : readDouble;
  const isOrdinary = (a: number): boolean => a === 0 || (Math.abs(a) >= least && Math.abs(a) <= most);
  const computeLane = (view: DataView, at: number, operation: QuickOperation, mode: RoundingMode): number => {
    const a = read(view, at);
    const b = operands > 1 ? read(view, at + stride) : 0;
    const c = operands > 2 ? read(view, at + 2 * stride) : 0;
    if (!isOrdinary(a) || !isOrdinary(b) || !isOrdinary(c)) return Number.NaN;
    return rounded(operation(a, b, c), lastResidue(), mode, laneBits);
  };
  return (view, args, results) => {
    const mxcsr = view.getUint32(args + operands * stride, true);
    const mode = roundingMode(mxcsr >> 13);
    let inexact = false;
    for (const [lane, operation] of operations.entries()) {
      const offset = lane * laneBytes;
      const result = computeLane(view, args + offset, operation, mode);
      const isExact = lastResidue() === 0;
      // One that is not larger than the smallest normal number may have been rounded up to it. A zero has the sign it has to
      // nearest, but sums have another one when rounding down.
      const isZero = result === 0 && isExact && mode !== RoundingMode.Down;
      if (!isZero && !(Math.abs(result) > least && Math.abs(result) <= most)) return false;
      inexact ||= !isExact;
      if (laneBits === 32) view.setFloat32(results + offset, result, true);
      else view.setFloat64(results + offset, result, true);
    }
    if (inexact && !(mxcsr & PRECISION_MASK)) return false;
    view.setUint32(results + stride, inexact ? mxcsr | PRECISION_FLAG : mxcsr, true);
    return true;
  };
}

const readSingle = (view: DataView, at: number): number => view.getFloat32(at, true);
const readDouble = (view: DataView, at: number): number => view.getFloat64(at, true);

/** What was rounded to nearest, rounded as `mode` says; `residue` has the sign of what the exact result is beyond it. */
function rounded(nearest: number, residue: number, mode: RoundingMode, laneBits: 32 | 64): number {
  // An infinity is beyond what `residue` is measured from.
  if (residue === 0 || mode === RoundingMode.Nearest || !Number.isFinite(nearest)) return nearest;
  const up = mode === RoundingMode.Up || (mode === RoundingMode.Zero && nearest < 0);
  if (residue > 0 !== up) return nearest;
  return laneBits === 32 ? neighbourSingle(nearest, up) : neighbourDouble(nearest, up);
}

const words = new Uint32Array(2);
const single = new Float32Array(words.buffer);
const double = new Float64Array(words.buffer);

/** The next number up or down; `of` is not 0. */
function neighbourSingle(of: number, up: boolean): number {
  single[0] = of;
  words[0] = (words[0] as number) + (of > 0 === up ? 1 : -1);
  return single[0];
}
function neighbourDouble(of: number, up: boolean): number {
  double[0] = of;
  const [low, high] = words as unknown as [number, number];
  const grows = of > 0 === up;
  words[0] = low + (grows ? 1 : -1);
  if (grows && low === 0xffff_ffff) words[1] = high + 1;
  if (!grows && low === 0) words[1] = high - 1;
  return double[0];
}
