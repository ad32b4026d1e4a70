/**
 * Decoded code: blocks of records in wasm memory, found by the physical and linear address of their first instruction
 * and the sizes they were decoded for (linear, so that a mark stands for one linear address). A block ends at a transfer, a system instruction, a mark, the end of its page, or the
 * limit; only an instruction that straddles two pages makes a block on two pages.
 */

import { CODE_CACHE_ADDRESS, CODE_CACHE_BYTES, PAGE_BYTES } from '../cpu/memory-map.ts';
import type { InstructionAvailability } from '../isa/availability.ts';
import { type DecodedInstruction, decodeInstructions } from '../isa/decode.ts';
import { formOf } from '../isa/form.ts';
import { difference, isSignExtended, type LinearAddress, linearAddressOf, plus } from '../isa/linear-address.ts';
import { MAX_INSTRUCTION_BYTES } from '../isa/prefixes.ts';
import { type PhysicalMemory, TOLD } from '../mmu/physical-memory.ts';
import { type Block, type CodeLocation, covers, endOf, linearAt } from './block.ts';
import type { HandlerForm } from './handler-emitter.ts';
import { FALL_THROUGH_HANDLER, type HandlerLibrary, MARK_HANDLER, systemHandler } from './handler-library.ts';
import type { AddressingForm } from './operand-emitter.ts';
import { LINK_DISPATCH, RECORD_BYTES, record } from './record.ts';
import { RecordWriter } from './record-writer.ts';

const MAX_BLOCK_INSTRUCTIONS = 64;
/** Records of a block that was cut to the rest of a slice. */
const SCRATCH = CODE_CACHE_ADDRESS;
const FIRST_FREE = CODE_CACHE_ADDRESS + (MAX_BLOCK_INSTRUCTIONS + 1) * RECORD_BYTES;

/** Whose breakpoint a mark is: the debugger's, or the guest's own of DR0 to DR3. */
export type MarkOwner = 'debugger' | 'debug-registers';

/** Translates the page after an instruction that straddles; may throw the fetch's event. */
export type NextPage = () => number;

