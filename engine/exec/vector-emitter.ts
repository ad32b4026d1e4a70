/** Emits the operators of vectors (width 128), and calls of functions that no operator expresses. */

import { CALL_ARGUMENTS_ADDRESS, CALL_RESULTS_ADDRESS } from '../cpu/memory-map.ts';
import type { BinaryOp, CompareOp, Expr, UnaryOp, VectorNode, Width } from '../expr/expr.ts';
import type { CallSite } from '../expr/pure-function.ts';
import { type FunctionBody, op } from '../wasm/encoder.ts';
import type { SimdOp } from '../wasm/simd.ts';
import { functionIndex } from './pure-functions.ts';
import { callRuntime } from './runtime-functions.ts';
import { loadValue, storeValue, valueType } from './value-types.ts';

/** Bytes of an argument or result of a call. */
const SLOT = 16;

type EmitValue = (expr: Expr) => void;

export function emitVector(body: FunctionBody, { op: name, args, immediates }: VectorNode, emit: EmitValue): void {
  for (const arg of args) emit(arg);
  body.simd(name, immediates);
}

const bitwise: Partial<Readonly<Record<BinaryOp, SimdOp>>> = { and: 'v128.and', or: 'v128.or', xor: 'v128.xor' };

export function emitVectorBinary(body: FunctionBody, operator: BinaryOp, a: Expr, b: Expr, emit: EmitValue): void {
  const name = bitwise[operator];
  if (!name) throw new Error(`${operator} of vectors`);
  emit(a);
  emit(b);
  body.simd(name);
}

export function emitVectorCompare(body: FunctionBody, operator: CompareOp, a: Expr, b: Expr, emit: EmitValue): void {
  if (operator !== 'eq' && operator !== 'ne') throw new Error(`${operator} of vectors`);
  emit(a);
  if (b.node.kind !== 'const' || b.node.value !== 0n) {
    emit(b);
    body.simd('v128.xor');
  }
  body.simd('v128.any_true');
  if (operator === 'eq') body.emit(op.i32Eqz);
}

const lowestLane: Readonly<Record<Exclude<Width, 1 | 128>, SimdOp>> = {
  8: 'i8x16.extract_lane_u',
  16: 'i16x8.extract_lane_u',
  32: 'i32x4.extract_lane',
  64: 'i64x2.extract_lane',
};

/** From a vector on the stack to its lowest bits. */
export function emitLowPart(body: FunctionBody, width: Exclude<Width, 1>): void {
  if (width !== 128) body.simd(lowestLane[width], [0]);
}

/** NOT of a vector, extension to a vector, and truncation of one. */
export function emitVectorUnary(body: FunctionBody, operator: UnaryOp, a: Expr, width: Width, emit: EmitValue): void {
  if (operator === 'not') {
    emit(a);
    body.simd('v128.not');
  } else if (operator === 'zext') {
    body.v128(0n);
    emit(a);
    if (a.width === 64) body.simd('i64x2.replace_lane', [0]);
    else body.simd('i32x4.replace_lane', [0]);
  } else if (operator === 'trunc') {
    emit(a);
    body.simd(lowestLane[width === 1 ? 8 : (width as 8 | 16 | 32 | 64)], [0]);
    if (width === 1) body.i32(1).emit(op.i32And);
  } else throw new Error(`${operator} of vectors`);
}

/** Makes a call and leaves its results in locals. */
export function emitCall(body: FunctionBody, { function: called, args }: CallSite, emit: EmitValue): number[] {
  // An argument may be the result of another call: all are computed before the first is passed.
  const values = args.map((arg) => {
    emit(arg);
    const local = body.local(valueType(arg.width));
    body.set(local);
    return local;
  });
  for (const [index, arg] of args.entries()) {
    body.i32(CALL_ARGUMENTS_ADDRESS + SLOT * index).get(values[index] as number);
    storeValue(body, slotWidth(arg.width));
  }
  callRuntime(body.i32(functionIndex(called)), 'call');
  return called.results.map((width, index) => {
    const local = body.local(valueType(width));
    body.i32(CALL_RESULTS_ADDRESS + SLOT * index);
    loadValue(body, slotWidth(width));
    body.set(local);
    return local;
  });
}

const slotWidth = (width: Width): 32 | 64 | 128 => (width === 128 || width === 64 ? width : 32);
