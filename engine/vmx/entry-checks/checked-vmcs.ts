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
/** Sets of rules are bit maps: 32-bit words of one. */
const SET_WORDS = Math.ceil(entryRules.length / 32);
/** VMCSs remembered; a hypervisor with more of them has all checks made. */
const CAPACITY = 16;

/** Notes which fields a rule reads. */
class WatchedVmcs extends Vmcs {
  #readers: Uint32Array = new Uint32Array(0);
  #word = 0;
  #bit = 0;

  /** Notes in `readers` (see `Passed`) what is read from now on as read by the rule. */
  noteFor(rule: number, readers: Uint32Array): void {
    this.#readers = readers;
    this.#word = rule >> 5;
    this.#bit = 1 << (rule & 31);
  }
  #seen(offset: number): void {
    const at = ((offset - FIRST_OFFSET) >> 3) * SET_WORDS + this.#word;
    if (at < this.#readers.length) this.#readers[at] = (this.#readers[at] as number) | this.#bit;
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
  /** By field, the set of the rules that read it. */
  readonly readers = new Uint32Array(FIELDS * SET_WORDS);
  /** The set of the rules that depend on memory outside the VMCS. */
  readonly outside = new Uint32Array(SET_WORDS);
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
    const outside = (): void => {
      const word = this.#rule >> 5;
      this.#outside[word] = (this.#outside[word] as number) | (1 << (this.#rule & 31));
    };
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
  #collect({ words, readers, outside }: Passed, first: number): void {
    const ram = this.#ram;
    const pending = this.#pending;
    pending.set(outside);
    for (let word = 0; word < WORDS; word++) {
      const value = ram[first + word] as number;
      if (value === words[word]) continue;
      words[word] = value;
      const set = (word >> 1) * SET_WORDS;
      for (let i = 0; i < SET_WORDS; i++) pending[i] = (pending[i] as number) | (readers[set + i] as number);
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
    const first = (currentVmcs + FIRST_OFFSET) / 4;
    known.words.set(this.#ram.subarray(first, first + WORDS));
    for (let rule = 0; rule < entryRules.length; rule++) this.#violated(rule, known);
    this.#passed.set(currentVmcs, known);
  }

  /** Makes one check and notes what it depends on. */
  #violated(rule: number, known: Passed): boolean {
    this.#rule = rule;
    this.#outside = known.outside;
    this.#watched.noteFor(rule, known.readers);
    return entryRules[rule]?.violated(this.#watchedParts) ?? false;
  }
}
