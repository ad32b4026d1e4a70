/**
 * What a floating-point operation depends on besides its operands, and what it reports. The numbers are those of the
 * control registers: exception flags and masks have the same order in MXCSR and in the x87 control and status words,
 * rounding modes the same code.
 */

/** Bits of an exception report, and of a mask. */
export const FloatException = {
  Invalid: 0x01,
  Denormal: 0x02,
  DivideByZero: 0x04,
  Overflow: 0x08,
  Underflow: 0x10,
  Inexact: 0x20,
} as const;

/** Those that are found by looking at the operands; the others need the result. */
export const preComputationExceptions = FloatException.Invalid | FloatException.Denormal | FloatException.DivideByZero;

export const RoundingMode = { Nearest: 0, Down: 1, Up: 2, Zero: 3 } as const;
export type RoundingMode = (typeof RoundingMode)[keyof typeof RoundingMode];

export interface FloatEnvironment {
  readonly rounding: RoundingMode;
  /** A set bit masks the exception: the operation then gives the default result. */
  readonly masks: number;
  /** Denormal operands count as zeros of their sign, and are not reported. */
  readonly denormalsAreZero: boolean;
  /** Tiny results become zeros of their sign while underflow is masked. */
  readonly flushToZero: boolean;
  /** Bits of a result's significand if fewer than the format's: the x87 precision control. */
  readonly precision: number | undefined;
  /** Which of several NaNs a result is made from, and what an unmasked overflow or underflow leaves. */
  readonly rules: 'sse' | 'x87';
}

export interface FloatResult {
  /** The encoding. Of no meaning under SSE's rules if an exception is reported that is not masked. */
  readonly bits: bigint;
  /** The exceptions met, masked or not. */
  readonly exceptions: number;
  /** Rounding has increased the magnitude: C1 of the x87 status word. */
  readonly roundedUp: boolean;
}

const allRoundingModes = [RoundingMode.Nearest, RoundingMode.Down, RoundingMode.Up, RoundingMode.Zero] as const;

/** A two-bit rounding-control field. */
export const roundingMode = (field: number): RoundingMode => allRoundingModes[field & 3] ?? RoundingMode.Nearest;

/** SDM volume 1, "MXCSR Control and Status Register". */
export function mxcsrEnvironment(mxcsr: number): FloatEnvironment {
  return {
    rounding: roundingMode(mxcsr >> 13),
    masks: (mxcsr >> 7) & 0x3f,
    denormalsAreZero: (mxcsr & 0x40) !== 0,
    flushToZero: (mxcsr & 0x8000) !== 0,
    precision: undefined,
    rules: 'sse',
  };
}

/** SDM volume 1, "x87 FPU Control Word". The reserved precision code 01 is taken for full precision. */
export function controlWordEnvironment(controlWord: number): FloatEnvironment {
  return {
    rounding: roundingMode(controlWord >> 10),
    masks: controlWord & 0x3f,
    denormalsAreZero: false,
    flushToZero: false,
    precision: precisionControl[(controlWord >> 8) & 3],
    rules: 'x87',
  };
}
const precisionControl: readonly (number | undefined)[] = [24, undefined, 53, undefined];

export const exactResult = (bits: bigint, exceptions = 0): FloatResult => ({ bits, exceptions, roundedUp: false });
