/** What an instruction's text names: registers, memory, immediates, each of a width. */
import type { Width } from '../expr/expr.ts';

/** Widths of operands. 128 bits: a vector; a vector of 256 bits is two of them. */
export type OperandWidth = Exclude<Width, 1>;

/** Registers other than the general-purpose ones: XMM or YMM, and MM. */
export type VectorFile = 'vector' | 'mmx';

/** `position` counts the explicit operands of the instruction from 0, as the manual (and the decoder) orders them. */
export interface Operand<W extends OperandWidth = OperandWidth> {
  readonly kind: 'register' | 'memory' | 'immediate';
  readonly position: number;
  readonly width: W;
  /** POP only: the address is computed with the stack pointer, which POP increments before. */
  readonly usesStackPointer?: boolean;
  /** Value of an immediate that decides what the Operation consists of (nesting level of ENTER). */
  readonly constant?: number;
  /** Of a register that is not a general-purpose one. */
  readonly file?: VectorFile;
  /** 256 bits: two halves of 128 bits each, the lower one first. */
  readonly halves?: 2;
}

/** The same place read or written at another width (MOVZX's source, MOVSXD …). */
export function withWidth<W extends OperandWidth>(operand: Operand, width: W): Operand<W> {
  return { ...operand, width };
}
