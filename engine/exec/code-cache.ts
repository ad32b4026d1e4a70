/**
 * Decoded code: blocks of records in wasm memory, found by the physical and linear address of their first instruction
 * and the sizes they were decoded for (linear, so that a mark stands for one linear address). A block ends at a transfer, a system instruction, a mark, the end of its page, or the
 * limit; only an instruction that straddles two pages makes a block on two pages.
 */
import { CODE_CACHE_ADDRESS, CODE_CACHE_BYTES, PAGE_BYTES } from '../cpu/memory-map.ts';
import { type DecodedInstruction, decodeInstructions } from '../isa/decode.ts';
import { formOf } from '../isa/form.ts';
import type { PhysicalMemory } from '../mmu/physical-memory.ts';
import type { HandlerForm } from './handler-emitter.ts';
import { FALL_THROUGH_HANDLER, type HandlerLibrary, MARK_HANDLER, SYSTEM_HANDLER } from './handler-library.ts';
import { LINK_DISPATCH, RECORD_BYTES, record } from './record.ts';
import { RecordWriter } from './record-writer.ts';

const MAX_BLOCK_INSTRUCTIONS = 64;
const MAX_INSTRUCTION_BYTES = 15;

/** What code is decoded for. */
export interface CodeSizes {
  readonly codeSize: 16 | 32 | 64;
  readonly stackSize: 16 | 32 | 64;
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
  compiled: boolean;
  valid: boolean;
}

/** Translates the page after an instruction that straddles; may throw the fetch's event. */
export type NextPage = () => number;

export class CodeCache {
  readonly #physical: PhysicalMemory;
  readonly #library: HandlerLibrary;
  readonly #writer: RecordWriter;
  readonly #blocks = new Map<string, Block>();
  readonly #list: Block[] = [];
  /** By page: keys of its blocks, and which of its bytes were decoded. */
  readonly #pages = new Map<number, { keys: Set<string>; covered: Uint8Array }>();
  #free = CODE_CACHE_ADDRESS;
  /** Linear addresses whose instruction is marked. */
  #marks: ReadonlySet<number> = new Set();
  /** Called when blocks went away: jump-cache entries must not be used any more. */
  onInvalidate: () => void = () => {};
  /** Called when a page becomes a code page: its writes must take the slow path. */
  onCodePage: (page: number) => void = () => {};

  constructor(physical: PhysicalMemory, library: HandlerLibrary) {
    this.#physical = physical;
    this.#library = library;
    this.#writer = new RecordWriter(physical.view.buffer as ArrayBuffer);
    physical.onCodeWrite = (address, length) => this.#written(address, length);
  }

  /** Number of valid blocks, for statistics. */
  get blockCount(): number {
    return this.#blocks.size;
  }

  blockOf(recordAddress: number): Block {
    const index = this.#writer.read32(recordAddress, record.block);
    const block = this.#list[index];
    if (!block) throw new Error(`record ${recordAddress} belongs to no block`);
    return block;
  }
  instructionOf(recordAddress: number): DecodedInstruction {
    const block = this.blockOf(recordAddress);
    const instruction = block.instructions[(recordAddress - block.record) / RECORD_BYTES];
    if (!instruction) throw new Error(`record ${recordAddress} holds no instruction`);
    return instruction;
  }

