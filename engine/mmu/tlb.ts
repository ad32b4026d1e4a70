/**
 * Stores of cached translations (SDM volume 3, "Translation Lookaside Buffers" and "Caching Translation Information").
 *
 * Set-associative with first-in-first-out replacement, so that its contents are a function of the accesses made.
 * Stored in typed arrays: it is looked up whenever the fast TLB misses.
 */
import { LINEAR_TLB_BYTES } from '../cpu/memory-map.ts';
import { MappingFlag } from './access.ts';
import {
  ADDRESS,
  ADDRESSES,
  guestShiftOf,
  kindOf,
  LINEAR_LAYOUT,
  modeOf,
  ownerOf,
  pcidOf,
  shiftOf,
  vpidOf,
  WORD,
  WORDS,
} from './tlb-layout.ts';

/** EPTRTA of a mapping that was made without EPT. */
export const NO_EPT = -1;
/** In its place with nested paging of AMD-V, where an ASID alone tags what is cached. */
export const NESTED_PAGING = -2;

/** What mappings are tagged with, and what they were made from. */
export interface MappingTag {
  vpid: number;
  pcid: number;
  /** EPTRTA: host-physical address of the EPT PML4 table, or NO_EPT. */
  eptRoot: number;
  /** CR3's table address and the paging mode at the time: no tag, but lets a view walk again. */
  root: number;
  mode: number;
}

/** One mapping as plain data. Addresses are page bases; sizes are log2 of bytes. */
export interface Mapping extends Readonly<MappingTag> {
  readonly slot: number;
  readonly page: number;
  readonly physical: number;
  readonly pageShift: number;
  /** Size of the guest's page, of which this mapping may be a fragment. */
  readonly guestPageShift: number;
  /** MappingFlag bits. */
  readonly flags: number;
}

/** Which mappings an invalidation is about; `undefined` means any. */
export interface InvalidationScope {
  readonly vpid?: number;
  readonly pcid?: number;
  /** Global mappings stay. */
  readonly keepGlobal?: boolean;
  /** Mappings of VPID 0000H stay. */
  readonly keepVpid0?: boolean;
}

const PAGE_SHIFTS = [12, 21, 22, 30] as const;

export class MappingStore {
  readonly capacity: number;
  /**
   * Called when a mapping leaves to make room, or is dropped or replaced; `guestsOnly` if its tags are such that only
   * non-root operation can have used it.
   */
  onDrop: (page: number, pageShift: number, flags: number, guestsOnly: boolean) => void = () => {};

  readonly #sets: number;
  readonly #ways: number;
  /** Page bases; NaN marks a free slot: it equals nothing. */
  readonly #page: Float64Array;
  /** By slot, see ADDRESS. */
  readonly #addresses: Float64Array;
  /** By slot, see WORD. */
  readonly #words: Int32Array;
  /** The way of each set that is replaced next. */
  readonly #next: Uint8Array;
  /** Live mappings by page shift. */
  readonly #live: Int32Array;
  /** Live mappings by set, so that sweeps pass over the empty ones. */
  readonly #liveOfSet: Uint8Array;
  /** Live mappings that EPT had a part in, by set and in all. */
  readonly #combinedOfSet: Uint8Array;
  /** The same bytes, of four sets together. */
  readonly #combinedOfFour: Uint32Array;
  #combined = 0;
  /** Live mappings that are part of a larger guest page, in the one element. */
  readonly #fragmentCount: Int32Array;

  /** Wasm address of the arrays (see LINEAR_LAYOUT), 0 if they do not lie in the wasm memory. */
  readonly address: number;

