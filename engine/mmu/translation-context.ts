/** What the MMU keeps for each vCPU, and whom it asks about translations. */

import type { VmExit } from '../cpu/events.ts';
import { TLB_STATISTICS_ADDRESS } from '../cpu/memory-map.ts';
import type { LinearAddress } from '../isa/linear-address.ts';
import type { Access, Privilege } from './access.ts';
import { ArchitecturalTlb } from './architectural-tlb.ts';
import type { EptContext } from './walk.ts';

/** The part of a vCPU that lives in the MMU: what a run loop exchanges when it changes vCPU. */
export class TranslationContext {
  readonly tlb: ArchitecturalTlb;
  /** PDPTE registers of PAE paging; unsigned numbers. */
  readonly pdptes = new Float64Array(4);
  /** Current VPID; 0 in root operation and where VPIDs are not enabled. */
  vpid = 0;
  /** EPT in use, or undefined. */
  ept: EptContext | undefined;

  /** `memory`: where in the wasm memory the linear mappings lie; `cachesStructures`: whether there are such caches. */
  constructor(memory?: { readonly buffer: ArrayBuffer; readonly address: number }, cachesStructures = false) {
    this.tlb = new ArchitecturalTlb(memory, cachesStructures);
  }

  /** A copy of everything the MMU remembers for the vCPU, for `restore`. */
  save(): SavedTranslations {
    const { tlb, pdptes, vpid, ept } = this;
    return { tlb: tlb.save(), pdptes: [...pdptes], vpid, ept };
  }
  /** Puts a saved state back; the MMU has to be told by `contextChanged` if it is the loaded vCPU's. */
  restore(saved: SavedTranslations): void {
    this.tlb.restore(saved.tlb);
    this.pdptes.set(saved.pdptes);
    this.vpid = saved.vpid;
    this.ept = saved.ept;
  }
}

/** The page whose accesses are virtualized in VMX non-root operation. */
export interface ApicAccessPage {
  /** Whether there is one now. */
  readonly isInUse: boolean;
  /** Whether a host-physical address lies in it now. */
  covers(physical: number): boolean;
  /** Where an access to it is made instead. Throws `VmExit`. */
  redirect(physical: number, lengthBytes: number, access: Access): number;
  /** Throws the `VmExit` of an access that reads and then writes, if it has one. */
  checkModification(physical: number, lengthBytes: number): void;
  /** The VM exit of an access to it that is made with a guest-physical address. */
  guestPhysicalExit(): VmExit;
}

export interface SavedTranslations {
  readonly tlb: ReturnType<ArchitecturalTlb['save']>;
  readonly pdptes: readonly number[];
  readonly vpid: number;
  readonly ept: EptContext | undefined;
}

/** Counts in the wasm memory, where the refill counts too. */
export class TlbStatistics {
  readonly #counts: Float64Array;

  constructor(buffer: ArrayBuffer) {
    this.#counts = new Float64Array(buffer, TLB_STATISTICS_ADDRESS, 2).fill(0);
  }
  get hits(): number {
    return this.#counts[0] as number;
  }
  set hits(value: number) {
    this.#counts[0] = value;
  }
  get misses(): number {
    return this.#counts[1] as number;
  }
  set misses(value: number) {
    this.#counts[1] = value;
  }
}

/** Who holds translations against the tables. */
export interface TranslationAudit {
  /**
   * Whether a fresh walk contradicts a translation that was just made. A fetch may be left by throwing.
   * `physical` is where it leads.
   */
  contradicts(linear: LinearAddress, access: Access, privilege: Privilege, physical: number): boolean;
}
