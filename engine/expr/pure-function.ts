/**
 * What maps to no operator: a function of its arguments alone, defined with BigInt. The oracle evaluates the definition;
 * compiled code calls out, to `execute` if the function has one, else to the definition.
 */
import type { Expr, Width } from './expr.ts';

export interface PureFunction {
  /** As printed in pseudo-code. */
  readonly name: string;
  readonly parameters: readonly Width[];
  readonly results: readonly Width[];
  /** Unsigned arguments of the parameters' widths; gives values of the results' widths, which the caller cuts. */
  readonly evaluate: (args: readonly bigint[]) => readonly bigint[];
  /**
   * The same without BigInt. Argument n is at `args + 16 n`, result n goes to `results + 16 n`, little-endian; of a value
   * narrower than 32 bits, 32 bits are there and expected.
   */
  readonly execute?: (view: DataView, args: number, results: number) => void;
}

/** A call of a function, which some of its results are taken from. */
export interface CallSite {
  readonly function: PureFunction;
  readonly args: readonly Expr[];
}

/** At most so many arguments and results. */
export const MAX_ARGUMENTS = 8;
export const MAX_RESULTS = 2;
