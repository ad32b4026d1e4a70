/**
 * The EPT that the CPU walks while L2 runs under a hypervisor that uses EPT itself: from L2's guest-physical addresses
 * straight to host-physical ones. It is filled page by page from L1's tables and the memory slot as L2 touches its memory,
 * and emptied where L1 executes INVEPT or has L2 use other tables.
 */

import { PAGE_BYTES } from '../../../cpu/memory-map.ts';
import { EptRight } from '../../../mmu/access.ts';
import { type EptContext, eptContext, Outcome, Walk } from '../../../mmu/walk.ts';
import { EptTables } from '../ept-tables.ts';
import type { GuestMemory } from '../guest-memory.ts';
import type { HostMemory } from '../host-memory.ts';

/** What an access of L2 meets in the tables of L1. */
export type NestedTranslation =
  | { readonly kind: 'mapped' }
  /** L1 has to see it. `rights` are the EptRight bits that its entries allow. */
  | { readonly kind: 'violation'; readonly rights: number }
  | { readonly kind: 'misconfiguration' }
  /** The page is none of the guest's memory but, perhaps, a device's. */
  | { readonly kind: 'device' };

/** Exit qualifications of EPT violations hold the rights in bits 5:3. */
const RIGHTS_SHIFT = 3;
/** Tables, the root included; with all of them in use the shadow starts over. */
const MAX_TABLES = 128;
/** Write-back paging structures, page-walk length 4. */
const EPTP_FLAGS = 6 | (3 << 3);
const ACCESSED_DIRTY = 1 << 6;

export class ShadowEpt {
  readonly #memory: GuestMemory;
  readonly #host: HostMemory;
  readonly #tables: EptTables;
  /** Host-physical address of the tables, in a row. */
  readonly #pool: number;
  #used = 0;
  /** The EPTP of L1 that the tables were filled from. */
  #eptp12 = 0;

  constructor(host: HostMemory, memory: GuestMemory) {
    this.#host = host;
    this.#memory = memory;
    this.#pool = host.allocate(MAX_TABLES);
    this.#tables = new EptTables(host, memory.memoryBytes, () => this.#table());
  }

  /** Zeroed. */
  #table(): number {
    const address = this.#pool + this.#used++ * PAGE_BYTES;
    this.#host.clear(address);
    return address;
  }

  /** The EPT pointer of L2's VMCS. Accessed and dirty flags are in use if L1 uses them, as that makes walks writes. */
  get pointer(): number {
    return this.#tables.root + EPTP_FLAGS + (this.#eptp12 & ACCESSED_DIRTY);
  }
  /** The EPT of L1. */
  get context(): EptContext {
    return eptContext(this.#eptp12);
  }

  /** L2 is going to run under these tables of L1; true if others were shadowed before. */
  use(eptp12: number): boolean {
    if (eptp12 === this.#eptp12) return false;
    this.#eptp12 = eptp12;
    this.empty();
    return true;
  }

  empty(): void {
    this.#used = 0;
    this.#table();
  }

  /** Maps the page of a guest-physical address of L2 for an access that needs some EptRight bits, or says why not. */
  map(guestPhysical: number, rights: number): NestedTranslation {
    const walk = new Walk(true);
    if (!this.#memory.ept.walk(this.context, guestPhysical, rights, walk)) {
      if (walk.outcome !== Outcome.EptViolation) return { kind: 'misconfiguration' };
      return { kind: 'violation', rights: walk.eptQualification >> RIGHTS_SHIFT };
    }
    const page = walk.eptPhysical - (walk.eptPhysical % PAGE_BYTES);
    if (!this.#memory.contains(page, PAGE_BYTES)) return { kind: 'device' };
    // The write that sets L1's dirty flag maps the page for writes.
    const allowed = walk.eptDirty ? walk.eptRights : walk.eptRights & ~EptRight.Write;
    // A page may need a table on each of the levels below the root.
    if (this.#used + 3 > MAX_TABLES) this.empty();
    this.#tables.mapPage(guestPhysical, this.#memory.hostAddress(page), allowed);
    return { kind: 'mapped' };
  }

  saveState() {
    return { eptp12: this.#eptp12, used: this.#used };
  }
  restoreState({ eptp12, used }: ReturnType<ShadowEpt['saveState']>): void {
    this.#eptp12 = eptp12;
    this.#used = used;
  }
}
