/**
 * Spares VM entries the checks that cannot have changed their result: for every VMCS that has passed, what its fields
 * held then, and which rules read which of them. A rule is made anew if a field that it read has changed, and always if
 * it looked at memory outside the VMCS. What is kept changes no result, so that it is no part of the machine's state.
 */

import { PASSED_VMCS_COUNT } from '../../cpu/memory-map.ts';
import type { LinearAddress } from '../../isa/linear-address.ts';
import type { PhysicalMemory } from '../../mmu/physical-memory.ts';
import { Vmcs } from '../vmcs.ts';
import type { VmxParts } from '../vmx-parts.ts';
import { FIRST_OFFSET, type HasChanged, instantiateHasChanged, PassedVmcs, SET_WORDS } from './passed-vmcs.ts';
import { entryRules } from './rules.ts';

const ALL_BITS = -1;

/** Notes which fields a rule reads. */
class WatchedVmcs extends Vmcs {
  #known: PassedVmcs | undefined;
  #rule = 0;

  /** What is read from now on is noted in `known` as read by the rule. */
  noteFor(rule: number, known: PassedVmcs): void {
    this.#rule = rule;
    this.#known = known;
  }
  #seen(offset: number, bits: number, value: number): void {
    this.#known?.note(this.#rule, (offset - FIRST_OFFSET) >> 2, bits, value);
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
  override linear(offset: number): LinearAddress {
    this.#seenBoth(offset);
    return super.linear(offset);
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
  /** By the address of the VMCS. A hypervisor with more than there is room for has all checks made anew at times. */
  readonly #passed = new Map<number, PassedVmcs>();
  readonly #ram: Int32Array;
  readonly #buffer: ArrayBuffer;
  readonly #ramAddress: number;
  readonly #hasChanged: HasChanged;
  /** The set of the rules to check. */
  readonly #pending = new Uint32Array(SET_WORDS);
  /** The rule being checked, and of what it is noted if it looks outside. */
  #rule = 0;
  #known: PassedVmcs | undefined;
  readonly #watched: WatchedVmcs;

  /** `memory` is the one that holds the CPU state and RAM. */
  constructor(parts: VmxParts, memory: WebAssembly.Memory) {
    this.#parts = parts;
    const { view } = parts.physical;
    this.#buffer = memory.buffer;
    this.#ramAddress = view.byteOffset;
    this.#ram = new Int32Array(memory.buffer, view.byteOffset, Math.floor(view.byteLength / 4));
    this.#hasChanged = instantiateHasChanged(memory);
    this.#watched = new WatchedVmcs(parts.state, parts.physical);
    const outside = (): void => this.#known?.noteOutside(this.#rule);
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
    const fields = currentVmcs + FIRST_OFFSET;
    const hasChanged = this.#hasChanged(this.#ramAddress + fields, known.address) !== 0;
    if (!hasChanged && !known.looksOutside) return true;
    this.#pending.set(known.outside);
    if (hasChanged) known.takeOver(this.#ram, fields / 4, this.#pending);
    if (!this.#pendingViolated(known)) return true;
    this.#passed.delete(currentVmcs);
    return false;
  }

  #pendingViolated(known: PassedVmcs): boolean {
    for (let i = 0; i < SET_WORDS; i++) {
      for (let rest = this.#pending[i] as number; rest !== 0; rest &= rest - 1) {
        if (this.#violated(i * 32 + 31 - Math.clz32(rest & -rest), known)) return true;
      }
    }
    return false;
  }

  /** Whether some check of the current VMCS, which has passed, looks at memory outside of it. */
  get looksOutside(): boolean {
    return this.#passed.get(this.#parts.state.currentVmcs)?.looksOutside ?? true;
  }

  /** To be called when all checks of the current VMCS have passed. */
  remember(): void {
    const { currentVmcs, efer } = this.#parts.state;
    this.#passed.delete(currentVmcs);
    if (this.#passed.size >= PASSED_VMCS_COUNT) this.#passed.clear();
    const known = new PassedVmcs(this.#buffer, this.#freePlace(), efer);
    for (let rule = 0; rule < entryRules.length; rule++) this.#violated(rule, known);
    this.#passed.set(currentVmcs, known);
  }

  #freePlace(): number {
    const taken = new Set([...this.#passed.values()].map(({ place }) => place));
    for (let place = 0; ; place++) if (!taken.has(place)) return place;
  }

  /** Makes one check and notes what it depends on. */
  #violated(rule: number, known: PassedVmcs): boolean {
    this.#rule = rule;
    this.#known = known;
    this.#watched.noteFor(rule, known);
    return entryRules[rule]?.violated(this.#watchedParts) ?? false;
  }
}