  /** `sets` is a power of two. The arrays lie in `memory` if it is given. */
  constructor(sets: number, ways: number, memory?: { readonly buffer: ArrayBuffer; readonly address: number }) {
    this.#sets = sets;
    this.#ways = ways;
    this.capacity = sets * ways;
    this.address = memory?.address ?? 0;
    const buffer = memory?.buffer ?? new ArrayBuffer(LINEAR_TLB_BYTES);
    const at = (array: keyof typeof LINEAR_LAYOUT) => this.address + LINEAR_LAYOUT[array];
    this.#page = new Float64Array(buffer, at('pages'), this.capacity).fill(Number.NaN);
    this.#addresses = new Float64Array(buffer, at('addresses'), this.capacity * ADDRESSES);
    this.#words = new Int32Array(buffer, at('words'), this.capacity * WORDS);
    this.#live = new Int32Array(buffer, at('live'), 31);
    this.#next = new Uint8Array(buffer, at('next'), sets);
    this.#liveOfSet = new Uint8Array(buffer, at('liveOfSet'), sets);
    this.#fragmentCount = new Int32Array(buffer, at('fragments'), 1);
    this.#combinedOfSet = new Uint8Array(sets);
    this.#combinedOfFour = new Uint32Array(this.#combinedOfSet.buffer);
  }

