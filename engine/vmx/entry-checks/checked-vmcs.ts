/**
 * Spares VM entries the checks that cannot have changed their result: for every VMCS that has passed, what its fields
 * held then, and which rules read which of them. A rule is made anew if a field that it read has changed, and always if
 * it looked at memory outside the VMCS. What is kept changes no result, so that it is no part of the machine's state.
 */
import type { PhysicalMemory } from '../../mmu/physical-memory.ts';
import { vmcsFields } from '../fields.ts';
import { offsetOf, Vmcs } from '../vmcs.ts';
import type { VmxParts } from '../vmx-parts.ts';
import { entryRules } from './rules.ts';

const FIRST_OFFSET = offsetOf(vmcsFields[0].name);
/** The fields of exit information come last in the region, and no rule reads them. */
const WORDS = vmcsFields.findIndex(({ group }) => group === 'VM-Exit Information') * 2;
/** Sets of rules are bit maps: 32-bit words of one. */
const SET_WORDS = Math.ceil(entryRules.length / 32);
/** VMCSs remembered; a hypervisor with more of them has all checks made. */
const CAPACITY = 16;
const ALL_BITS = -1;

/** What is known of one VMCS whose checks have passed. */
class Passed {
  /** The words of the VMCS that rules read, as indices from its first field, with what is known of each. */
  readonly words = new Uint16Array(WORDS);
  count = 0;
  /** What the words held, which of their bits some rule depends on, and all of it: pairs of a rule and its bits. */
  readonly values = new Int32Array(WORDS);
  readonly bits = new Int32Array(WORDS);
  readonly #readers: number[][] = [];
  /** By word, its place in the arrays above plus 1; 0 for a word that no rule reads. */
  readonly #places = new Uint16Array(WORDS);
  /** The set of the rules that depend on memory outside the VMCS. */
  readonly outside = new Uint32Array(SET_WORDS);
  /** IA32_EFER of the host, all of the CPU state that rules look at. */
  readonly efer: number;

  constructor(efer: number) {
    this.efer = efer;
  }

  /** Notes that the rule depends on bits of a word, which holds `value`. */
  note(rule: number, word: number, bits: number, value: number): void {
    const place = this.#placeOf(word, value);
    const readers = this.#readers[place] as number[];
    for (let i = 0; i < readers.length; i += 2) {
      if (readers[i] === rule && ((readers[i + 1] as number) & bits) === bits) return;
    }
    readers.push(rule, bits);
    (this.bits[place] as number) |= bits;
  }

  #placeOf(word: number, value: number): number {
    if (!this.#places[word]) {
      this.words[this.count] = word;
      this.#readers[this.count] = [];
      this.#places[word] = ++this.count;
    }
    const place = (this.#places[word] as number) - 1;
    // Bits that no rule depended on so far may be old ones.
    this.values[place] = value;
    return place;
  }

  /** Adds the rules that depend on some of the bits of the word at a place to a set. */
  addReaders(place: number, bits: number, set: Uint32Array): void {
    const readers = this.#readers[place] as number[];
    for (let i = 0; i < readers.length; i += 2) {
      if ((bits & (readers[i + 1] as number)) !== 0) add(set, readers[i] as number);
    }
  }
}

function add(set: Uint32Array, rule: number): void {
  const word = rule >> 5;
  set[word] = (set[word] as number) | (1 << (rule & 31));
}

/** Notes which fields a rule reads. */
class WatchedVmcs extends Vmcs {
  #known: Passed | undefined;
  #rule = 0;

