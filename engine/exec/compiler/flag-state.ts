/** What is known, at a place of compiled code, of where the status flags are; and the conditions made of flags. */
import type { Expr } from '../../expr/expr.ts';
import type { OperandWidth } from '../../isa/operand.ts';
import type { StatusFlag, Temp } from '../../isa/operation.ts';
import type { DeferredKind } from './deferred-flags.ts';

/** Operands or words are in locals. */
export type FlagState =
  /** In the three locals that carry flags across blocks. */
  | { readonly kind: 'carried' }
  /** Nobody is going to look. */
  | { readonly kind: 'dead' }
  /** The two words of the lazy flags, i64. */
  | { readonly kind: 'words'; readonly aux: number; readonly result: number }
  /** Operands of the width, i64 for 64 bits, else i32, zero-extended. */
  | Deferred;

export interface Deferred {
  readonly kind: DeferredKind;
  readonly width: OperandWidth;
  readonly a: number;
  readonly b: number;
}

export const CARRIED: FlagState = { kind: 'carried' };
export const DEAD: FlagState = { kind: 'dead' };

/** The locals that must not be reused while the state holds. */
export function localsOf(state: FlagState): number[] {
  if (state.kind === 'carried' || state.kind === 'dead') return [];
  return state.kind === 'words' ? [state.aux, state.result] : [state.a, state.b];
}

/** A relation of the operands of a comparison: a < b signed, a ≤ b signed, a ≤ b unsigned. */
export type Relation = 'less' | 'lessOrEqual' | 'belowOrEqual';

/** The relation that an expression of flags stands for, as isa/semantics/conditions.ts writes it. */
export function relationOf(expr: Expr): Relation | undefined {
  const { node } = expr;
  if (expr.width !== 1 || node.kind !== 'binary') return undefined;
  if (node.op === 'xor') return flagOf(node.a) === 'SF' && flagOf(node.b) === 'OF' ? 'less' : undefined;
  if (node.op !== 'or' || flagOf(node.b) !== 'ZF') return undefined;
  if (flagOf(node.a) === 'CF') return 'belowOrEqual';
  return relationOf(node.a) === 'less' ? 'lessOrEqual' : undefined;
}

function flagOf({ node }: Expr): StatusFlag | undefined {
  if (node.kind !== 'temp') return undefined;
  const { source } = node.temp as Temp;
  return source.kind === 'flag' ? source.flag : undefined;
}
