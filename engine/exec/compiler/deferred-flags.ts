/**
 * Flags in compiled code are not computed until somebody needs them: an addition, subtraction or logical instruction
 * leaves its operands, from which the two words of the lazy flags (cpu/flags.ts) can be made at any time. Across
 * blocks they travel in three locals: a kind, and two words `a` and `b`.
 */
import type { Expr } from '../../expr/expr.ts';
import type { ArithmeticFlags } from '../../isa/operation.ts';
import { FunctionBody, I64, op } from '../../wasm/encoder.ts';

/** Kinds by their first value; those with operands are followed by their widths 8, 16, 32 and 64. */
const SUBTRACTION = 1;
const ADDITION = 5;
const LOGIC = 9;

/** `a` is the aux word, `b` the result word. */
export const WORDS_KIND = 0;

export type DeferredKind = 'subtraction' | 'addition' | 'logic';
const firstKind: Readonly<Record<DeferredKind, number>> = {
  subtraction: SUBTRACTION,
  addition: ADDITION,
  logic: LOGIC,
};

/** `a` and `b` are zero-extended operands; `logic` has its result in `a`. */
export const kindNumber = (kind: DeferredKind, width: number): number => firstKind[kind] + Math.log2(width / 8);

/** The operation whose flags these are, if it is one that can be deferred. */
export function deferrable({ result, carries }: ArithmeticFlags): { kind: DeferredKind; a: Expr; b: Expr } | undefined {
  if (carries.node.kind === 'const' && carries.node.value === 0n) return { kind: 'logic', a: result, b: result };
  const { node } = result;
  if (node.kind === 'unary' && node.op === 'neg') return borrowOperands(carries, node.a);
  if (node.kind !== 'binary' || (node.op !== 'add' && node.op !== 'sub')) return undefined;
  const operands = node.op === 'add' ? carryOperands(carries) : borrowOperands(carries, node.b);
  return operands?.a === node.a && operands.b === node.b ? operands : undefined;
}

/** a and b of the carries of a + b, as additionFlags writes them: a·b + … */
function carryOperands(carries: Expr): { kind: DeferredKind; a: Expr; b: Expr } | undefined {
  const first = carries.node.kind === 'binary' && carries.node.op === 'or' ? carries.node.a.node : undefined;
  if (first?.kind !== 'binary' || first.op !== 'and') return undefined;
  return { kind: 'addition', a: first.a, b: first.b };
}

/** a and b of the borrows of a - b, as subtractionFlags writes them: ¬a·b + … */
function borrowOperands(borrows: Expr, b: Expr): { kind: DeferredKind; a: Expr; b: Expr } | undefined {
  const first = borrows.node.kind === 'binary' && borrows.node.op === 'or' ? borrows.node.a.node : undefined;
  if (first?.kind !== 'binary' || first.op !== 'and' || first.b !== b) return undefined;
  const { node } = first.a;
  return node.kind === 'unary' && node.op === 'not' ? { kind: 'subtraction', a: node.a, b } : undefined;
}

const [KIND, A, B] = [0, 1, 2];

/** Pushes the result of the operation, with garbage above its width. */
function emitResult(f: FunctionBody): void {
  f.get(KIND).i32(ADDITION).emit(op.i32LtU).if(I64);
  f.get(A).get(B).emit(op.i64Sub).else();
  f.get(KIND).i32(LOGIC).emit(op.i32LtU).if(I64);
  f.get(A).get(B).emit(op.i64Add).else();
  f.get(A).end().end();
}

/** Pushes 64 less the width. */
function emitUnused(f: FunctionBody): void {
  f.i64(64n).i64(8n).get(KIND).i32(1).emit(op.i32Sub).i32(3).emit(op.i32And, op.i64ExtendI32U, op.i64Shl, op.i64Sub);
}

/** (kind, a, b) → the result word: the result, sign-extended. */
export function deferredResultFunction(): Uint8Array {
  const f = new FunctionBody(3);
  f.get(KIND).emit(op.i32Eqz).if().get(B).emit(op.return).end();
  emitResult(f);
  emitUnused(f);
  f.emit(op.i64Shl);
  emitUnused(f);
  return f.emit(op.i64ShrS).bytes();
}

/** (kind, a, b) → the aux word: the highest carries at the top, and that out of bit 3. */
export function deferredAuxFunction(): Uint8Array {
  const f = new FunctionBody(3);
  const carries = f.local(I64);
  const result = f.local(I64);
  f.get(KIND).emit(op.i32Eqz).if().get(A).emit(op.return).end();
  f.get(KIND).i32(LOGIC).emit(op.i32GeU).if().i64(0n).emit(op.return).end();
  emitResult(f);
  f.set(result);
  f.get(KIND).i32(ADDITION).emit(op.i32LtU).if(I64);
  f.get(A).i64(-1n).emit(op.i64Xor).get(B).emit(op.i64And);
  f.get(A).get(B).emit(op.i64Xor).i64(-1n).emit(op.i64Xor).get(result).emit(op.i64And, op.i64Or).else();
  f.get(A).get(B).emit(op.i64And);
  f.get(A).get(B).emit(op.i64Or).get(result).i64(-1n).emit(op.i64Xor, op.i64And, op.i64Or).end();
  f.tee(carries);
  emitUnused(f);
  f.emit(op.i64Shl).i64(0xffff_ffff_0000_0000n).emit(op.i64And);
  return f.get(carries).i64(8n).emit(op.i64And, op.i64Or).bytes();
}
