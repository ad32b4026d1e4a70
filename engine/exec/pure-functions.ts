/**
 * The functions that compiled code calls out to (expr/pure-function.ts), by the numbers it calls them with. Code is shared by
 * all machines of the process, and so are the numbers.
 */
import { CALL_ARGUMENTS_ADDRESS, CALL_RESULTS_ADDRESS } from '../cpu/memory-map.ts';
import type { Width } from '../expr/expr.ts';
import type { PureFunction } from '../expr/pure-function.ts';

type Execute = NonNullable<PureFunction['execute']>;

const functions: Execute[] = [];
const indices = new Map<PureFunction, number>();

export function functionIndex(of: PureFunction): number {
  let index = indices.get(of);
  if (index === undefined) {
    index = functions.length;
    functions.push(of.execute ?? byDefinition(of));
    indices.set(of, index);
  }
  return index;
}

/** Carries out a call whose arguments are in memory. */
export function callFunction(view: DataView, index: number): void {
  (functions[index] as Execute)(view, CALL_ARGUMENTS_ADDRESS, CALL_RESULTS_ADDRESS);
}

function byDefinition({ parameters, results, evaluate }: PureFunction): Execute {
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
