/** A piece of decoded code, and where it starts. */
import type { DecodedInstruction } from '../isa/decode.ts';

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
  readonly linear: number;
  /** RIP, and the offset in its page of the linear address. */
  readonly rip: number;
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
  /** RIPs that its indirect transfer was seen to lead to. */
  readonly targets: Set<number>;
  valid: boolean;
  /** Made for a single step: it has one instruction and looks through a mark. */
  readonly single: boolean;
  /** By ordinal: what the runtime keeps of a system instruction. */
  readonly bound: unknown[];
}

/** Whether an instruction of the block starts at the linear address. */
export function covers(block: Block, linear: number): boolean {
  const { location, instructions } = block;
  const last = instructions[instructions.length - 1];
  const end = last ? location.linear + last.ip - location.rip : location.linear;
  return linear >= location.linear && linear <= end;
}

/** RIP after the last instruction. */
export const endOf = (instructions: readonly DecodedInstruction[]): number => {
  const last = instructions[instructions.length - 1];
  if (!last) throw new Error('a block without instructions falls through');
  return last.ip + last.lengthBytes;
};

/** RIP after the first instruction, or of the block if it has none. */
export const endOfFirst = ({ instructions: [first], location }: Block): number =>
  first ? first.ip + first.lengthBytes : location.rip;
