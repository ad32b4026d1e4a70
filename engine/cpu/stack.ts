/** Pushes and pops that take effect together or not at all. */

import { type LinearAddress, low32, offsetInPage, pageOf, plus } from '../isa/linear-address.ts';
import { checkSegment, isCanonical, readLinearNumber, withinLimit, writeLinearNumber } from './access.ts';
import { SS_ } from './events.ts';
import { PAGE_BYTES } from './memory-map.ts';
import { stackSize } from './modes.ts';
import { Privilege, type Processor } from './processor.ts';
import { SS } from './state.ts';

export const RSP = 4;

export type StackSize = 16 | 32 | 64;

export function readStackPointer(processor: Processor, size: StackSize): LinearAddress {
  if (size === 64) return processor.state.gprLinear(RSP);
  const esp = processor.state.gpr32(RSP);
  return size === 32 ? esp : esp & 0xffff;
}

/** Writes SP, ESP or RSP; a 16-bit stack keeps the upper bits. */
export function writeStackPointer(processor: Processor, size: StackSize, value: LinearAddress): void {
  const { state } = processor;
  if (size === 64) state.setGprLinear(RSP, value);
  else if (size === 32) state.setGpr32(RSP, low32(value));
  else state.setGpr(RSP, (state.gpr(RSP) & ~0xffffn) | BigInt(low32(value) & 0xffff));
}

const wrap = (size: StackSize, pointer: LinearAddress): LinearAddress => {
  if (size === 64) return pointer;
  return size === 32 ? low32(pointer) : low32(pointer) & 0xffff;
};

/** Checks one stack access and gives its linear address. */
type StackCheck = (offset: LinearAddress, sizeBytes: number) => LinearAddress;

/** A push in the list of a frame: linear address, size in bytes, value. */
const PUSH_NUMBERS = 3;

/** Pushes that are checked as they are made and written by `commit`. */
export class PushFrame {
  readonly #processor: Processor;
  readonly #size: StackSize;
  readonly #check: StackCheck;
  readonly #privilege: Privilege;
  readonly #pushes: LinearAddress[] = [];
  /** The page that was probed last. */
  #probedPage = Number.NaN;
  #pointer: LinearAddress;

  constructor(processor: Processor, size: StackSize, pointer: LinearAddress, check: StackCheck, privilege: Privilege) {
    this.#processor = processor;
    this.#size = size;
    this.#pointer = wrap(size, pointer);
    this.#check = check;
    this.#privilege = privilege;
  }

  /** Pushes a slot of `sizeBytes` bytes, of which the low `writtenBytes` are written; throws what the write would. */
  push(value: LinearAddress, sizeBytes: number, writtenBytes = sizeBytes): void {
    const pointer = wrap(this.#size, plus(this.#pointer, -sizeBytes));
    const linear = this.#check(pointer, writtenBytes);
    this.#probe(linear, writtenBytes);
    this.#pushes.push(linear, writtenBytes, value);
    this.#pointer = pointer;
  }

  /** What a write would throw is the same for all of a page. */
  #probe(linear: LinearAddress, lengthBytes: number): void {
    const isInside = offsetInPage(linear) + lengthBytes <= PAGE_BYTES;
    if (isInside && pageOf(linear) === this.#probedPage) return;
    this.#processor.memory.probeWrite(linear, lengthBytes, this.#privilege);
    if (isInside) this.#probedPage = pageOf(linear);
  }

  /** Writes all pushes and returns the new stack pointer. */
  commit(): LinearAddress {
    const pushes = this.#pushes;
    for (let i = 0; i < pushes.length; i += PUSH_NUMBERS) {
      const linear = pushes[i] as LinearAddress;
      const sizeBytes = pushes[i + 1] as number;
      writeLinearNumber(this.#processor, linear, sizeBytes, pushes[i + 2] as LinearAddress, this.#privilege);
    }
    return this.#pointer;
  }
}

/** Pushes onto the current stack; overruns throw SS(0). */
export function currentStack(processor: Processor): PushFrame {
  const size = stackSize(processor.state);
  const check: StackCheck = (offset, sizeBytes) => checkSegment(processor, SS, offset, sizeBytes, 'write');
  return new PushFrame(processor, size, readStackPointer(processor, size), check, Privilege.Current);
}

/** Pushes made with a current-stack frame take effect. */
export function commitToCurrentStack(processor: Processor, frame: PushFrame): void {
  const size = stackSize(processor.state);
  writeStackPointer(processor, size, frame.commit());
}

/** Hidden part of a stack segment that is not loaded yet. */
export interface StackSegment {
  readonly base: LinearAddress;
  readonly limit: number;
  readonly attributes: number;
}

/** Pushes onto a stack of an inner ring outside IA-32e mode; overruns throw SS(errorCode). */
export function innerStack(
  processor: Processor,
  segment: StackSegment,
  size: 16 | 32,
  pointer: number,
  errorCode: number,
): PushFrame {
  const check: StackCheck = (offset, sizeBytes) => {
    if (!withinLimit(segment, low32(offset), sizeBytes)) throw SS_(errorCode);
    return low32(plus(segment.base, offset));
  };
  return new PushFrame(processor, size, pointer, check, Privilege.Supervisor);
}

/** Pushes onto a stack given by a 64-bit stack pointer; non-canonical addresses throw SS(errorCode). */
export function stack64(
  processor: Processor,
  pointer: LinearAddress,
  errorCode: number,
  privilege: Privilege,
): PushFrame {
  const { state } = processor;
  const check: StackCheck = (linear, sizeBytes) => {
    if (isCanonical(state, linear) && isCanonical(state, plus(linear, sizeBytes - 1))) return linear;
    throw SS_(errorCode);
  };
  return new PushFrame(processor, 64, pointer, check, privilege);
}

/** Pops from the current stack that move a copy of the stack pointer; `commit` stores it. */
export class PopFrame {
  readonly #processor: Processor;
  readonly #size: StackSize;
  #pointer: LinearAddress;

  constructor(processor: Processor) {
    this.#processor = processor;
    this.#size = stackSize(processor.state);
    this.#pointer = readStackPointer(processor, this.#size);
  }

  /** Linear address of the slot of `sizeBytes` bytes that is popped next; throws SS(0). */
  #slot(sizeBytes: number): LinearAddress {
    return checkSegment(this.#processor, SS, this.#pointer, sizeBytes, 'read');
  }

  /** Pops a 2- or 4-byte number, or an 8-byte address; throws SS(0) or PF. */
  popNumber(sizeBytes: number): LinearAddress {
    const value = readLinearNumber(this.#processor, this.#slot(sizeBytes), sizeBytes, Privilege.Current);
    this.skip(sizeBytes);
    return value;
  }

  /** Pops 2, 4 or 8 bytes, of which the low 32 bits count, unsigned; throws SS(0) or PF. */
  popLow32(sizeBytes: number): number {
    if (sizeBytes !== 8) return low32(this.popNumber(sizeBytes));
    const value = this.#processor.memory.readLowHalf64(this.#slot(sizeBytes), Privilege.Current);
    this.skip(sizeBytes);
    return value;
  }

  /** Pops an operand whose low 16 bits are a selector. */
  popSelector(sizeBytes: number): number {
    return this.popLow32(sizeBytes) & 0xffff;
  }

  skip(lengthBytes: number): void {
    this.#pointer = wrap(this.#size, plus(this.#pointer, lengthBytes));
  }

  get pointer(): LinearAddress {
    return this.#pointer;
  }

  commit(): void {
    writeStackPointer(this.#processor, this.#size, this.#pointer);
  }
}
