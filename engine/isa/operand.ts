/** What an instruction's text names: registers, memory, immediates, each of a width. */
import type { Width } from '../expr/expr.ts';

/** Widths of operands; 128 bits and more are not general-purpose. */
export type OperandWidth = Exclude<Width, 1>;

/** `position` counts the explicit operands of the instruction from 0, as the manual (and the decoder) orders them. */
export interface Operand<W extends OperandWidth = OperandWidth> {
  readonly kind: 'register' | 'memory' | 'immediate';
  readonly position: number;
  readonly width: W;
  /** POP only: the address is computed with the stack pointer, which POP increments before. */
  readonly usesStackPointer?: boolean;
  /** Value of an immediate that decides what the Operation consists of (nesting level of ENTER). */
  readonly constant?: number;
}

/** The same place read or written at another width (MOVZX's source, MOVSXD …). */
export function withWidth<W extends OperandWidth>(operand: Operand, width: W): Operand<W> {
  return { ...operand, width };
}
