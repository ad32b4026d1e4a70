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
const FIELDS = vmcsFields.findIndex(({ group }) => group === 'VM-Exit Information');
const WORDS = FIELDS * 2;
/** VMCSs remembered; a hypervisor with more of them has all checks made. */
const CAPACITY = 16;

/** Tells which fields a rule reads. */
class WatchedVmcs extends Vmcs {
  onRead: (field: number) => void = () => {};

  #seen(offset: number): void {
    this.onRead((offset - FIRST_OFFSET) >> 3);
  }
  override u32(offset: number): number {
    this.#seen(offset);
    return super.u32(offset);
  }
  override high(offset: number): number {
    this.#seen(offset);
    return super.high(offset);
  }
  override number(offset: number): number {
    this.#seen(offset);
    return super.number(offset);
  }
  override u64(offset: number): bigint {
    this.#seen(offset);
    return super.u64(offset);
  }
}

/** What is known of one VMCS whose checks have passed. */
class Passed {
  readonly words = new Int32Array(WORDS);
  /** Rules, as indices, by the field that they read. */
  readonly readers: readonly Set<number>[] = Array.from({ length: FIELDS }, () => new Set());
  /** Rules that depend on memory outside the VMCS. */
  readonly outside = new Set<number>();
  /** IA32_EFER of the host, all of the CPU state that rules look at. */
  readonly efer: number;

  constructor(efer: number) {
    this.efer = efer;
  }
}

export class CheckedVmcs {
  readonly #parts: VmxParts;
  readonly #watchedParts: VmxParts;
  readonly #passed = new Map<number, Passed>();
  readonly #ram: Int32Array;
  readonly #pending = new Set<number>();
  #onOutside: () => void = () => {};
  readonly #watched: WatchedVmcs;

  constructor(parts: VmxParts) {
    this.#parts = parts;
    const { view } = parts.physical;
    this.#ram = new Int32Array(view.buffer, view.byteOffset, Math.floor(view.byteLength / 4));
    this.#watched = new WatchedVmcs(parts.state, parts.physical);
    const outside = (): void => this.#onOutside();
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
    const rules = this.#pending;
    rules.clear();
    for (const rule of known.outside) rules.add(rule);
    const { words, readers } = known;
    const ram = this.#ram;
    const first = (currentVmcs + FIRST_OFFSET) / 4;
    for (let word = 0; word < WORDS; word++) {
      const value = ram[first + word] as number;
      if (value === words[word]) continue;
      words[word] = value;
      for (const rule of readers[word >> 1] as Set<number>) rules.add(rule);
    }
    for (const rule of rules) {
      if (!this.#violated(rule, known)) continue;
      this.#passed.delete(currentVmcs);
      return false;
    }
    return true;
  }

  /** To be called when all checks of the current VMCS have passed. */
  remember(): void {
    const { currentVmcs, efer } = this.#parts.state;
    if (this.#passed.size >= CAPACITY) this.#passed.clear();
    const known = new Passed(efer);
    const first = (currentVmcs + FIRST_OFFSET) / 4;
    known.words.set(this.#ram.subarray(first, first + WORDS));
    for (let rule = 0; rule < entryRules.length; rule++) this.#violated(rule, known);
    this.#passed.set(currentVmcs, known);
  }

  /** Makes one check and notes what it depends on. */
  #violated(rule: number, known: Passed): boolean {
    this.#watched.onRead = (field) => known.readers[field]?.add(rule);
    this.#onOutside = () => known.outside.add(rule);
    return entryRules[rule]?.violated(this.#watchedParts) ?? false;
  }
}
