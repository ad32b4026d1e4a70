/** The MMU of the loaded vCPU: typed accesses to linear memory, on top of translation. */
import { AC } from '../cpu/events.ts';
import { PAGE_BYTES, WRITABLE_VMCS_ADDRESS } from '../cpu/memory-map.ts';
import { CS } from '../cpu/state.ts';
import {
  type LinearAddress,
  linearAddressOf,
  low32,
  numberPart,
  offsetInPage,
  pageOf,
  plus,
  restOf,
} from '../isa/linear-address.ts';
import { Access, Privilege } from './access.ts';
import { Efer, type PagingMode, pagingMode } from './paging-structures.ts';
import { WATCH } from './physical-memory.ts';
import { SUB_PAGE_BYTES } from './sub-page-permissions.ts';
import type { ApicAccessPage, SavedTranslations, TranslationAudit } from './translation-context.ts';
import { TranslationControl } from './translation-control.ts';
import { EptOption, Outcome } from './walk.ts';

/** CS.L in the access-rights format of the VMCS. */
const CODE_64 = 1 << 13;
/** Its accesses take the slow path for other reasons, for good. */
const KEPT_FROM_FAST = 4;
const BYTE = 0x100;

/** Told of an access to a watched page, before it is made. Addresses: linear and host-physical. */
export type WatchListener = (linear: LinearAddress, physical: number, lengthBytes: number, access: Access) => void;

/** Who is told of the data accesses to some linear pages. */
export interface DataBreakpoints {
  watchesPage(linear: LinearAddress): boolean;
  /** An explicit access is going to be made; it can still be that the instruction faults. */
  accessed(linear: LinearAddress, lengthBytes: number, access: Access): void;
}

/** What became of filling the fast TLB. */
export const FillResult = { Filled: 0, Slow: 1, Failed: 2 } as const;
export type FillResult = (typeof FillResult)[keyof typeof FillResult];

/** An access to a linear address may touch two pages: two physical addresses and the bytes in the first. */
interface Split {
  readonly first: number;
  readonly second: number;
  readonly firstBytes: number;
}