  /** What is read from now on is noted in `known` as read by the rule. */
  noteFor(rule: number, known: Passed): void {
    this.#rule = rule;
    this.#known = known;
  }
  #seen(offset: number, bits: number, value: number): void {
    const word = (offset - FIRST_OFFSET) >> 2;
    if (word < WORDS) this.#known?.note(this.#rule, word, bits, value);
  }
  override bits(offset: number, mask: number): number {
    this.#seen(offset, mask, super.u32(offset));
    return super.bits(offset, mask);
  }
  override u32(offset: number): number {
    const value = super.u32(offset);
    this.#seen(offset, ALL_BITS, value);
    return value;
  }
  override high(offset: number): number {
    const value = super.high(offset);
    this.#seen(offset + 4, ALL_BITS, value);
    return value;
  }
  override number(offset: number): number {
    this.#seenBoth(offset);
    return super.number(offset);
  }
  override u64(offset: number): bigint {
    this.#seenBoth(offset);
    return super.u64(offset);
  }
  #seenBoth(offset: number): void {
    this.#seen(offset, ALL_BITS, super.u32(offset));
    this.#seen(offset + 4, ALL_BITS, super.high(offset));
  }
}

export class CheckedVmcs {
  readonly #parts: VmxParts;
  readonly #watchedParts: VmxParts;
  readonly #passed = new Map<number, Passed>();
  readonly #ram: Int32Array;
  /** The set of the rules to check. */
  readonly #pending = new Uint32Array(SET_WORDS);
  /** The rule being checked, and where it is noted if it looks outside. */
  #rule = 0;
  #outside: Uint32Array = new Uint32Array(SET_WORDS);
  readonly #watched: WatchedVmcs;

  constructor(parts: VmxParts) {
    this.#parts = parts;
    const { view } = parts.physical;
    this.#ram = new Int32Array(view.buffer, view.byteOffset, Math.floor(view.byteLength / 4));
    this.#watched = new WatchedVmcs(parts.state, parts.physical);
    const outside = (): void => add(this.#outside, this.#rule);
    this.#watchedParts = {
      ...parts,
      // Of the processor and the MMU, rules look at the CPU model and the physical-address width, which never change.
      vmcs: this.#watched,
      get physical(): PhysicalMemory {
        outside();
        return parts.physical;
      },
    };
  }

  /** Whether the current VMCS is known to pass all rules; false if it does not, or if nothing is known of it. */
  passes(): boolean {
    const { currentVmcs, efer } = this.#parts.state;
    const known = this.#passed.get(currentVmcs);
    if (known?.efer !== efer) return false;
    this.#collect(known, (currentVmcs + FIRST_OFFSET) / 4);
    if (!this.#pendingViolated(known)) return true;
    this.#passed.delete(currentVmcs);
    return false;
  }

  /** Makes pending the rules whose result may have changed, and takes over the fields as they are now. */
  #collect(known: Passed, first: number): void {
    const { words, values, bits, count } = known;
    const ram = this.#ram;
    const pending = this.#pending;
    pending.set(known.outside);
    for (let place = 0; place < count; place++) {
      const value = ram[first + (words[place] as number)] as number;
      const changed = (value ^ (values[place] as number)) & (bits[place] as number);
      if (changed === 0) continue;
      values[place] = value;
      known.addReaders(place, changed, pending);
    }
  }

  #pendingViolated(known: Passed): boolean {
    for (let i = 0; i < SET_WORDS; i++) {
      for (let rest = this.#pending[i] as number; rest !== 0; rest &= rest - 1) {
        if (this.#violated(i * 32 + 31 - Math.clz32(rest & -rest), known)) return true;
      }
    }
    return false;
  }

  /** To be called when all checks of the current VMCS have passed. */
  remember(): void {
    const { currentVmcs, efer } = this.#parts.state;
    if (this.#passed.size >= CAPACITY) this.#passed.clear();
    const known = new Passed(efer);
    for (let rule = 0; rule < entryRules.length; rule++) this.#violated(rule, known);
    this.#passed.set(currentVmcs, known);
  }

  /** Makes one check and notes what it depends on. */
  #violated(rule: number, known: Passed): boolean {
    this.#rule = rule;
    this.#outside = known.outside;
    this.#watched.noteFor(rule, known);
    return entryRules[rule]?.violated(this.#watchedParts) ?? false;
  }
}
