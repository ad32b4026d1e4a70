/** Comparisons, and the minimum and maximum that SSE defines by them. */
import { exactResult, type FloatEnvironment, FloatException, type FloatResult } from './environment.ts';
import type { FloatFormat } from './format.ts';
import { denormalException, isNotANumber, operand, type Unpacked } from './unpack.ts';

export type Relation = 'less' | 'equal' | 'greater' | 'unordered';

export interface Comparison {
  readonly relation: Relation;
  readonly exceptions: number;
}

/** Compares a with b. A quiet comparison reports signalling NaNs only, a signalling one reports quiet NaNs too. */
export function compare(
  format: FloatFormat,
  environment: FloatEnvironment,
  aBits: bigint,
  bBits: bigint,
  kind: 'quiet' | 'signalling',
): Comparison {
  const a = operand(format, environment, aBits);
  const b = operand(format, environment, bBits);
  if (isNotANumber(a) || isNotANumber(b)) {
    const invalid = kind === 'signalling' || isInvalid(a) || isInvalid(b);
    return { relation: 'unordered', exceptions: invalid ? FloatException.Invalid : 0 };
  }
  return { relation: relationOf(a, b), exceptions: denormalException(a, b) };
}

const isInvalid = (value: Unpacked): boolean => value.class === 'signalling NaN' || value.class === 'unsupported';

/** The relation of two numbers, infinities included. */
function relationOf(a: Unpacked, b: Unpacked): Relation {
  if (a.class === 'zero' && b.class === 'zero') return 'equal';
  const sign = Math.sign(signOf(a) - signOf(b)) || signOf(a) * compareMagnitudes(a, b);
  if (sign === 0) return 'equal';
  return sign < 0 ? 'less' : 'greater';
}

const signOf = (value: Unpacked): number => (value.class === 'zero' ? 0 : value.negative ? -1 : 1);

/** The operands are of one format: whichever has the larger exponent is larger, denormals and infinities included. */
function compareMagnitudes(a: Unpacked, b: Unpacked): number {
  if (a.exponent !== b.exponent) return a.exponent - b.exponent;
  if (a.significand === b.significand) return 0;
  return a.significand < b.significand ? -1 : 1;
}

/** MINPS and its kin: the second operand unless the first one is less, so also for two zeros, and for any NaN. */
export function minimum(format: FloatFormat, environment: FloatEnvironment, a: bigint, b: bigint): FloatResult {
  return select(format, environment, [a, b], 'less');
}

/** MAXPS and its kin: the second operand unless the first one is greater. */
export function maximum(format: FloatFormat, environment: FloatEnvironment, a: bigint, b: bigint): FloatResult {
  return select(format, environment, [a, b], 'greater');
}

function select(
  format: FloatFormat,
  environment: FloatEnvironment,
  [a, b]: readonly [bigint, bigint],
  wanted: Relation,
): FloatResult {
  const { relation, exceptions } = compare(format, environment, a, b, 'signalling');
  return exactResult(operand(format, environment, relation === wanted ? a : b).bits, exceptions);
}
