/** Results that are NaNs: SDM volume 1, "Operating on SNaNs and QNaNs". */
import { exactResult, type FloatEnvironment, FloatException, type FloatResult } from './environment.ts';
import type { FloatFormat } from './format.ts';
import { isNotANumber, type Unpacked } from './unpack.ts';

/** The result of an operation on these operands, of which at least one is a NaN (or not a valid encoding). */
export function propagateNaN(
  format: FloatFormat,
  environment: FloatEnvironment,
  ...operands: readonly Unpacked[]
): FloatResult {
  if (operands.some((value) => value.class === 'unsupported')) return invalidOperation(format);
  const nans = operands.filter(isNotANumber);
  const chosen = environment.rules === 'x87' ? largestNaN(nans) : nans[0];
  if (!chosen) throw new Error('no operand is a NaN');
  const signals = nans.some((value) => value.class === 'signalling NaN');
  return exactResult(chosen.bits | format.quietBit, signals ? FloatException.Invalid : 0);
}

/** A quiet NaN goes before a signalling one, then the larger significand, then the positive sign. */
function largestNaN(nans: readonly Unpacked[]): Unpacked | undefined {
  const quiet = nans.filter((value) => value.class === 'quiet NaN');
  return (quiet.length > 0 ? quiet : nans).reduce((a, b) => {
    if (a.significand !== b.significand) return a.significand > b.significand ? a : b;
    return a.negative ? b : a;
  });
}

export const invalidOperation = (format: FloatFormat): FloatResult =>
  exactResult(format.defaultNaN, FloatException.Invalid);