  /**
   * The block that starts here, decoded if need be. `limit` cuts it to that many instructions and looks through marks;
   * blocks of one instruction are kept, as steps and interrupt shadows ask for them again.
   */
  find(location: CodeLocation, nextPage: NextPage, limit?: number): Block {
    const cut = limit === undefined ? '' : ` ${limit}`;
    const key = `${location.physical} ${location.linear} ${location.rip} ${location.codeSize} ${location.stackSize}${cut}`;
    const known = this.#blocks.get(key);
    if (known) return known;
    if (this.#free + (MAX_BLOCK_INSTRUCTIONS + 1) * RECORD_BYTES > CODE_CACHE_ADDRESS + CODE_CACHE_BYTES) this.clear();
    const block = this.#decode(location, nextPage, limit ?? MAX_BLOCK_INSTRUCTIONS, limit === undefined);
    this.#library.install();
    if (limit === undefined || limit === 1) {
      this.#blocks.set(key, block);
      for (const page of block.pages) this.#page(page).keys.add(key);
    }
    return block;
  }

  /** Replaces the interpretation of a block by a compiled function: all that lead to its first record get there. */
  setHandler(block: Block, slot: number): void {
    this.#writer.write32(block.record, record.handler, slot);
  }

  /** Drops everything. */
  clear(): void {
    for (const page of this.#pages.keys()) this.#physical.codePages[page] = 0;
    for (const block of this.#blocks.values()) block.valid = false;
    this.#pages.clear();
    this.#blocks.clear();
    this.#list.length = 0;
    this.#free = CODE_CACHE_ADDRESS;
    this.#library.dropBlocks();
    this.onInvalidate();
  }

  /** The run loop is asked before an instruction at one of these linear addresses executes. */
  setMarks(marks: ReadonlySet<number>): void {
    const changed = [...marks].filter((m) => !this.#marks.has(m)).concat([...this.#marks].filter((m) => !marks.has(m)));
    this.#marks = marks;
    for (const block of [...this.#blocks.values()]) {
      if (changed.some((mark) => covers(block, mark))) for (const page of block.pages) this.#dropPage(page);
    }
  }

  #page(page: number) {
    let entry = this.#pages.get(page);
    if (!entry) {
      this.#pages.set(page, (entry = { keys: new Set(), covered: new Uint8Array(PAGE_BYTES) }));
      this.#physical.codePages[page] = 1;
      this.onCodePage(page);
    }
    return entry;
  }

  /** A write to a code page: its blocks go if one of their bytes changed. */
  #written(address: number, length: number): void {
    for (let at = address; at < address + length; at++) {
      const page = Math.floor(at / PAGE_BYTES);
      if (this.#pages.get(page)?.covered[at % PAGE_BYTES]) this.#dropPage(page);
    }
  }

  #dropPage(page: number): void {
    const entry = this.#pages.get(page);
    if (!entry) return;
    for (const key of entry.keys) {
      const block = this.#blocks.get(key);
      if (block) block.valid = false;
      this.#blocks.delete(key);
    }
    this.#pages.delete(page);
    this.#physical.codePages[page] = 0;
    this.onInvalidate();
  }

  #decode(location: CodeLocation, nextPage: NextPage, limit: number, keep: boolean): Block {
    const start = this.#free;
    const pages = [Math.floor(location.physical / PAGE_BYTES)];
    const instructions: DecodedInstruction[] = [];
    const marked = keep && this.#marks.has(location.linear);
    let ended = false;
    if (!marked) {
      for (const instruction of this.#instructions(location, nextPage, pages)) {
        if (instructions.length > 0 && this.#marks.has(location.linear + instruction.ip - location.rip)) break;
        instructions.push(instruction);
        ended = this.#writeInstruction(location, instruction, instructions.length - 1);
        if (ended || instructions.length >= limit) break;
      }
    }
    const block: Block = {
      record: start,
      count: instructions.length,
      pages,
      location,
      instructions,
      heat: 0,
      compiled: false,
      valid: true,
    };
    if (marked) this.#writeEnd(location, location.rip, MARK_HANDLER, 0, false);
    else if (!ended) this.#writeEnd(location, endOf(instructions), FALL_THROUGH_HANDLER, instructions.length, keep);
    const records = instructions.length + (ended ? 0 : 1);
    for (let i = 0; i < records; i++) {
      this.#writer.write16(start + i * RECORD_BYTES, record.ordinal, i);
      this.#writer.write16(start + i * RECORD_BYTES, record.blockCount, Math.max(0, instructions.length - i));
      this.#writer.write32(start + i * RECORD_BYTES, record.block, this.#list.length);
    }
    this.#list.push(block);
    this.#free = start + records * RECORD_BYTES;
    this.#cover(location, instructions);
    return block;
  }

  #cover(location: CodeLocation, instructions: readonly DecodedInstruction[]): void {
    const length = instructions.reduce((sum, i) => sum + i.lengthBytes, 0);
    const first = Math.floor(location.physical / PAGE_BYTES);
    const offset = location.physical % PAGE_BYTES;
    this.#page(first).covered.fill(1, offset, Math.min(PAGE_BYTES, offset + length));
  }

  /** The instructions from the location on; the last may straddle into the next page only if it is the first. */
  *#instructions(location: CodeLocation, nextPage: NextPage, pages: number[]): Generator<DecodedInstruction> {
    const left = PAGE_BYTES - location.pageOffset;
    const bytes = this.#codeBytes(location.physical, left);
    let at = 0;
    for (const instruction of decodeInstructions(bytes, location.codeSize, location.rip)) {
      const cutShort = instruction.mnemonic === 'INVALID' && left - at < MAX_INSTRUCTION_BYTES;
      if (!cutShort) yield instruction;
      else if (at > 0) return;
      else yield this.#straddling(location, nextPage, bytes, pages);
      if (cutShort) return;
      at += instruction.lengthBytes;
    }
  }

  #straddling(location: CodeLocation, nextPage: NextPage, head: Uint8Array, pages: number[]): DecodedInstruction {
    const next = nextPage();
    const joined = new Uint8Array(MAX_INSTRUCTION_BYTES);
    joined.set(head);
    joined.set(this.#codeBytes(next, MAX_INSTRUCTION_BYTES - head.length), head.length);
    const [instruction] = decodeInstructions(joined, location.codeSize, location.rip);
    if (!instruction) throw new Error('fifteen bytes decode to nothing');
    if (instruction.lengthBytes > head.length) {
      pages.push(Math.floor(next / PAGE_BYTES));
      this.#page(Math.floor(next / PAGE_BYTES)).covered.fill(1, 0, instruction.lengthBytes - head.length);
    }
    return instruction;
  }

  /** Fetches outside RAM give what the bus peeks: code in device memory is legal and hopeless. */
  #codeBytes(physical: number, length: number): Uint8Array {
    const ram = this.#physical.peek(physical, length);
    if (ram) return ram;
    return Uint8Array.from({ length }, (_, i) =>
      this.#physical.isRam(physical + i)
        ? this.#physical.view.getUint8(physical + i)
        : this.#physical.bus.peek(physical + i, 1),
    );
  }