export class Mmu extends TranslationControl {
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
    this.mayRefill = this.#dataBreakpoints === undefined && this.audit === undefined;
    this.contextChanged();
  }

  /** Sets what is watched of the RAM page that holds a host-physical address; such accesses take the slow path from now on. */
  watch(physicalAddress: number, reads: boolean, writes: boolean): void {
    const page = Math.floor(physicalAddress / PAGE_BYTES);
    if (page >= this.#watched.length) return;
    const kept = (this.#watched[page] as number) & ~(WATCH.READ | WATCH.WRITE);
    this.#watched[page] = (reads ? WATCH.READ : 0) | (writes ? WATCH.WRITE : 0) | kept;
    this.fast.dropRamPage(page, true);
    this.#dropWritableVmcs();
  }
  /** Whether writes to the RAM page that holds a host-physical address are told of, as it holds paging structures. */
  watchTable(physicalAddress: number, isTable: boolean): void {
    const page = Math.floor(physicalAddress / PAGE_BYTES);
    const watched = this.#watched[page];
    if (watched === undefined || ((watched & WATCH.TABLE) !== 0) === isTable) return;
    this.#watched[page] = watched ^ WATCH.TABLE;
    this.fast.dropRamPage(page, true);
    this.#dropWritableVmcs();
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
    this.#dropWritableVmcs();
  }
  /** A RAM page now holds decoded code: writes to it must be noticed. */
  dropWriteTagsOfPage(ramPage: number): void {
    this.fast.dropRamPage(ramPage, false);
    this.#dropWritableVmcs();
  }
  /** The next VMWRITE has to look at its page again. */
  #dropWritableVmcs(): void {
    this.state.view.setUint32(WRITABLE_VMCS_ADDRESS, 0, true);
  }

  /** Words, doublewords and quadwords have to lie at multiples of their size, where that is checked. */
  #checkAlignment(linear: LinearAddress, lengthBytes: number): void {
    const isData = lengthBytes === 2 || lengthBytes === 4 || lengthBytes === 8;
    if (isData && (offsetInPage(linear) & (lengthBytes - 1)) !== 0 && this.isAlignmentChecked) throw AC();
  }

  /** Translates for an access that stays in its page, tells who watches, and fills the fast TLB. */
  #access(linear: LinearAddress, lengthBytes: number, access: Access, privilege: Privilege): number {
    if (privilege === Privilege.Current) this.#checkAlignment(linear, lengthBytes);
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

  /** Translates for an instruction fetch. */
  translateFetch(linear: LinearAddress): number {
    const physical = this.translate(linear, Access.Execute);
    if (!this.apicAccessPage?.covers(physical)) return physical;
    return this.apicAccessPage.redirect(physical, 1, Access.Execute);
  }

  /** An access with a byte outside of the canonical addresses faults before any page is looked at. */
  #checkCanonical(linear: LinearAddress, access: Access, privilege: Privilege): void {
    if (!this.isCanonical(linear)) this.translate(linear, access, privilege);
  }

  /** Translates both pages of an access that crosses into the next; the faults of both come before any effect. */
  #split(linear: LinearAddress, lengthBytes: number, access: Access, privilege: Privilege): Split {
    if (privilege === Privilege.Current) this.#checkAlignment(linear, lengthBytes);
    const firstBytes = PAGE_BYTES - offsetInPage(linear);
    const next = this.#wrap(plus(linear, firstBytes));
    this.#checkCanonical(next, access, privilege);
    if (access === Access.Write) {
      this.#raiseFault(linear, access, privilege);
      this.#raiseFault(next, access, privilege);
    }
    const first = this.#access(linear, firstBytes, access, privilege);
    const second = this.#access(next, lengthBytes - firstBytes, access, privilege);
    return { first, second, firstBytes };
  }

  /** Outside 64-bit mode linear addresses are 32 bits wide and wrap. */
  #wrap(linear: LinearAddress): LinearAddress {
    if (linear < 0x1_0000_0000) return linear;
    const { state } = this;
    const is64 = (state.efer & Efer.LMA) !== 0 && (state.segment(CS).attributes & CODE_64) !== 0;
    return is64 ? linear : low32(linear);
  }

  /** Throws what an access would throw, and has no effect otherwise. */
  #raiseFault(linear: LinearAddress, access: Access, privilege: Privilege): void {
    const set = this.fastSetFor(privilege);
    if (set >= 0 && this.fast.physicalOf(set, numberPart(linear), access === Access.Write) >= 0) return;
    if (this.isServed(linear, access, privilege)) return;
    if (this.peekTranslate(linear, access, privilege).outcome !== Outcome.Mapped) {
      this.translate(linear, access, privilege);
    }
  }

  /** Throws what a write of `lengthBytes` would throw, and has no effect otherwise. */
  probeWrite(linear: LinearAddress, lengthBytes: number, privilege: Privilege = Privilege.Current): void {
    this.#probe(linear, lengthBytes, Access.Write, privilege);
  }
  /** Throws what a write that the read to come is made for would throw. */
  probeModification(linear: LinearAddress, lengthBytes: number): void {
    this.probeWrite(linear, lengthBytes);
    if (!this.apicAccessPage?.isInUse) return;
    this.#checkModification(linear, lengthBytes);
    const firstBytes = PAGE_BYTES - offsetInPage(linear);
    if (firstBytes < lengthBytes)
      this.#checkModification(this.#wrap(plus(linear, firstBytes)), lengthBytes - firstBytes);
  }
  #checkModification(linear: LinearAddress, lengthBytes: number): void {
    const physical = this.translate(linear, Access.Write);
    const page = this.apicAccessPage as ApicAccessPage;
    if (page.covers(physical)) page.checkModification(physical, lengthBytes);
  }
  /** Throws what a read of `lengthBytes` would throw, and has no effect otherwise. */
  probeRead(linear: LinearAddress, lengthBytes: number, privilege: Privilege = Privilege.Current): void {
    this.#probe(linear, lengthBytes, Access.Read, privilege);
  }
  #probe(linear: LinearAddress, lengthBytes: number, access: Access, privilege: Privilege): void {
    if (lengthBytes <= 0) return;
    if (privilege === Privilege.Current) this.#checkAlignment(linear, lengthBytes);
    this.#checkCanonical(this.#wrap(plus(linear, lengthBytes - 1)), access, privilege);
    this.#raiseFault(linear, access, privilege);
    for (let offset = PAGE_BYTES - offsetInPage(linear); offset < lengthBytes; offset += PAGE_BYTES) {
      this.#raiseFault(this.#wrap(plus(linear, offset)), access, privilege);
    }
  }

  readU8(linear: LinearAddress, privilege: Privilege = Privilege.Current): number {
    return this.physical.readU8(this.#access(linear, 1, Access.Read, privilege));
  }
  readU16(linear: LinearAddress, privilege: Privilege = Privilege.Current): number {
    if (offsetInPage(linear) > 0xffe) return this.#readCrossing(linear, 2, privilege);
    return this.physical.readU16(this.#access(linear, 2, Access.Read, privilege));
  }
  readU32(linear: LinearAddress, privilege: Privilege = Privilege.Current): number {
    if (offsetInPage(linear) > 0xffc) return this.#readCrossing(linear, 4, privilege);
    return this.physical.readU32(this.#access(linear, 4, Access.Read, privilege));
  }
  readU64(linear: LinearAddress, privilege: Privilege = Privilege.Current): bigint {
    if (offsetInPage(linear) > 0xff8) return this.#readCrossing64(linear, privilege);
    return this.physical.readU64(this.#access(linear, 8, Access.Read, privilege));
  }

  /** 64 bits as an address. */
  readLinearNumber64(linear: LinearAddress, privilege: Privilege = Privilege.Current): LinearAddress {
    if (offsetInPage(linear) > 0xff8) return linearAddressOf(this.#readCrossing64(linear, privilege));
    return this.physical.readLinearAddress(this.#access(linear, 8, Access.Read, privilege));
  }

  /** The low half of 64 bits, all of which are accessed; unsigned. */
  readLowHalf64(linear: LinearAddress, privilege: Privilege = Privilege.Current): number {
    if (offsetInPage(linear) > 0xff8) return Number(this.#readCrossing64(linear, privilege) & 0xffff_ffffn);
    const physical = this.#access(linear, 8, Access.Read, privilege);
    if (this.physical.isRam(physical, 8)) return this.physical.readU32(physical);
    return Number(this.physical.readU64(physical) & 0xffff_ffffn);
  }

  writeU8(linear: LinearAddress, value: number, privilege: Privilege = Privilege.Current): void {
    this.physical.writeU8(this.#access(linear, 1, Access.Write, privilege), value);
  }
  writeU16(linear: LinearAddress, value: number, privilege: Privilege = Privilege.Current): void {
    if (offsetInPage(linear) > 0xffe) return this.#writeCrossing(linear, 2, value, privilege);
    this.physical.writeU16(this.#access(linear, 2, Access.Write, privilege), value);
  }
  writeU32(linear: LinearAddress, value: number, privilege: Privilege = Privilege.Current): void {
    if (offsetInPage(linear) > 0xffc) return this.#writeCrossing(linear, 4, value, privilege);
    this.physical.writeU32(this.#access(linear, 4, Access.Write, privilege), value);
  }
  writeU64(linear: LinearAddress, value: bigint, privilege: Privilege = Privilege.Current): void {
    if (offsetInPage(linear) > 0xff8) return this.#writeCrossing64(linear, value, privilege);
    this.physical.writeU64(this.#access(linear, 8, Access.Write, privilege), value);
  }
  /** Writes an address, or another integer number, as 64 bits in two's complement. */
  writeLinearNumber64(linear: LinearAddress, value: LinearAddress, privilege: Privilege = Privilege.Current): void {
    if (offsetInPage(linear) > 0xff8) return this.#writeCrossing64(linear, BigInt(value), privilege);
    this.physical.writeLinearAddress(this.#access(linear, 8, Access.Write, privilege), value);
  }

  /** What compiled code calls when the fast TLB misses, for explicit accesses of 1, 2 or 4 bytes. */
  slowRead(linear: LinearAddress, sizeBytes: number): number {
    if (sizeBytes === 4) return this.readU32(linear);
    return sizeBytes === 2 ? this.readU16(linear) : this.readU8(linear);
  }
  slowRead64(linear: LinearAddress): bigint {
    return this.readU64(linear);
  }
  slowWrite(linear: LinearAddress, sizeBytes: number, value: number): void {
    if (sizeBytes === 4) this.writeU32(linear, value);
    else if (sizeBytes === 2) this.writeU16(linear, value);
    else this.writeU8(linear, value);
  }
  slowWrite64(linear: LinearAddress, value: bigint): void {
    this.writeU64(linear, value);
  }

  /** Reads 16 bytes to an address of a view. */
  slowRead128(linear: LinearAddress, view: DataView, to: number): void {
    if (offsetInPage(linear) > 0xff0) {
      const at = this.#split(linear, 16, Access.Read, Privilege.Current);
      for (let i = 0; i < 16; i++) view.setUint8(to + i, this.physical.readU8(byteOf(at, i)));
      return;
    }
    const at = this.#access(linear, 16, Access.Read, Privilege.Current);
    view.setBigUint64(to, this.physical.readU64(at), true);
    view.setBigUint64(to + 8, this.physical.readU64(at + 8), true);
  }
  slowWrite128(linear: LinearAddress, view: DataView, from: number): void {
    if (offsetInPage(linear) > 0xff0) {
      const at = this.#split(linear, 16, Access.Write, Privilege.Current);
      for (let i = 0; i < 16; i++) this.physical.writeU8(byteOf(at, i), view.getUint8(from + i));
      return;
    }
    const at = this.#access(linear, 16, Access.Write, Privilege.Current);
    this.physical.writeU64(at, view.getBigUint64(from, true));
    this.physical.writeU64(at + 8, view.getBigUint64(from + 8, true));
  }

  #readCrossing(linear: LinearAddress, lengthBytes: number, privilege: Privilege): number {
    const at = this.#split(linear, lengthBytes, Access.Read, privilege);
    let value = 0;
    for (let i = lengthBytes - 1; i >= 0; i--) value = value * BYTE + this.physical.readU8(byteOf(at, i));
    return value;
  }
  #readCrossing64(linear: LinearAddress, privilege: Privilege): bigint {
    const at = this.#split(linear, 8, Access.Read, privilege);
    let value = 0n;
    for (let i = 7; i >= 0; i--) value = (value << 8n) | BigInt(this.physical.readU8(byteOf(at, i)));
    return value;
  }
  #writeCrossing(linear: LinearAddress, lengthBytes: number, value: number, privilege: Privilege): void {
    const at = this.#split(linear, lengthBytes, Access.Write, privilege);
    for (let i = 0; i < lengthBytes; i++) this.physical.writeU8(byteOf(at, i), (value >>> (8 * i)) & 0xff);
  }
  #writeCrossing64(linear: LinearAddress, value: bigint, privilege: Privilege): void {
    const at = this.#split(linear, 8, Access.Write, privilege);
    for (let i = 0; i < 8; i++) this.physical.writeU8(byteOf(at, i), Number((value >> BigInt(8 * i)) & 0xffn));
  }

  /**
   * The bytes the CPU would read from a linear address now, rights aside: as many as are mapped, up to `lengthBytes`.
   * No side effects.
   */
  peek(linear: LinearAddress, lengthBytes: number): Uint8Array {
    const bytes = new Uint8Array(lengthBytes);
    const done = this.#forEachPiece(linear, lengthBytes, (physical, offset, count) => {
      for (let i = 0; i < count; i++) bytes[offset + i] = this.physical.peekU8(physical + i);
      return true;
    });
    return bytes.subarray(0, done);
  }

  /** Writes on behalf of the debugger, rights aside; the number of bytes written, up to the first not in mapped RAM. */
  poke(linear: LinearAddress, bytes: Uint8Array): number {
    return this.#forEachPiece(linear, bytes.length, (physical, offset, count) =>
      this.physical.poke(physical, bytes.subarray(offset, offset + count)),
    );
  }

  /** Visits the parts of a range that lie in one page each; stops where `visit` says false or nothing is mapped. */
  #forEachPiece(
    linear: LinearAddress,
    lengthBytes: number,
    visit: (physical: number, offset: number, count: number) => boolean,
  ): number {
    let offset = 0;
    while (offset < lengthBytes) {
      const at = this.#wrap(plus(linear, offset));
      const count = Math.min(lengthBytes - offset, PAGE_BYTES - offsetInPage(at));
      const physical = this.#locate(at);
      if (physical === undefined || !visit(physical, offset, count)) break;
      offset += count;
    }
    return offset;
  }

  /** Where a linear address leads now, whoever asks. */
  #locate(linear: LinearAddress): number | undefined {
    const asSupervisor = this.peekTranslate(linear, Access.Read, Privilege.Supervisor).physical;
    // SMAP denies a supervisor the user's pages, so the user is asked as well.
    return asSupervisor ?? this.peekTranslate(linear, Access.Read, Privilege.User).physical;
  }

  /** The paging mode in force. */
  get pagingMode(): PagingMode {
    const { cr0, cr4, efer } = this.state;
    return pagingMode(cr0, cr4, efer);
  }

  /** A copy of everything the MMU remembers for the loaded vCPU, for `restore`. */
  save(): SavedTranslations {
    return this.vcpu.save();
  }
  /** Puts a saved state back; to be called once the registers and memory are restored. */
  restore(saved: SavedTranslations): void {
    this.vcpu.restore(saved);
    this.guestReplaced();
    this.#dropWritableVmcs();
    this.contextChanged();
  }
}

const byteOf = (at: Split, index: number): number =>
  index < at.firstBytes ? at.first + index : at.second + (index - at.firstBytes);
