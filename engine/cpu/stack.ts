/** Pushes and pops that take effect together or not at all. */
import { checkSegment, isCanonical, readLinear, withinLimit, writeLinear } from './access.ts';
import { SS_ } from './events.ts';
import { stackSize } from './modes.ts';
import { Privilege, type Processor } from './processor.ts';
import { SS } from './state.ts';

export const RSP = 4;

export type StackSize = 16 | 32 | 64;

export function readStackPointer(processor: Processor, size: StackSize): number {
  if (size === 64) return processor.state.gprLinear(RSP);
  const esp = processor.state.gpr32(RSP);
  return size === 32 ? esp : esp & 0xffff;
}

/** Writes SP, ESP or RSP; a 16-bit stack keeps the upper bits. */
export function writeStackPointer(processor: Processor, size: StackSize, value: number): void {
  const { state } = processor;
  if (size === 64) state.setGprLinear(RSP, value);
  else if (size === 32) state.setGpr32(RSP, value);
  else state.setGpr(RSP, (state.gpr(RSP) & ~0xffffn) | BigInt(value & 0xffff));
}

const wrap = (size: StackSize, pointer: number): number => {
  if (size === 64) return pointer;
  return size === 32 ? pointer >>> 0 : pointer & 0xffff;
};

/** Checks one stack access and gives its linear address. */
type StackCheck = (offset: number, sizeBytes: number) => number;

interface Push {
  readonly linear: number;
  readonly sizeBytes: number;
  readonly value: bigint;
}

/** Pushes that are checked as they are made and written by `commit`. */
export class PushFrame {
  readonly #processor: Processor;
  readonly #size: StackSize;
  readonly #check: StackCheck;
  readonly #privilege: Privilege;
  readonly #pushes: Push[] = [];
  #pointer: number;

  constructor(processor: Processor, size: StackSize, pointer: number, check: StackCheck, privilege: Privilege) {
    this.#processor = processor;
    this.#size = size;
    this.#pointer = wrap(size, pointer);
    this.#check = check;
    this.#privilege = privilege;
  }

  /** Pushes a slot of `sizeBytes` bytes, of which the low `writtenBytes` are written; throws what the write would. */
  push(value: bigint | number, sizeBytes: number, writtenBytes = sizeBytes): void {
    const pointer = wrap(this.#size, this.#pointer - sizeBytes);
    const linear = this.#check(pointer, writtenBytes);
    this.#processor.memory.probeWrite(linear, writtenBytes, this.#privilege);
    this.#pushes.push({ linear, sizeBytes: writtenBytes, value: BigInt(value) });
    this.#pointer = pointer;
  }

  /** Writes all pushes and returns the new stack pointer. */
  commit(): number {
    for (const { linear, sizeBytes, value } of this.#pushes) {
      writeLinear(this.#processor, linear, sizeBytes, value, this.#privilege);
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
  readonly base: number;
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
    if (!withinLimit(segment, offset, sizeBytes)) throw SS_(errorCode);
    return (segment.base + offset) >>> 0;
  };
  return new PushFrame(processor, size, pointer, check, Privilege.Supervisor);
}

/** Pushes onto a stack given by a 64-bit stack pointer; non-canonical addresses throw SS(errorCode). */
export function stack64(processor: Processor, pointer: number, errorCode: number, privilege: Privilege): PushFrame {
  const check: StackCheck = (linear, sizeBytes) => {
    if (isCanonical(linear) && isCanonical(linear + sizeBytes - 1)) return linear;
    throw SS_(errorCode);
  };
  return new PushFrame(processor, 64, pointer, check, privilege);
}

/** Pops from the current stack that move a copy of the stack pointer; `commit` stores it. */
export class PopFrame {
  readonly #processor: Processor;
  readonly #size: StackSize;
  #pointer: number;

  constructor(processor: Processor) {
    this.#processor = processor;
    this.#size = stackSize(processor.state);
    this.#pointer = readStackPointer(processor, this.#size);
  }

  /** Pops `sizeBytes` bytes, unsigned; throws SS(0) or PF. */
  pop(sizeBytes: number): bigint {
    const linear = checkSegment(this.#processor, SS, this.#pointer, sizeBytes, 'read');
    const value = readLinear(this.#processor, linear, sizeBytes, Privilege.Current);
    this.skip(sizeBytes);
    return value;
  }

  /** Pops a 2- or 4-byte number, or an 8-byte address as a signed number. */
  popNumber(sizeBytes: number): number {
    return Number(BigInt.asIntN(64, this.pop(sizeBytes)));
  }

  /** Pops an operand whose low 16 bits are a selector. */
  popSelector(sizeBytes: number): number {
    return Number(this.pop(sizeBytes) & 0xffffn);
  }

  skip(lengthBytes: number): void {
    this.#pointer = wrap(this.#size, this.#pointer + lengthBytes);
  }

  get pointer(): number {
    return this.#pointer;
  }

  commit(): void {
    writeStackPointer(this.#processor, this.#size, this.#pointer);
  }
}
