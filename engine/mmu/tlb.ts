/**
 * The architectural TLB (SDM volume 3, "Translation Lookaside Buffers" and "Caching Translation Information").
 *
 * Set-associative with first-in-first-out replacement, so that its contents are a function of the accesses made.
 * Stored in typed arrays: it is looked up whenever the fast TLB misses.
 */
import { MappingFlag } from './access.ts';

/** EPTRTA of a mapping that was made without EPT. */
export const NO_EPT = -1;

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
  /** NaN marks a free slot: it equals nothing. */
  readonly #page: Float64Array;
  readonly #physical: Float64Array;
  readonly #eptRoot: Float64Array;
  readonly #root: Float64Array;
  readonly #vpid: Uint16Array;
  readonly #pcid: Uint16Array;
  readonly #flags: Uint16Array;
  readonly #shift: Uint8Array;
  readonly #guestShift: Uint8Array;
  readonly #mode: Uint8Array;
  /** The way of each set that is replaced next. */
  readonly #next: Uint8Array;
  /** Live mappings by page shift. */
  readonly #live = new Int32Array(31);
  /** Live mappings by set, so that sweeps pass over the empty ones. */
  readonly #liveOfSet: Uint8Array;
  /** Live mappings that EPT had a part in, by set and in all. */
  readonly #combinedOfSet: Uint8Array;
  /** The same bytes, of four sets together. */
  readonly #combinedOfFour: Uint32Array;
  #combined = 0;
  /** Live mappings that are part of a larger guest page. */
  #fragments = 0;

  /** `sets` is a power of two. */
  constructor(sets: number, ways: number) {
    this.#sets = sets;
    this.#ways = ways;
    this.capacity = sets * ways;
    this.#page = new Float64Array(this.capacity).fill(Number.NaN);
    this.#physical = new Float64Array(this.capacity);
    this.#eptRoot = new Float64Array(this.capacity);
    this.#root = new Float64Array(this.capacity);
    this.#vpid = new Uint16Array(this.capacity);
    this.#pcid = new Uint16Array(this.capacity);
    this.#flags = new Uint16Array(this.capacity);
    this.#shift = new Uint8Array(this.capacity);
    this.#guestShift = new Uint8Array(this.capacity);
    this.#mode = new Uint8Array(this.capacity);
    this.#next = new Uint8Array(sets);
    this.#liveOfSet = new Uint8Array(sets);
    this.#combinedOfSet = new Uint8Array(sets);
    this.#combinedOfFour = new Uint32Array(this.#combinedOfSet.buffer);
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
    return Math.floor(address / (1 << shift)) & (this.#sets - 1);
  }

  #probe(page: number, set: number, shift: number, tag: MappingTag): number {
    const pages = this.#page;
    const end = (set + 1) * this.#ways;
    for (let slot = set * this.#ways; slot < end; slot++) {
      if (pages[slot] === page && this.#shift[slot] === shift && this.#matches(slot, tag)) return slot;
    }
    return -1;
  }

  #matches(slot: number, tag: MappingTag): boolean {
    if (this.#vpid[slot] !== tag.vpid || this.#eptRoot[slot] !== tag.eptRoot) return false;
    return this.#pcid[slot] === tag.pcid || ((this.#flags[slot] as number) & MappingFlag.Global) !== 0;
  }

  physicalOf(slot: number, address: number): number {
    return (this.#physical[slot] as number) + (address - (this.#page[slot] as number));
  }
  flagsAt(slot: number): number {
    return this.#flags[slot] as number;
  }
  setFlags(slot: number, flags: number): void {
    this.#flags[slot] = flags;
  }
  shiftAt(slot: number): number {
    return this.#shift[slot] as number;
  }

  /** Adds the mapping of the page of 2^shift bytes that holds `address` to the one that holds `physical`. */
  insert(address: number, physical: number, shift: number, guestShift: number, flags: number, tag: MappingTag): number {
    const offset = address & ((1 << shift) - 1);
    const page = address - offset;
    const set = this.#setOf(address, shift);
    const slot = this.#slotFor(page, set, shift, tag);
    if (!Number.isNaN(this.#page[slot])) this.#drop(slot);
    this.#page[slot] = page;
    this.#physical[slot] = physical - offset;
    this.#eptRoot[slot] = tag.eptRoot;
    this.#root[slot] = tag.root;
    this.#vpid[slot] = tag.vpid;
    this.#pcid[slot] = tag.pcid;
    this.#flags[slot] = flags;
    this.#shift[slot] = shift;
    this.#guestShift[slot] = guestShift;
    this.#mode[slot] = tag.mode;
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
    const same = this.#probe(page, set, shift, tag);
    if (same >= 0) return same;
    const first = set * this.#ways;
    for (let slot = first; slot < first + this.#ways; slot++) if (Number.isNaN(this.#page[slot])) return slot;
    const way = this.#next[set] as number;
    this.#next[set] = (way + 1) % this.#ways;
    return first + way;
  }

  #drop(slot: number): void {
    const page = this.#page[slot] as number;
    const shift = this.#shift[slot] as number;
    this.#page[slot] = Number.NaN;
    (this.#live[shift] as number)--;
    const eptRoot = this.#eptRoot[slot] as number;
    this.#count(Math.floor(slot / this.#ways), eptRoot, -1);
    if ((this.#guestShift[slot] as number) > shift) this.#fragments--;
    this.onDrop(page, shift, this.#flags[slot] as number, eptRoot !== NO_EPT || this.#vpid[slot] !== 0);
  }

  /** Drops what `find` could answer for the address: all page sizes, global mappings included. */
  dropAddress(address: number, tag: MappingTag): void {
    for (const shift of PAGE_SHIFTS) {
      if (this.#live[shift] === 0) continue;
      const page = address - (address & ((1 << shift) - 1));
      const slot = this.#probe(page, this.#setOf(address, shift), shift, tag);
      if (slot >= 0) this.#drop(slot);
    }
  }

  /**
   * Drops the mappings for an address within the scope, and those for other parts of a guest page that contains it
   * (SDM volume 3, "Details of TLB Use": a page may be cached in several entries).
   */
  dropPage(address: number, scope: InvalidationScope): void {
    for (const shift of PAGE_SHIFTS) {
      if (this.#live[shift] === 0) continue;
      const page = address - (address & ((1 << shift) - 1));
      const first = this.#setOf(address, shift) * this.#ways;
      for (let slot = first; slot < first + this.#ways; slot++) {
        if (this.#page[slot] === page && this.#shift[slot] === shift && this.#inScope(slot, scope)) this.#drop(slot);
      }
    }
    if (this.#fragments > 0) this.#dropFragments(address, scope);
  }

  #dropFragments(address: number, scope: InvalidationScope): void {
    for (let slot = 0; slot < this.capacity; slot++) {
      const shift = this.#guestShift[slot] as number;
      const page = this.#page[slot] as number;
      if (shift <= (this.#shift[slot] as number) || Number.isNaN(page)) continue;
      const mask = (1 << shift) - 1;
      if (page - (page & mask) === address - (address & mask) && this.#inScope(slot, scope)) this.#drop(slot);
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
      const root = this.#eptRoot[slot];
      if (root !== NO_EPT && (eptRoot === undefined || root === eptRoot)) this.#drop(slot);
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
      if (!Number.isNaN(this.#page[slot]) && this.#inScope(slot, scope)) this.#drop(slot);
    }
  }

  #inScope(slot: number, scope: InvalidationScope): boolean {
    const vpid = this.#vpid[slot] as number;
    if (scope.vpid !== undefined && vpid !== scope.vpid) return false;
    if (scope.keepVpid0 && vpid === 0) return false;
    const isGlobal = ((this.#flags[slot] as number) & MappingFlag.Global) !== 0;
    return isGlobal ? !scope.keepGlobal : scope.pcid === undefined || this.#pcid[slot] === scope.pcid;
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
    return {
      slot,
      page,
      physical: this.#physical[slot] as number,
      pageShift: this.#shift[slot] as number,
      guestPageShift: this.#guestShift[slot] as number,
      flags: this.#flags[slot] as number,
      vpid: this.#vpid[slot] as number,
      pcid: this.#pcid[slot] as number,
      eptRoot: this.#eptRoot[slot] as number,
      root: this.#root[slot] as number,
      mode: this.#mode[slot] as number,
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
    return [
      this.#page, this.#physical, this.#eptRoot, this.#root, this.#vpid, this.#pcid, this.#flags, this.#shift,
      this.#guestShift, this.#mode, this.#next, this.#live,
    ]; // biome-ignore format: one list
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

export type SavedMappings = readonly (Float64Array | Uint16Array | Uint8Array | Int32Array)[];

/** The TLB of one vCPU: 1536 linear and combined mappings, 12 ways, and 512 guest-physical mappings, 8 ways. */
export class ArchitecturalTlb {
  /** Linear mappings (no EPT) and combined mappings. */
  readonly linear = new MappingStore(128, 12);
  /** Guest-physical mappings, tagged by EPTRTA alone. */
  readonly guestPhysical = new MappingStore(64, 8);

  save(): { readonly linear: SavedMappings; readonly guestPhysical: SavedMappings } {
    return { linear: this.linear.save(), guestPhysical: this.guestPhysical.save() };
  }
  restore(saved: ReturnType<ArchitecturalTlb['save']>): void {
    this.linear.restore(saved.linear);
    this.guestPhysical.restore(saved.guestPhysical);
  }
}
