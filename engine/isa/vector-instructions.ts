/**
 * Which function is the semantics of which vector instruction (see instruction-set.ts). A mnemonic stands for all its
 * encodings: MMX, SSE, and with a V before it, AVX.
 */
import { type Expr, vector } from '../expr/expr.ts';
import type { VectorOp } from '../expr/vector-operations.ts';
import { floatingPointInstructions, vexFloatingPointInstructions } from './floating-point-instructions.ts';
import * as move from './semantics/vector-moves.ts';
import { combineHalves } from './semantics/vector-operands.ts';

/** An operation of two vectors, lane by lane. */
const lanes = (op: VectorOp) => combineHalves((a, b) => vector(op, [a, b]));
const bitwise = (of: (a: Expr<128>, b: Expr<128>) => Expr<128>) => combineHalves(of);
const and = bitwise((a, b) => a.and(b));
const andNot = bitwise((a, b) => vector('v128.andnot', [b, a]));
const or = bitwise((a, b) => a.or(b));
const xor = bitwise((a, b) => a.xor(b));

const moves = {
  Movaps: move.MOVAPS,
  Movapd: move.MOVAPS,
  Movdqa: move.MOVAPS,
  Movntps: move.MOVAPS,
  Movntpd: move.MOVAPS,
  Movntdq: move.MOVAPS,
  Movntdqa: move.MOVAPS,
  Movups: move.MOVUPS,
  Movupd: move.MOVUPS,
  Movdqu: move.MOVUPS,
  Lddqu: move.MOVUPS,
  Movd: move.MOVD,
  Movq: move.MOVQ,
  Movss: move.MOVSS,
  'Movsd xmm': move.MOVSD,
  Movlps: move.MOVLPS,
  Movlpd: move.MOVLPS,
  Movhps: move.MOVHPS,
  Movhpd: move.MOVHPS,
  Movlhps: move.MOVLHPS,
  Movhlps: move.MOVHLPS,
  Movddup: move.MOVDDUP,
  Movsldup: move.MOVSLDUP,
  Movshdup: move.MOVSHDUP,
  Movmskps: move.MOVMSK(32),
  Movmskpd: move.MOVMSK(64),
  Pmovmskb: move.MOVMSK(8),
};

const logic = {
  Pand: and,
  Pandn: andNot,
  Por: or,
  Pxor: xor,
  Andps: and,
  Andpd: and,
  Andnps: andNot,
  Andnpd: andNot,
  Orps: or,
  Orpd: or,
  Xorps: xor,
  Xorpd: xor,
};

const arithmetic = {
  Paddb: lanes('i8x16.add'),
  Paddw: lanes('i16x8.add'),
  Paddd: lanes('i32x4.add'),
  Paddq: lanes('i64x2.add'),
};

/** Without the V of AVX. */
const instructions = { ...moves, ...logic, ...arithmetic, ...floatingPointInstructions };

/** By mnemonic, with and without V. */
export const vectorInstructions: Readonly<Record<string, unknown>> = {
  ...Object.fromEntries(
    Object.entries(instructions).flatMap(([mnemonic, semantics]) => [
      [mnemonic, semantics],
      [`V${mnemonic.replace(' xmm', '').toLowerCase()}`, semantics],
    ]),
  ),
  ...vexFloatingPointInstructions,
};