  /** Writes one record; true if the block ends with it. */
  #writeInstruction(location: CodeLocation, instruction: DecodedInstruction, ordinal: number): boolean {
    const at = this.#free + ordinal * RECORD_BYTES;
    const pageBase = location.rip - location.pageOffset;
    this.#writer.begin(at, instruction, pageBase);
    const form = formOf(instruction, location.stackSize);
    if (!form) {
      this.#writer.write32(at, record.handler, SYSTEM_HANDLER);
      return true;
    }
    const handler = handlerForm(instruction, form);
    this.#writer.write32(at, record.handler, this.#library.slotOf(handler));
    this.#writer.operands(at, instruction, handler, pageBase);
    return form.operation.transfer !== undefined;
  }

  /** The pseudo-record after the last instruction of a block that no transfer ends. */
  #writeEnd(location: CodeLocation, rip: number, handler: number, ordinal: number, link: boolean): void {
    const at = this.#free + ordinal * RECORD_BYTES;
    const nextOffset = rip - (location.rip - location.pageOffset);
    this.#writer.clear(at);
    this.#writer.write32(at, record.handler, handler);
    this.#writer.write32(at, record.nextOffset, nextOffset);
    this.#writer.write16(at, record.pageOffset, nextOffset % PAGE_BYTES);
    if (!link || nextOffset >= PAGE_BYTES) this.#writer.write32(at, record.fallThrough, LINK_DISPATCH);
  }
}

function covers(block: Block, linear: number): boolean {
  const { location, instructions } = block;
  const last = instructions[instructions.length - 1];
  const end = last ? location.linear + last.ip - location.rip : location.linear;
  return linear >= location.linear && linear <= end;
}

const endOf = (instructions: readonly DecodedInstruction[]): number => {
  const last = instructions[instructions.length - 1];
  if (!last) throw new Error('a block without instructions falls through');
  return last.ip + last.lengthBytes;
};

export function handlerForm(
  instruction: DecodedInstruction,
  form: NonNullable<ReturnType<typeof formOf>>,
): HandlerForm {
  return {
    form,
    segmentation: instruction.codeSize === 64 ? 'long' : 'legacy',
    addressSize: instruction.addressSize,
    hasIndex: instruction.memory?.index !== undefined,
  };
}
