/**
 * Functions that compute lanes of floating-point numbers under MXCSR, as calls of an Operation. The last argument is
 * MXCSR; the last result is MXCSR with the exceptions added that were met, and RAISED if one of them is not masked.
 */
import type { Width } from '../../expr/expr.ts';
import { executeDefinition, type PureFunction } from '../../expr/pure-function.ts';
import {
  type FloatEnvironment,
  type FloatResult,
  mxcsrEnvironment,
  preComputationExceptions,
} from '../../float/environment.ts';

import type { QuickFunction } from './quick-lanes.ts';

/** In the last result of a function: a SIMD floating-point exception is to be raised. */
export const RAISED_BIT = 31;

/** Computes one lane of the result from one lane of each operand. */
export type LaneOperation = (
  environment: FloatEnvironment,
  operands: readonly bigint[],
  lane: number,
) => Pick<FloatResult, 'bits' | 'exceptions'>;

export type OperandBits = 16 | 32 | 64 | 128 | 256;

export interface FunctionShape {
  readonly name: string;
  readonly operands: number;
  /** Bits of each operand, and of each of its lanes. */
  readonly from: { readonly bits: OperandBits; readonly lane: number };
  /** Bits of the result, and of each of its lanes. Lanes that no operand's lane goes to are zero. */
  readonly to: { readonly bits: OperandBits; readonly lane: number };
}

/** Vectors of 256 bits are passed as halves. */
const halfWidths = (bits: OperandBits): readonly Width[] => (bits === 256 ? [128, 128] : bits === 16 ? [32] : [bits]);

const HALF_BITS = 128n;
const cut = (bits: number, value: bigint): bigint => BigInt.asUintN(bits, value);

/** `quick`, if given, carries it out where it can. */
export function floatFunction(shape: FunctionShape, operation: LaneOperation, quick?: QuickFunction): PureFunction {
  const { name, operands, from, to } = shape;
  const widths = halfWidths(from.bits);
  const lanes = Math.min(from.bits / from.lane, to.bits / to.lane);
  const definition: PureFunction = {
    name,
    parameters: [...Array.from({ length: operands }, () => widths).flat(), 32],
    results: [...halfWidths(to.bits), 32],
    resultNames: [...(to.bits === 256 ? ['low', 'high'] : ['']), 'mxcsr'],
    evaluate: (args) => {
      const mxcsr = Number(args[args.length - 1]);
      const values = Array.from({ length: operands }, (_, n) => joined(args, n * widths.length, widths.length));
      const environment = mxcsrEnvironment(mxcsr);
      const results = Array.from({ length: lanes }, (_, lane) => {
        const at = BigInt(from.lane * lane);
        return operation(
          environment,
          values.map((value) => cut(from.lane, value >> at)),
          lane,
        );
      });
      return [...split(packed(results, to.lane), to.bits), BigInt(mxcsrAfter(mxcsr, environment, results))];
    },
  };
  if (!quick) return definition;
  const byDefinition = executeDefinition(definition);
  return {
    ...definition,
    execute: (view, at, to) => {
      if (!quick(view, at, to)) byDefinition(view, at, to);
    },
  };
}

const joined = (args: readonly bigint[], first: number, count: number): bigint =>
  args.slice(first, first + count).reduce((value, half, i) => value | (half << (HALF_BITS * BigInt(i))), 0n);

const packed = (lanes: readonly { bits: bigint }[], laneBits: number): bigint =>
  lanes.reduce((value, { bits }, i) => value | (cut(laneBits, bits) << BigInt(laneBits * i)), 0n);

const split = (value: bigint, bits: OperandBits): bigint[] =>
  bits === 256 ? [cut(128, value), value >> HALF_BITS] : [value];

/**
 * An unmasked exception that is found before computing, in any lane, keeps all lanes from being computed, so that no
 * other exceptions are found: SDM volume 1, "SIMD Floating-Point Exception Conditions".
 */
function mxcsrAfter(mxcsr: number, { masks }: FloatEnvironment, lanes: readonly { exceptions: number }[]): number {
  const all = lanes.reduce((met, { exceptions }) => met | exceptions, 0);
  const before = all & preComputationExceptions;
  const met = before & ~masks ? before : all;
  return (mxcsr | met | (met & ~masks ? 1 << RAISED_BIT : 0)) >>> 0;
}
