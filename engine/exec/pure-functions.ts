/**
 * The functions that compiled code calls out to (expr/pure-function.ts), by the numbers it calls them with. Code is shared by
 * all machines of the process, and so are the numbers.
 */
import { CALL_ARGUMENTS_ADDRESS, CALL_RESULTS_ADDRESS } from '../cpu/memory-map.ts';
import { type Execute, executeDefinition, type PureFunction } from '../expr/pure-function.ts';

const functions: Execute[] = [];
const indices = new Map<PureFunction, number>();

export function functionIndex(of: PureFunction): number {
  let index = indices.get(of);
  if (index === undefined) {
    index = functions.length;
    functions.push(of.execute ?? executeDefinition(of));
    indices.set(of, index);
  }
  return index;
}

/** Carries out a call whose arguments are in memory. */
export function callFunction(view: DataView, index: number): void {
  (functions[index] as Execute)(view, CALL_ARGUMENTS_ADDRESS, CALL_RESULTS_ADDRESS);
}