  get #fragments(): number {
    return this.#fragmentCount[0] as number;
  }
  set #fragments(count: number) {
    this.#fragmentCount[0] = count;
  }

  /** Slot of the mapping that translates the address under the tag, or -1. */
  find(address: number, tag: MappingTag): number {
    const live = this.#live;
    if (live[12] !== 0) {
      const slot = this.#probe(address - (address & 0xfff), (address >>> 12) & (this.#sets - 1), 12, tag);
      if (slot >= 0) return slot;
    }
    if (live[21] !== 0) {
      const slot = this.#probe(address - (address & 0x1f_ffff), (address >>> 21) & (this.#sets - 1), 21, tag);
      if (slot >= 0) return slot;
    }
    if (live[22] !== 0) {
      const slot = this.#probe(address - (address & 0x3f_ffff), (address >>> 22) & (this.#sets - 1), 22, tag);
      if (slot >= 0) return slot;
    }
    if (live[30] !== 0) return this.#probe(address - (address & 0x3fff_ffff), this.#setOf(address, 30), 30, tag);
    return -1;
  }

  #setOf(address: number, shift: number): number {
    // Of the larger pages the index does not lie in the low 32 bits.
    const number = shift < 30 ? address >>> shift : Math.floor(address / 2 ** shift);
    return number & (this.#sets - 1);
  }

  #probe(page: number, set: number, shift: number, tag: MappingTag): number {
    if (this.#liveOfSet[set] === 0) return -1;
    const pages = this.#page;
    const end = (set + 1) * this.#ways;
    for (let slot = set * this.#ways; slot < end; slot++) {
      if (pages[slot] === page && this.shiftAt(slot) === shift && this.#matches(slot, tag)) return slot;
    }
    return -1;
  }

  #matches(slot: number, tag: MappingTag): boolean {
    if (this.#addresses[slot * ADDRESSES + ADDRESS.eptRoot] !== tag.eptRoot) return false;
    const owner = this.#owner(slot);
    if (owner === ownerOf(tag.vpid, tag.pcid)) return true;
    return vpidOf(owner) === tag.vpid && (this.flagsAt(slot) & MappingFlag.Global) !== 0;
  }

  physicalOf(slot: number, address: number): number {
    return (this.#addresses[slot * ADDRESSES + ADDRESS.physical] as number) + (address - (this.#page[slot] as number));
  }
  flagsAt(slot: number): number {
    return this.#words[slot * WORDS + WORD.flags] as number;
  }
  setFlags(slot: number, flags: number): void {
    this.#words[slot * WORDS + WORD.flags] = flags;
  }
  shiftAt(slot: number): number {
    return shiftOf(this.#kind(slot));
  }
  #kind(slot: number): number {
    return this.#words[slot * WORDS + WORD.kind] as number;
  }
  #owner(slot: number): number {
    return this.#words[slot * WORDS + WORD.owner] as number;
  }

  /** Adds the mapping of the page of 2^shift bytes that holds `address` to the one that holds `physical`. */
  insert(address: number, physical: number, shift: number, guestShift: number, flags: number, tag: MappingTag): number {
    const offset = address & ((1 << shift) - 1);
    const page = address - offset;
    const set = this.#setOf(address, shift);
    const slot = this.#slotFor(page, set, shift, tag);
    if (!Number.isNaN(this.#page[slot])) this.#drop(slot, set);
    this.#page[slot] = page;
    const addresses = this.#addresses;
    const address0 = slot * ADDRESSES;
    addresses[address0 + ADDRESS.physical] = physical - offset;
    addresses[address0 + ADDRESS.eptRoot] = tag.eptRoot;
    addresses[address0 + ADDRESS.root] = tag.root;
    const words = this.#words;
    const word0 = slot * WORDS;
    words[word0 + WORD.owner] = ownerOf(tag.vpid, tag.pcid);
    words[word0 + WORD.flags] = flags;
    words[word0 + WORD.kind] = kindOf(shift, guestShift, tag.mode);
    (this.#live[shift] as number)++;
    this.#count(set, tag.eptRoot, 1);
    if (guestShift > shift) this.#fragments++;
    return slot;
  }

  #count(set: number, eptRoot: number, change: 1 | -1): void {
    (this.#liveOfSet[set] as number) += change;
    if (eptRoot === NO_EPT) return;
    (this.#combinedOfSet[set] as number) += change;
    this.#combined += change;
  }

  /** The slot of the same page and tag, else a free one, else the oldest of the set. */
  #slotFor(page: number, set: number, shift: number, tag: MappingTag): number {
    const pages = this.#page;
    const first = set * this.#ways;
    let free = -1;
    for (let slot = first + this.#ways - 1; slot >= first; slot--) if (Number.isNaN(pages[slot])) free = slot;
    const known = this.#probe(page, set, shift, tag);
    if (known >= 0 || free >= 0) return known >= 0 ? known : free;
    const way = this.#next[set] as number;
    this.#next[set] = (way + 1) % this.#ways;
    return first + way;
  }

  #drop(slot: number, set: number): void {
    const page = this.#page[slot] as number;
    const kind = this.#kind(slot);
    const shift = shiftOf(kind);
    this.#page[slot] = Number.NaN;
    (this.#live[shift] as number)--;
    const eptRoot = this.#addresses[slot * ADDRESSES + ADDRESS.eptRoot] as number;
    this.#count(set, eptRoot, -1);
    if (guestShiftOf(kind) > shift) this.#fragments--;
    this.onDrop(page, shift, this.flagsAt(slot), eptRoot !== NO_EPT || vpidOf(this.#owner(slot)) !== 0);
  }

  /** Drops what `find` could answer for the address: all page sizes, global mappings included. */
  dropAddress(address: number, tag: MappingTag): void {
    for (let i = 0; i < PAGE_SHIFTS.length; i++) {
      const shift = PAGE_SHIFTS[i] as number;
      if (this.#live[shift] === 0) continue;
      const page = address - (address & ((1 << shift) - 1));
      const set = this.#setOf(address, shift);
      const slot = this.#probe(page, set, shift, tag);
      if (slot >= 0) this.#drop(slot, set);
    }
  }

  /**
   * Drops the mappings for an address within the scope, and those for other parts of a guest page that contains it
   * (SDM volume 3, "Details of TLB Use": a page may be cached in several entries).
   */
  dropPage(address: number, scope: InvalidationScope): void {
    for (let i = 0; i < PAGE_SHIFTS.length; i++) {
      const shift = PAGE_SHIFTS[i] as number;
      if (this.#live[shift] !== 0) this.#dropPageOf(shift, address, scope);
    }
    if (this.#fragments > 0) this.#dropFragments(address, scope);
  }

  #dropPageOf(shift: number, address: number, scope: InvalidationScope): void {
    const pages = this.#page;
    const page = address - (address & ((1 << shift) - 1));
    const set = this.#setOf(address, shift);
    const end = (set + 1) * this.#ways;
    for (let slot = set * this.#ways; slot < end; slot++) {
      if (pages[slot] === page && this.shiftAt(slot) === shift && this.#inScope(slot, scope)) this.#drop(slot, set);
    }
  }

  #dropFragments(address: number, scope: InvalidationScope): void {
    for (let slot = 0; slot < this.capacity; slot++) {
      const kind = this.#kind(slot);
      const shift = guestShiftOf(kind);
      const page = this.#page[slot] as number;
      if (shift <= shiftOf(kind) || Number.isNaN(page)) continue;
      const mask = (1 << shift) - 1;
      const covers = page - (page & mask) === address - (address & mask);
      if (covers && this.#inScope(slot, scope)) this.#drop(slot, Math.floor(slot / this.#ways));
    }
  }

  /** Drops the mappings that EPT had a part in: those of one EPTRTA, or all. Looks only where there are such mappings. */
  dropCombined(eptRoot: number | undefined): void {
    for (let four = 0; four < this.#combinedOfFour.length && this.#combined > 0; four++) {
      if (this.#combinedOfFour[four] === 0) continue;
      for (let set = four * 4; set < four * 4 + 4; set++) {
        if (this.#combinedOfSet[set] !== 0) this.#dropCombinedOf(set, eptRoot);
      }
    }
  }
  #dropCombinedOf(set: number, eptRoot: number | undefined): void {
    const end = (set + 1) * this.#ways;
    for (let slot = set * this.#ways; slot < end; slot++) {
      if (Number.isNaN(this.#page[slot])) continue;
      const root = this.#addresses[slot * ADDRESSES + ADDRESS.eptRoot];
      if (root !== NO_EPT && (eptRoot === undefined || root === eptRoot)) this.#drop(slot, set);
    }
  }

  /** Drops all mappings within the scope. */
  dropAll(scope: InvalidationScope): void {
    if (this.size === 0) return;
    for (let set = 0; set < this.#sets; set++) if (this.#liveOfSet[set] !== 0) this.#dropSet(set, scope);
  }

  #dropSet(set: number, scope: InvalidationScope): void {
    const end = (set + 1) * this.#ways;
    for (let slot = set * this.#ways; slot < end; slot++) {
      if (!Number.isNaN(this.#page[slot]) && this.#inScope(slot, scope)) this.#drop(slot, set);
    }
  }

  #inScope(slot: number, scope: InvalidationScope): boolean {
    const owner = this.#owner(slot);
    const vpid = vpidOf(owner);
    if (scope.vpid !== undefined && vpid !== scope.vpid) return false;
    if (scope.keepVpid0 && vpid === 0) return false;
    const isGlobal = (this.flagsAt(slot) & MappingFlag.Global) !== 0;
    return isGlobal ? !scope.keepGlobal : scope.pcid === undefined || pcidOf(owner) === scope.pcid;
  }

  /** Number of mappings held. */
  get size(): number {
    let total = 0;
    for (const shift of PAGE_SHIFTS) total += this.#live[shift] as number;
    return total;
  }

  /** The mapping in a slot, or undefined if it is free. */
  at(slot: number): Mapping | undefined {
    const page = this.#page[slot];
    if (page === undefined || Number.isNaN(page)) return undefined;
    const kind = this.#kind(slot);
    const owner = this.#owner(slot);
    const address = (which: number) => this.#addresses[slot * ADDRESSES + which] as number;
    return {
      slot,
      page,
      physical: address(ADDRESS.physical),
      pageShift: shiftOf(kind),
      guestPageShift: guestShiftOf(kind),
      flags: this.flagsAt(slot),
      vpid: vpidOf(owner),
      pcid: pcidOf(owner),
      eptRoot: address(ADDRESS.eptRoot),
      root: address(ADDRESS.root),
      mode: modeOf(kind),
    };
  }

  /** All mappings, in slot order. */
  entries(): Mapping[] {
    const all: Mapping[] = [];
    for (let slot = 0; slot < this.capacity; slot++) {
      const mapping = this.at(slot);
      if (mapping) all.push(mapping);
    }
    return all;
  }

  #arrays() {
    return [this.#page, this.#addresses, this.#words, this.#next, this.#live];
  }

  /** A copy of the contents, for `restore`. */
  save(): SavedMappings {
    return this.#arrays().map((array) => array.slice());
  }
  /** Puts saved contents back, of a store of the same geometry; does not call `onDrop`. */
  restore(saved: SavedMappings): void {
    this.#arrays().forEach((array, index) => {
      array.set(saved[index] as (typeof saved)[number]);
    });
    const mappings = this.entries();
    this.#fragments = mappings.filter((mapping) => mapping.guestPageShift > mapping.pageShift).length;
    this.#liveOfSet.fill(0);
    this.#combinedOfSet.fill(0);
    this.#combined = 0;
    for (const { slot, eptRoot } of mappings) this.#count(Math.floor(slot / this.#ways), eptRoot, 1);
  }
}

export type SavedMappings = readonly (Float64Array | Uint8Array | Int32Array)[];
