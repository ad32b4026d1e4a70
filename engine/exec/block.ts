/** A piece of decoded code, and where it starts. */

import type { DecodedInstruction } from '../isa/decode.ts';
import { difference, type LinearAddress, plus } from '../isa/linear-address.ts';

/** What code is decoded for. */
export interface CodeSizes {
  readonly codeSize: 16 | 32 | 64;
  readonly stackSize: 16 | 32 | 64;
  /** Mask of EXTENSION (isa/extensions.ts): those that are enabled. */
  readonly extensions: number;
}

/** Where a block starts. */
export interface CodeLocation extends CodeSizes {
  /** Host-physical address. */
  readonly physical: number;
  readonly linear: LinearAddress;
  /** RIP, and the offset in its page of the linear address. */
  readonly rip: LinearAddress;
  readonly pageOffset: number;
}

export interface Block {
  readonly record: number;
  /** Instructions. */
  readonly count: number;
  /** Host-physical page numbers. */
  readonly pages: readonly number[];
  readonly location: CodeLocation;
  /** The instruction at each record. */
  readonly instructions: readonly DecodedInstruction[];
  /** Times the run loop met it, which it does at the end of each slice: a sample of what is hot. */
  heat: number;
  /** The number of the sample with which it began to be warm. */
  heatedSince: number;
  /** RIPs that its indirect transfer was seen to lead to. */
  readonly targets: Set<LinearAddress>;
  valid: boolean;
  /** Made for a single step: it has one instruction and looks through a mark. */
  readonly single: boolean;
  /** By ordinal: what the runtime keeps of a system instruction. */
  readonly bound: unknown[];
}

/** Whether an instruction of the block starts at the linear address. */
export function covers(block: Block, linear: LinearAddress): boolean {
  const { location, instructions } = block;
  const last = instructions[instructions.length - 1];
  const end = last ? linearAt(location, last.ip) : location.linear;
  return linear >= location.linear && linear <= end;
}

/** The linear address of an RIP in the page of a location. */
export const linearAt = ({ linear, rip }: CodeLocation, at: LinearAddress): LinearAddress =>
  plus(linear, difference(at, rip));

/** RIP after the last instruction. */
export const endOf = (instructions: readonly DecodedInstruction[]): LinearAddress => {
  const last = instructions[instructions.length - 1];
  if (!last) throw new Error('a block without instructions falls through');
  return plus(last.ip, last.lengthBytes);
};

/** RIP after the first instruction, or of the block if it has none. */
export const endOfFirst = ({ instructions: [first], location }: Block): LinearAddress =>
  first ? plus(first.ip, first.lengthBytes) : location.rip;