export class CodeCache {
  readonly #physical: PhysicalMemory;
  /** What the CPU has of the instruction set; undefined: all there is. */
  readonly #availability: InstructionAvailability | undefined;
  readonly #library: HandlerLibrary;
  readonly #writer: RecordWriter;
  /** By the host-physical address of their first instruction. */
  readonly #blocks = new Map<number, Block[]>();
  /** By the index that records carry; the first is the scratch block. */
  readonly #list: Block[] = [];
  /** By page: its blocks, and which of its bytes were decoded. */
  readonly #pages = new Map<number, { blocks: Set<Block>; covered: Uint8Array }>();
  #free = FIRST_FREE;
  /** Linear addresses whose instruction is marked, by whoever marked them, and all together. */
  readonly #marksOf: Record<MarkOwner, ReadonlySet<LinearAddress>> = {
    debugger: new Set(),
    'debug-registers': new Set(),
  };
  #marks: ReadonlySet<LinearAddress> = new Set();
  /** Called when blocks went away: jump-cache entries must not be used any more. */
  onInvalidate: () => void = () => {};
  /** Called when a block goes away. */
  onForget: (block: Block) => void = () => {};
  /** Called when a page becomes a code page: its writes must take the slow path. */
  onCodePage: (page: number) => void = () => {};

  constructor(physical: PhysicalMemory, library: HandlerLibrary, availability?: InstructionAvailability) {
    this.#availability = availability;
    this.#physical = physical;
    this.#library = library;
    this.#writer = new RecordWriter(physical.view.buffer as ArrayBuffer);
    this.#list.length = 1;
    physical.onCodeWrite = (address, length) => this.#written(address, length);
  }

  /** Number of valid blocks, for statistics. */
  get blockCount(): number {
    let count = 0;
    for (const blocks of this.#blocks.values()) count += blocks.length;
    return count;
  }

  /** The block of a record, and which of its instructions the record holds. */
  placeOf(recordAddress: number): { readonly block: Block; readonly ordinal: number } {
    const block = this.#list[this.#writer.read32(recordAddress, record.block)];
    if (!block) throw new Error(`record ${recordAddress} belongs to no block`);
    return { block, ordinal: (recordAddress - block.record) / RECORD_BYTES };
  }
  instructionOf(recordAddress: number): DecodedInstruction {
    const { block, ordinal } = this.placeOf(recordAddress);
    const instruction = block.instructions[ordinal];
    if (!instruction) throw new Error(`record ${recordAddress} holds no instruction`);
    return instruction;
  }

  /**
   * The block that starts here, decoded if need be. With `limit`, its first instructions only: one for a step, which
   * looks through a mark; more for the end of a slice.
   */
  find(location: CodeLocation, nextPage: NextPage, limit?: number): Block {
    if (limit !== undefined && limit > 1) return this.#cut(this.find(location, nextPage), limit);
    const known = this.#known(location, nextPage, limit === 1);
    if (known) return known;
    this.#makeRoom();
    const block = this.#decode(location, nextPage, limit === 1);
    this.#library.install();
    this.#keep(block);
    return block;
  }

  /** For a block, and the handlers that it may need; what is full is emptied. */
  #makeRoom(): void {
    const end = this.#free + (MAX_BLOCK_INSTRUCTIONS + 1) * RECORD_BYTES;
    const lacksHandlers = !this.#library.hasRoomFor(MAX_BLOCK_INSTRUCTIONS);
    if (lacksHandlers || end > CODE_CACHE_ADDRESS + CODE_CACHE_BYTES) this.clear();
    if (lacksHandlers) this.#library.startOver();
  }

  /** An instruction on two pages is still the same only if the second is. */
  #known(location: CodeLocation, nextPage: NextPage, single: boolean): Block | undefined {
    return this.#blocks
      .get(location.physical)
      ?.find(
        (block) =>
          block.single === single &&
          isSameLocation(block.location, location) &&
          (block.pages.length === 1 || block.pages[1] === Math.floor(nextPage() / PAGE_BYTES)),
      );
  }

  #keep(block: Block): void {
    const { physical } = block.location;
    const others = this.#blocks.get(physical);
    if (others) others.push(block);
    else this.#blocks.set(physical, [block]);
    for (const page of block.pages) this.#page(page).blocks.add(block);
  }

  /** The first instructions of a block, in the scratch records: valid until the next cut. */
  #cut(full: Block, limit: number): Block {
    if (full.count <= limit) return full;
    const instructions = full.instructions.slice(0, limit);
    const block: Block = { ...full, record: SCRATCH, count: limit, instructions, bound: [] };
    for (const [ordinal, instruction] of instructions.entries()) {
      this.#writeInstruction(full.location, instruction, SCRATCH + ordinal * RECORD_BYTES);
    }
    this.#writeEnd(full.location, endOf(instructions), FALL_THROUGH_HANDLER, SCRATCH + limit * RECORD_BYTES, false);
    this.#number(block, limit + 1, 0);
    this.#list[0] = block;
    return block;
  }

  /** The block that starts here, if it is decoded and lies on one page. */
  peek(location: CodeLocation): Block | undefined {
    return this.#blocks
      .get(location.physical)
      ?.find((block) => !block.single && block.pages.length === 1 && isSameLocation(block.location, location));
  }

  /** Makes all that leads to the block's first record enter a compiled region. */
  setEntry(block: Block, slot: number, entry: number): void {
    this.#writer.write32(block.record, record.handler, slot);
    this.#writer.write32(block.record, record.entry, entry);
  }
  /** The block is interpreted again. */
  clearEntry(block: Block): void {
    this.#writer.write32(block.record, record.handler, this.#writer.read32(block.record, record.interpreter));
  }

  /** Drops everything. */
  clear(): void {
    for (const page of this.#pages.keys()) this.#physical.tellWrites(page, TOLD.CODE, false);
    for (const block of this.#list) {
      if (!block) continue;
      block.valid = false;
      this.onForget(block);
    }
    this.#pages.clear();
    this.#blocks.clear();
    this.#list.length = 1;
    this.#free = FIRST_FREE;
    // Records are used again: regions look no further than an entry's RIP.
    this.#writer.clearJumpCache();
    this.onInvalidate();
  }

  isMarked(linear: LinearAddress): boolean {
    return this.#marks.has(linear);
  }
  isMarkedBy(owner: MarkOwner, linear: LinearAddress): boolean {
    return this.#marksOf[owner].has(linear);
  }

  /** The run loop is asked before an instruction at one of these linear addresses executes. */
  setMarks(own: ReadonlySet<LinearAddress>, owner: MarkOwner = 'debugger'): void {
    this.#marksOf[owner] = own;
    const marks = new Set([...this.#marksOf.debugger, ...this.#marksOf['debug-registers']]);
    const changed = [...marks].filter((m) => !this.#marks.has(m)).concat([...this.#marks].filter((m) => !marks.has(m)));
    this.#marks = marks;
    for (const block of [...this.#blocks.values()].flat()) {
      if (changed.some((mark) => covers(block, mark))) for (const page of block.pages) this.#dropPage(page);
    }
  }

  #page(page: number) {
    let entry = this.#pages.get(page);
    if (!entry) {
      this.#pages.set(page, (entry = { blocks: new Set(), covered: new Uint8Array(PAGE_BYTES) }));
      this.#physical.tellWrites(page, TOLD.CODE, true);
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
    for (const block of entry.blocks) this.#forget(block);
    this.#pages.delete(page);
    this.#physical.tellWrites(page, TOLD.CODE, false);
    this.onInvalidate();
  }

  #forget(block: Block): void {
    block.valid = false;
    this.#writer.write32(block.record, record.physicalPage, 0);
    this.onForget(block);
    const { physical } = block.location;
    const others = this.#blocks.get(physical)?.filter((other) => other !== block) ?? [];
    if (others.length > 0) this.#blocks.set(physical, others);
    else this.#blocks.delete(physical);
    for (const page of block.pages) this.#pages.get(page)?.blocks.delete(block);
  }

  #decode(location: CodeLocation, nextPage: NextPage, single: boolean): Block {
    const start = this.#free;
    const pages = [Math.floor(location.physical / PAGE_BYTES)];
    const instructions: DecodedInstruction[] = [];
    const limit = single ? 1 : MAX_BLOCK_INSTRUCTIONS;
    const marked = !single && this.#marks.has(location.linear);
    let ended = false;
    if (!marked) {
      for (const instruction of this.#instructions(location, nextPage, pages, limit)) {
        if (instructions.length > 0 && this.#marks.has(linearAt(location, instruction.ip))) break;
        instructions.push(instruction);
        ended = this.#writeInstruction(location, instruction, start + (instructions.length - 1) * RECORD_BYTES);
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
      heatedSince: 0,
      targets: new Set(),
      valid: true,
      single,
      bound: [],
    };
    if (marked) this.#writeEnd(location, location.rip, MARK_HANDLER, start, false);
    else if (!ended) {
      const at = start + instructions.length * RECORD_BYTES;
      this.#writeEnd(location, endOf(instructions), FALL_THROUGH_HANDLER, at, !single);
    }
    const records = instructions.length + (ended ? 0 : 1);
    this.#number(block, records, this.#list.length);
    if (!single && pages.length === 1 && this.#physical.isRam(location.physical)) {
      this.#writer.write32(start, record.physicalPage, (pages[0] as number) * PAGE_BYTES + 1);
    }
    this.#list.push(block);
    this.#free = start + records * RECORD_BYTES;
    this.#cover(location, instructions);
    return block;
  }

  /** Tells each record its place in the block, and the block. */
  #number(block: Block, records: number, index: number): void {
    for (let ordinal = 0; ordinal < records; ordinal++) {
      const at = block.record + ordinal * RECORD_BYTES;
      this.#writer.write16(at, record.ordinal, ordinal);
      this.#writer.write16(at, record.blockCount, Math.max(0, block.count - ordinal));
      this.#writer.write32(at, record.block, index);
    }
  }

  #cover(location: CodeLocation, instructions: readonly DecodedInstruction[]): void {
    const length = instructions.reduce((sum, i) => sum + i.lengthBytes, 0);
    const first = Math.floor(location.physical / PAGE_BYTES);
    const offset = location.physical % PAGE_BYTES;
    this.#page(first).covered.fill(1, offset, Math.min(PAGE_BYTES, offset + length));
  }

  /** The instructions from the location on; the last may straddle into the next page only if it is the first. */
  *#instructions(
    location: CodeLocation,
    nextPage: NextPage,
    pages: number[],
    limit: number,
  ): Generator<DecodedInstruction> {
    const left = Math.min(PAGE_BYTES - location.pageOffset, limit * MAX_INSTRUCTION_BYTES);
    const bytes = this.#codeBytes(location.physical, left);
    let at = 0;
    for (const instruction of decodeInstructions(bytes, location.codeSize, location.rip, this.#availability)) {
      const cutShort = instruction.isCutShort && left - at < MAX_INSTRUCTION_BYTES;
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
    const [instruction] = decodeInstructions(joined, location.codeSize, location.rip, this.#availability);
    if (!instruction) throw new Error('fifteen bytes decode to nothing');
    // What does not exist may be as long as that.
    const length = instruction.mnemonic === 'INVALID' ? MAX_INSTRUCTION_BYTES : instruction.lengthBytes;
    if (length > head.length) {
      pages.push(Math.floor(next / PAGE_BYTES));
      this.#page(Math.floor(next / PAGE_BYTES)).covered.fill(1, 0, length - head.length);
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
  #writeInstruction(location: CodeLocation, instruction: DecodedInstruction, at: number): boolean {
    const pageBase = plus(location.rip, -location.pageOffset);
    this.#writer.begin(at, instruction, pageBase);
    const form = formOf(instruction, location.stackSize, location.extensions);
    const handler = form && handlerForm(instruction, form);
    if (!handler) {
      this.#writer.handler(at, systemHandler(instruction));
      // The vector of INT n, for the handler of its own that it has.
      this.#writer.write32(at, record.immediate, Number(instruction.operands[0]?.value ?? 0n) & 0xff);
      this.#writer.registers(at, instruction);
      this.#writer.memory(at, instruction, addressingForm(instruction));
      return true;
    }
    this.#writer.handler(at, this.#library.slotOf(handler));
    this.#writer.operands(at, instruction, handler, pageBase);
    return handler.form.operation.transfer !== undefined;
  }

  /** The pseudo-record after the last instruction of a block that no transfer ends. */
  #writeEnd(location: CodeLocation, rip: LinearAddress, handler: number, at: number, link: boolean): void {
    const nextOffset = difference(rip, location.rip) + location.pageOffset;
    this.#writer.clear(at);
    this.#writer.handler(at, handler);
    this.#writer.write32(at, record.nextOffset, nextOffset);
    this.#writer.write16(at, record.pageOffset, nextOffset % PAGE_BYTES);
    if (!link || nextOffset >= PAGE_BYTES) this.#writer.write32(at, record.fallThrough, LINK_DISPATCH);
  }
}

const isSameLocation = (a: CodeLocation, b: CodeLocation): boolean =>
  a.linear === b.linear &&
  a.rip === b.rip &&
  a.codeSize === b.codeSize &&
  a.stackSize === b.stackSize &&
  a.extensions === b.extensions;

export function handlerForm(
  instruction: DecodedInstruction,
  form: NonNullable<ReturnType<typeof formOf>>,
): HandlerForm {
  return { form, ...addressingForm(instruction), hasIndex: instruction.memory?.index !== undefined };
}

const addressingForm = (instruction: DecodedInstruction): AddressingForm => ({
  segmentation: instruction.codeSize === 64 ? 'long' : 'legacy',
  addressSize: instruction.addressSize,
  ...branchesAstray(instruction),
});

function branchesAstray({ codeSize, operands: [operand] }: DecodedInstruction): Pick<AddressingForm, 'branchesAstray'> {
  if (codeSize !== 64 || operand?.kind !== 'near-branch') return {};
  const target = linearAddressOf(operand.value ?? 0n);
  if (isSignExtended(target, false)) return {};
  return { branchesAstray: isSignExtended(target, true) ? 'wide' : 'always' };
}
