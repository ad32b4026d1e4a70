/** Shifts of lanes: by an immediate, by the lowest quadword of a vector, and each by its own count. */
import { constant, type Expr, ite, vector } from '../../expr/expr.ts';
import type { Operand } from '../operand.ts';
import type { Semantics } from '../semantics-builder.ts';
import {
  combineHalves,
  immediateOf,
  lowQword,
  readVector,
  splitOperands,
  type Vector,
  writeVector,
  zero,
} from './vector-operands.ts';

type Kind = 'left' | 'right' | 'right-signed';

const operations = {
  left: { 16: 'i16x8.shl', 32: 'i32x4.shl', 64: 'i64x2.shl' },
  right: { 16: 'i16x8.shr_u', 32: 'i32x4.shr_u', 64: 'i64x2.shr_u' },
  'right-signed': { 16: 'i16x8.shr_s', 32: 'i32x4.shr_s', 64: undefined },
} as const;

function shifted(a: Vector, bits: 16 | 32 | 64, kind: Kind, count: Expr<32>): Vector {
  const op = operations[kind][bits];
  if (!op) throw new Error(`no ${kind} shift of ${bits} bits`);
  return vector(op, [a, count]);
}

/** PSLLW, PSRLD, PSRAW … — Shift Packed Data. A count beyond the lane gives zeros, or the sign. */
export const shift =
  (bits: 16 | 32 | 64, kind: Kind) =>
  (m: Semantics, ...operands: Operand[]): void => {
    const [dest, src, count] = splitOperands(m, operands) as [Operand, Operand, Operand];
    const values = readVector(m, src);
    const by = count.kind === 'immediate' ? immediateOf(operands) : lowQword(readVector(m, count)[0] as Vector);
    writeVector(m, dest, values.map(shiftBy(bits, kind, by)));
  };

function shiftBy(bits: 16 | 32 | 64, kind: Kind, by: number | Expr<64>): (a: Vector) => Vector {
  const isArithmetic = kind === 'right-signed';
  if (typeof by === 'number') {
    if (by >= bits && !isArithmetic) return () => zero;
    return (a) => shifted(a, bits, kind, constant(32, Math.min(by, bits - 1)));
  }
  const beyond = constant(64, bits - 1).ltu(by);
  const low = by.truncate(32);
  if (isArithmetic) return (a) => shifted(a, bits, kind, ite(beyond, constant(32, bits - 1), low));
  return (a) => ite(beyond, zero, shifted(a, bits, kind, low));
}

const extractOp = { 32: 'i32x4.extract_lane', 64: 'i64x2.extract_lane' } as const;
const replaceOp = { 32: 'i32x4.replace_lane', 64: 'i64x2.replace_lane' } as const;

/** VPSLLVD, VPSRLVQ, VPSRAVD … — Variable Bit Shift. Each lane by the count in the same lane of SRC2. */
export const shiftVariable = <W extends 32 | 64>(bits: W, kind: Kind) =>
  combineHalves((a, counts) => {
    let result = a;
    for (let lane = 0; lane < 128 / bits; lane++) {
      const value = vector<W>(extractOp[bits], [a], [lane]);
      const count = vector<W>(extractOp[bits], [counts], [lane]);
      result = vector(replaceOp[bits], [result, shiftLane(value, count, kind)], [lane]);
    }
    return result;
  });

function shiftLane<W extends 32 | 64>(value: Expr<W>, count: Expr<W>, kind: Kind): Expr<W> {
  const last = constant(value.width, value.width - 1);
  const beyond = last.ltu(count);
  const within = count.and(last);
  if (kind === 'right-signed') return value.sar(ite(beyond, last, within));
  return ite(beyond, constant(value.width, 0), kind === 'left' ? value.shl(within) : value.shr(within));
}
