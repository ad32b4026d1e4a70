/**
 * Accesses to linear memory that stay in their page: what they are checked for, who is told of them, and whether compiled code
 * may make the next ones by itself.
 */

import { AC } from '../cpu/events.ts';
import { PAGE_BYTES, WRITABLE_VMCS_ADDRESS } from '../cpu/memory-map.ts';
import { type LinearAddress, numberPart, offsetInPage, pageOf, plus, restOf } from '../isa/linear-address.ts';
import { Access, Privilege } from './access.ts';
import { WATCH } from './physical-memory.ts';
import { SUB_PAGE_BYTES } from './sub-page-permissions.ts';
import type { ApicAccessPage, TranslationAudit } from './translation-context.ts';
import { TranslationControl } from './translation-control.ts';
import { EptOption } from './walk.ts';

/** Its accesses take the slow path for other reasons, for good. */
const KEPT_FROM_FAST = 4;

/** Told of an access to a watched page, before it is made. Addresses: linear and host-physical. */
type WatchListener = (linear: LinearAddress, physical: number, lengthBytes: number, access: Access) => void;

/** Who is told of the data accesses to some linear pages. */
export interface DataBreakpoints {
  watchesPage(linear: LinearAddress): boolean;
  /** An explicit access is going to be made; it can still be that the instruction faults. */
  accessed(linear: LinearAddress, lengthBytes: number, access: Access): void;
}

/** What became of filling the fast TLB. */
export const FillResult = { Filled: 0, Slow: 1, Failed: 2 } as const;
export type FillResult = (typeof FillResult)[keyof typeof FillResult];

export class PageAccess extends TranslationControl {
  onWatchedAccess: WatchListener = () => {};
  /** Undefined while there are none. */
  #dataBreakpoints: DataBreakpoints | undefined;
  readonly #watched = this.physical.watchedPages;

