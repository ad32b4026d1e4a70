/**
 * The fast TLB: a direct-mapped table in wasm memory that compiled code reads itself. It holds a subset of what the
 * architectural TLB (or, without paging, the identity) translates, and only what needs no further care: RAM pages,
 * and for writes pages whose dirty flag is set, that hold no decoded code and that nobody watches.
 *
 * An entry (32 bytes): i64 read tag, i64 write tag, i32 addend. A tag is the linear address of the page, or has bit 0
 * set if the entry is invalid for that access. Wasm address = low 32 bits of the linear address + addend, wrapping.
 */
import {
  EMPTY_FAST_TLB_ADDRESS,
  FAST_TLB_ADDRESS,
  FAST_TLB_ENTRIES,
  FAST_TLB_ENTRY_BYTES,
  FAST_TLB_FILLED_ADDRESS,
  FAST_TLB_INDEX_BITS,
  FAST_TLB_LOG_ENTRIES,
  FAST_TLB_LOGS_ADDRESS,
  FAST_TLB_PAGES_ADDRESS,
  FAST_TLB_SET_BYTES,
  FAST_TLB_SETS_OF_WORLD,
  FAST_TLB_SLOTS,
  PAGE_BYTES,
  RAM_ADDRESS,
} from '../cpu/memory-map.ts';

/** Sets of one world, in the order of memory-map.ts. */
export const FastSet = { Supervisor: 0, User: 1, SupervisorAc: 2 } as const;

export const fastSetAddress = (set: number): number => FAST_TLB_ADDRESS + set * FAST_TLB_SET_BYTES;

/** An entry as plain data: the linear page, the RAM page it leads to, and what it is valid for. */
export interface FastTlbEntry {
  readonly set: number;
  readonly page: number;
  readonly physical: number;
  readonly read: boolean;
  readonly write: boolean;
}

/**
 * Slot of a linear page in a set: both halves of its low 20 bits, so that streams a power of two apart (source and
 * destination of a copy) do not push each other out. Compiled code computes the same (exec/memory-emitter.ts).
 */
function fastTlbIndex(linear: number): number {
  const page = linear >>> 12;
  return (page ^ (page >>> FAST_TLB_INDEX_BITS)) & (FAST_TLB_ENTRIES - 1);
}

/** The two worlds of VMX: root operation (or VMX off), and non-root operation. */
export type World = 0 | 1;
const WORLDS: readonly World[] = [0, 1];

const SLOTS_OF_WORLD = FAST_TLB_SETS_OF_WORLD * FAST_TLB_ENTRIES;
const SLOTS = FAST_TLB_SLOTS;
const WORDS = FAST_TLB_ENTRY_BYTES / 4;
const READ = 0;
const WRITE = 2;
const ADDEND = 4;
const INVALID = 1;
/** Up to so many filled slots are remembered one by one; beyond, dropping everything sweeps the table. */
const LOG_CAPACITY = FAST_TLB_LOG_ENTRIES;

export class FastTlb {
  readonly #words: Int32Array;
  /** RAM page number behind each slot, -1 for an empty one. */
  readonly #pageOf: Int32Array;
  /** By world: the slots filled, and how many. */
  readonly #logs: readonly [Int32Array, Int32Array];
  readonly #filled: Int32Array;

  constructor(buffer: ArrayBuffer) {
    this.#words = new Int32Array(buffer, FAST_TLB_ADDRESS, SLOTS * WORDS);
    this.#pageOf = new Int32Array(buffer, FAST_TLB_PAGES_ADDRESS, SLOTS).fill(-1);
    const log = (world: World) =>
      new Int32Array(buffer, FAST_TLB_LOGS_ADDRESS + world * LOG_CAPACITY * 4, LOG_CAPACITY);
    this.#logs = [log(0), log(1)];
    this.#filled = new Int32Array(buffer, FAST_TLB_FILLED_ADDRESS, 2);
    for (let slot = 0; slot < SLOTS; slot++) this.#invalidate(slot);
    new Int32Array(buffer, EMPTY_FAST_TLB_ADDRESS, FAST_TLB_SET_BYTES / 4).fill(INVALID);
  }

