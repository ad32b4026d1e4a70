/** Logical instructions (SDM volume 1, "Logical Instructions"). */
import type { Expr } from '../../expr/expr.ts';
import type { Operand, OperandWidth } from '../operand.ts';
import type { Semantics } from '../semantics-builder.ts';

/** AND — Logical AND. DEST := DEST AND SRC. */
export function AND<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>): void {
  writeLogical(m, dest, m.readForWrite(dest).and(m.read(src)));
}

/** OR — Logical Inclusive OR. DEST := DEST OR SRC. */
export function OR<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>): void {
  writeLogical(m, dest, m.readForWrite(dest).or(m.read(src)));
}

/** XOR — Logical Exclusive OR. DEST := DEST XOR SRC. */
export function XOR<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>): void {
  writeLogical(m, dest, m.readForWrite(dest).xor(m.read(src)));
}

/** TEST — Logical Compare. As AND, without the result. */
export function TEST<W extends OperandWidth>(m: Semantics, left: Operand<W>, right: Operand<W>): void {
  m.setLogicFlags(m.read(left).and(m.read(right)));
}

/** NOT — One's Complement Negation. DEST := NOT DEST. */
export function NOT<W extends OperandWidth>(m: Semantics, dest: Operand<W>): void {
  m.write(dest, m.readForWrite(dest).not());
}

function writeLogical<W extends OperandWidth>(m: Semantics, dest: Operand<W>, result: Expr<W>): void {
  m.write(dest, result);
  m.setLogicFlags(result);
}