  /** From now on the accesses to some pages are told; nobody but this class fills the fast TLB meanwhile. */
  setDataBreakpoints(breakpoints: DataBreakpoints | undefined): void {
    if (breakpoints === undefined && this.#dataBreakpoints === undefined) return;
    this.#dataBreakpoints = breakpoints;
    this.#slowPathsChanged();
  }
  /** From now on each translation is held against the tables, as far as these may have changed since the last time. */
  setAudit(audit: TranslationAudit | undefined): void {
    if (audit === this.audit) return;
    this.audit = audit;
    this.isStale = false;
    this.#slowPathsChanged();
  }
  #slowPathsChanged(): void {
    this.letRefill(this.#dataBreakpoints === undefined, this.audit !== undefined);
    this.contextChanged();
  }

  /** Sets what is watched of the RAM page that holds a host-physical address; such accesses take the slow path from now on. */
  watch(physicalAddress: number, reads: boolean, writes: boolean): void {
    const page = Math.floor(physicalAddress / PAGE_BYTES);
    if (page >= this.#watched.length) return;
    const kept = (this.#watched[page] as number) & ~(WATCH.READ | WATCH.WRITE);
    this.#watched[page] = (reads ? WATCH.READ : 0) | (writes ? WATCH.WRITE : 0) | kept;
    this.fast.dropRamPage(page, true);
    this.dropWritableVmcs();
  }
  /** Whether writes to the RAM page that holds a host-physical address are told of, as it holds paging structures. */
  watchTable(physicalAddress: number, isTable: boolean): void {
    const page = Math.floor(physicalAddress / PAGE_BYTES);
    const watched = this.#watched[page];
    if (watched === undefined || ((watched & WATCH.TABLE) !== 0) === isTable) return;
    this.#watched[page] = watched ^ WATCH.TABLE;
    this.fast.dropRamPage(page, true);
    this.dropWritableVmcs();
  }
  /** From now on the accesses to a page are never made by compiled code itself. */
  keepFromFast(physicalAddress: number): void {
    const page = Math.floor(physicalAddress / PAGE_BYTES);
    if (page >= this.#watched.length || (this.#watched[page] as number) & KEPT_FROM_FAST) return;
    (this.#watched[page] as number) |= KEPT_FROM_FAST;
    this.fast.dropRamPage(page, true);
  }
  isWatched(physicalAddress: number, access: Access): boolean {
    const bits = this.#watched[Math.floor(physicalAddress / PAGE_BYTES)] ?? 0;
    return (bits & (access === Access.Write ? WATCH.WRITE : WATCH.READ)) !== 0;
  }

  /** A snapshot was taken: writes must mark pages dirty anew. */
  dropWriteTags(): void {
    this.fast.dropWriteTags();
    this.dropWritableVmcs();
  }
  /** A RAM page now holds decoded code: writes to it must be noticed. */
  dropWriteTagsOfPage(ramPage: number): void {
    this.fast.dropRamPage(ramPage, false);
    this.dropWritableVmcs();
  }
  /** The next VMWRITE has to look at its page again. */
  protected dropWritableVmcs(): void {
    this.state.view.setUint32(WRITABLE_VMCS_ADDRESS, 0, true);
  }

  /** Words, doublewords and quadwords have to lie at multiples of their size, where that is checked: if they are canonical. */
  protected checkAlignment(linear: LinearAddress, lengthBytes: number): void {
    const isData = lengthBytes === 2 || lengthBytes === 4 || lengthBytes === 8;
    if (!isData || (offsetInPage(linear) & (lengthBytes - 1)) === 0 || !this.isAlignmentChecked) return;
    if (this.isCanonical(linear) && this.isCanonical(plus(linear, lengthBytes - 1))) throw AC();
  }

  /** Translates for an access that stays in its page, tells who watches, and fills the fast TLB. */
  protected access(linear: LinearAddress, lengthBytes: number, access: Access, privilege: Privilege): number {
    if (privilege === Privilege.Current) this.checkAlignment(linear, lengthBytes);
    const set = this.fastSetFor(privilege);
    if (set >= 0) {
      const known = this.fast.physicalOf(set, numberPart(linear), access === Access.Write);
      if (known >= 0) return known + restOf(linear);
    }
    const translated = this.translate(linear, access, privilege);
    const isApic = this.apicAccessPage?.covers(translated);
    const physical = isApic
      ? (this.apicAccessPage as ApicAccessPage).redirect(translated, lengthBytes, access)
      : translated;
    if (this.#dataBreakpoints?.watchesPage(linear)) {
      if (privilege === Privilege.Current) this.#dataBreakpoints.accessed(linear, lengthBytes, access);
      return physical;
    }
    if (isApic) return physical;
    if (access === Access.Write && this.#hasSubPages()) {
      const end = (offsetInPage(linear) & (SUB_PAGE_BYTES - 1)) + lengthBytes;
      if (end > SUB_PAGE_BYTES) this.translate(plus(linear, lengthBytes - 1), access, privilege);
      return physical;
    }
    const { ramBytes } = this.physical;
    if (physical >= ramBytes) return physical;
    const page = Math.floor(physical / PAGE_BYTES);
    const watched = this.#watched[page] as number;
    if (watched !== 0 && this.isWatched(physical, access)) this.onWatchedAccess(linear, physical, lengthBytes, access);
    if (this.isStale) return physical;
    if (set >= 0 && (page + 1) * PAGE_BYTES <= ramBytes) this.#fillFast(set, linear, physical, page, access, watched);
    return physical;
  }

  /**
   * Translates for an explicit access and puts its page into the fast TLB; `Slow`, with nothing done but the
   * translation, if accesses to it must take the slow path (device memory, watched page, writes to decoded code).
   * Throws nothing: `takeFailure` tells why it failed.
   */
  fillFor(linear: LinearAddress, access: Access): FillResult {
    if (this.isAlignmentChecked) return FillResult.Slow;
    const physical = this.tryTranslate(linear, access);
    if (physical < 0) return FillResult.Failed;
    if (this.isStale) return FillResult.Slow;
    if (this.#dataBreakpoints?.watchesPage(linear) || this.apicAccessPage?.covers(physical)) return FillResult.Slow;
    if (access === Access.Write && this.#hasSubPages()) return FillResult.Slow;
    const page = Math.floor(physical / PAGE_BYTES);
    if ((page + 1) * PAGE_BYTES > this.physical.ramBytes) return FillResult.Slow;
    const watched = this.#watched[page] as number;
    if (watched !== 0 || (access === Access.Write && this.physical.codePages[page] !== 0)) return FillResult.Slow;
    this.#fillFast(this.fastSet(), linear, physical, page, access, watched);
    return FillResult.Filled;
  }

  /** A right to write may be one to a sub-page, which nothing remembers. */
  #hasSubPages(): boolean {
    return ((this.vcpu.ept?.options ?? 0) & EptOption.SubPages) !== 0;
  }

  #fillFast(set: number, linear: LinearAddress, physical: number, page: number, access: Access, watched: number): void {
    if (watched & KEPT_FROM_FAST) return;
    const read = (watched & WATCH.READ) === 0;
    const isTold = (watched & (WATCH.WRITE | WATCH.TABLE)) !== 0 || this.physical.codePages[page] !== 0;
    const write = access === Access.Write && !isTold;
    if (!read && !write) return;
    if (write) this.physical.dirtyPages[page] = 1;
    this.fast.fill(set, pageOf(linear), physical - offsetInPage(linear), read, write);
  }
}
