/**
 * What maps to no operator: a function of its arguments alone, defined with BigInt. The oracle evaluates the definition;
 * compiled code calls out, to `execute` if the function has one, else to the definition.
 */
import type { Expr, Width } from './expr.ts';

export type Execute = (view: DataView, args: number, results: number) => void;

export interface PureFunction {
  /** As printed in pseudo-code. */
  readonly name: string;
  readonly parameters: readonly Width[];
  readonly results: readonly Width[];
  /** As printed after a dot; the value itself has none. */
  readonly resultNames?: readonly string[];
  /** Unsigned arguments of the parameters' widths; gives values of the results' widths, which the caller cuts. */
  readonly evaluate: (args: readonly bigint[]) => readonly bigint[];
  /**
   * The same without BigInt. Argument n is at `args + 16 n`, result n goes to `results + 16 n`, little-endian; of a value
   * narrower than 32 bits, 32 bits are there and expected.
   */
  readonly execute?: Execute;
}

/** A call of a function, which some of its results are taken from. */
export interface CallSite {
  readonly function: PureFunction;
  readonly args: readonly Expr[];
  readonly shortcut?: Shortcut | undefined;
}

/**
 * Expressions that have the results of a call whenever the condition holds, so that compiled code need not call. The call is
 * the definition: the oracle and the printer do not look at its shortcut.
 */
export interface Shortcut {
  readonly condition: Expr<1>;
  readonly values: readonly Expr[];
}

/** Carries out a function by its definition, as `execute` does it. */
export function executeDefinition({ parameters, results, evaluate }: PureFunction): Execute {
  return (view, args, to) => {
    const values = evaluate(parameters.map((width, n) => BigInt.asUintN(width, readSlot(view, args + 16 * n, width))));
    for (const [n, width] of results.entries()) {
      writeSlot(view, to + 16 * n, width, BigInt.asUintN(width, values[n] ?? 0n));
    }
  };
}

function readSlot(view: DataView, at: number, width: Width): bigint {
  if (width === 128) return view.getBigUint64(at, true) | (view.getBigUint64(at + 8, true) << 64n);
  return width === 64 ? view.getBigUint64(at, true) : BigInt(view.getUint32(at, true));
}
function writeSlot(view: DataView, at: number, width: Width, value: bigint): void {
  if (width < 64) return view.setUint32(at, Number(value), true);
  view.setBigUint64(at, BigInt.asUintN(64, value), true);
  if (width === 128) view.setBigUint64(at + 8, value >> 64n, true);
}
