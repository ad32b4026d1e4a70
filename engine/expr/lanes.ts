/** A row of the table of vector operations, and taking vectors apart into lanes. */
import type { Width } from './expr.ts';

export interface VectorRow {
  readonly arguments: readonly Width[];
  readonly result: Width;
  /** Definition: unsigned arguments of their widths, and the immediates (lane numbers); cut to the result's width by the caller. */
  readonly evaluate: (args: readonly bigint[], immediates: readonly number[]) => bigint;
  /** Name of the operation in pseudo-code. */
  readonly text: string;
}

/** The lanes of a vector, the lowest first, unsigned. */
export function lanesOf(bits: number, vector: bigint): bigint[] {
  return Array.from({ length: 128 / bits }, (_, lane) => BigInt.asUintN(bits, vector >> BigInt(bits * lane)));
}
/** The vector of lanes, each cut to its width. */
export function fromLanes(bits: number, lanes: readonly bigint[]): bigint {
  return lanes.reduce((vector, lane, i) => vector | (BigInt.asUintN(bits, lane) << BigInt(bits * i)), 0n);
}