  /**
   * Makes the slot of a linear page translate to a RAM page for reads, writes or both. Rights that the slot has
   * already for the same translation stay.
   */
  fill(set: number, linear: number, physical: number, read: boolean, write: boolean): void {
    const slot = set * FAST_TLB_ENTRIES + fastTlbIndex(linear);
    const at = slot * WORDS;
    const low = linear & ~0xfff;
    const high = Math.floor(linear / 0x1_0000_0000) | 0;
    const ramPage = Math.floor(physical / PAGE_BYTES);
    if (
      this.#pageOf[slot] !== ramPage ||
      !(this.#hasTag(at + READ, low, high) || this.#hasTag(at + WRITE, low, high))
    ) {
      this.#remember(slot);
      this.#invalidate(slot);
      this.#pageOf[slot] = ramPage;
      this.#words[at + ADDEND] = (RAM_ADDRESS + ramPage * PAGE_BYTES - (low >>> 0)) | 0;
    }
    if (read) this.#setTag(at + READ, low, high);
    if (write) this.#setTag(at + WRITE, low, high);
  }

  #hasTag(at: number, low: number, high: number): boolean {
    return this.#words[at] === low && this.#words[at + 1] === high;
  }
  #setTag(at: number, low: number, high: number): void {
    this.#words[at] = low;
    this.#words[at + 1] = high;
  }

  #remember(slot: number): void {
    if (this.#pageOf[slot] !== -1) return;
    const world = slot < SLOTS_OF_WORLD ? 0 : 1;
    const filled = this.#filled[world] as number;
    this.#filled[world] = filled + 1;
    if (filled < LOG_CAPACITY) this.#logs[world][filled] = slot;
  }

  /** The physical address of RAM that a set translates a linear address to for reads or writes, or -1. */
  physicalOf(set: number, linear: number, write: boolean): number {
    const words = this.#words;
    const at = (set * FAST_TLB_ENTRIES + fastTlbIndex(linear)) * WORDS;
    const tag = at + (write ? WRITE : READ);
    if (words[tag] !== (linear & ~0xfff) || words[tag + 1] !== (Math.floor(linear / 0x1_0000_0000) | 0)) return -1;
    return (((linear | 0) + (words[at + ADDEND] as number)) >>> 0) - RAM_ADDRESS;
  }

  #invalidate(slot: number): void {
    const at = slot * WORDS;
    this.#setTag(at + READ, INVALID, 0);
    this.#setTag(at + WRITE, INVALID, 0);
  }

  #dropSlot(slot: number): void {
    this.#invalidate(slot);
    this.#pageOf[slot] = -1;
  }

  /** Empties the table; costs as much as was filled since the last time. */
  dropAll(): void {
    this.dropWorld(0);
    this.dropWorld(1);
  }
  /** The same for the sets of one world. */
  dropWorld(world: World): void {
    const filled = this.#filled[world] as number;
    if (filled === 0) return;
    const log = this.#logs[world];
    if (filled <= LOG_CAPACITY) for (let i = 0; i < filled; i++) this.#dropSlot(log[i] as number);
    else for (let slot = world * SLOTS_OF_WORLD; slot < (world + 1) * SLOTS_OF_WORLD; slot++) this.#dropSlot(slot);
    this.#filled[world] = 0;
  }

  /** Drops the translations of a linear page in every set of a world. The slots stay remembered as filled. */
  dropPage(linear: number, world: World): void {
    if (this.#filled[world] === 0) return;
    const low = linear & ~0xfff;
    const high = Math.floor(linear / 0x1_0000_0000) | 0;
    const first = (world * SLOTS_OF_WORLD + fastTlbIndex(linear)) * WORDS;
    for (let set = 0; set < FAST_TLB_SETS_OF_WORLD; set++) {
      const at = first + set * FAST_TLB_ENTRIES * WORDS;
      if (this.#hasTag(at + READ, low, high)) this.#setTag(at + READ, INVALID, 0);
      if (this.#hasTag(at + WRITE, low, high)) this.#setTag(at + WRITE, INVALID, 0);
    }
  }

  /** Drops every translation to a RAM page, of writes only or of reads as well. */
  dropRamPage(ramPage: number, reads: boolean): void {
    for (const world of WORLDS) {
      this.#forEachFilled(world, (slot) => {
        if (this.#pageOf[slot] !== ramPage) return;
        if (reads) this.#invalidate(slot);
        else this.#setTag(slot * WORDS + WRITE, INVALID, 0);
      });
    }
  }

  /** Drops all translations of writes. */
  dropWriteTags(): void {
    for (const world of WORLDS) {
      this.#forEachFilled(world, (slot) => this.#setTag(slot * WORDS + WRITE, INVALID, 0));
    }
  }

  #forEachFilled(world: World, visit: (slot: number) => void): void {
    const filled = this.#filled[world] as number;
    const log = this.#logs[world];
    if (filled <= LOG_CAPACITY) for (let i = 0; i < filled; i++) visit(log[i] as number);
    else for (let slot = world * SLOTS_OF_WORLD; slot < (world + 1) * SLOTS_OF_WORLD; slot++) visit(slot);
  }

  /** The valid entries, for inspection. */
  entries(): FastTlbEntry[] {
    const all: FastTlbEntry[] = [];
    for (let slot = 0; slot < SLOTS; slot++) {
      const at = slot * WORDS;
      const read = ((this.#words[at + READ] as number) & INVALID) === 0;
      const write = ((this.#words[at + WRITE] as number) & INVALID) === 0;
      if (!read && !write) continue;
      const tag = at + (read ? READ : WRITE);
      const page = (this.#words[tag + 1] as number) * 0x1_0000_0000 + ((this.#words[tag] as number) >>> 0);
      const address = ((page | 0) + (this.#words[at + ADDEND] as number)) >>> 0;
      all.push({ set: Math.floor(slot / FAST_TLB_ENTRIES), page, physical: address - RAM_ADDRESS, read, write });
    }
    return all;
  }
}
