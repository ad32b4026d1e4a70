/** The MMU of the loaded vCPU: typed accesses to linear memory, which may cross into the next page. */

import { PAGE_BYTES } from '../cpu/memory-map.ts';
import { EFER } from '../cpu/register-bits.ts';
import { CS } from '../cpu/state.ts';
import { type LinearAddress, linearAddressOf, low32, numberPart, offsetInPage, plus } from '../isa/linear-address.ts';
import { Access, Privilege } from './access.ts';
import { PageAccess } from './page-access.ts';
import { type PagingMode, pagingMode } from './paging-structures.ts';
import type { ApicAccessPage, SavedTranslations } from './translation-context.ts';
import { Outcome } from './walk.ts';

/** CS.L in the access-rights format of the VMCS. */
const CODE_64 = 1 << 13;
const BYTE = 0x100;

/** An access to a linear address may touch two pages: two physical addresses and the bytes in the first. */
interface Split {
  readonly first: number;
  readonly second: number;
  readonly firstBytes: number;
}

export class Mmu extends PageAccess {
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
    if (privilege === Privilege.Current) this.checkAlignment(linear, lengthBytes);
    const firstBytes = PAGE_BYTES - offsetInPage(linear);
    const next = this.#wrap(plus(linear, firstBytes));
    this.#checkCanonical(next, access, privilege);
    if (access === Access.Write) {
      this.#raiseFault(linear, access, privilege);
      this.#raiseFault(next, access, privilege);
    }
    const first = this.access(linear, firstBytes, access, privilege);
    const second = this.access(next, lengthBytes - firstBytes, access, privilege);
    return { first, second, firstBytes };
  }

  /** Outside 64-bit mode linear addresses are 32 bits wide and wrap. */
  #wrap(linear: LinearAddress): LinearAddress {
    if (linear < 0x1_0000_0000) return linear;
    const { state } = this;
    const is64 = (state.efer & EFER.LMA) !== 0 && (state.segment(CS).attributes & CODE_64) !== 0;
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
    if (privilege === Privilege.Current) this.checkAlignment(linear, lengthBytes);
    this.#checkCanonical(this.#wrap(plus(linear, lengthBytes - 1)), access, privilege);
    this.#raiseFault(linear, access, privilege);
    for (let offset = PAGE_BYTES - offsetInPage(linear); offset < lengthBytes; offset += PAGE_BYTES) {
      this.#raiseFault(this.#wrap(plus(linear, offset)), access, privilege);
    }
  }

  readU8(linear: LinearAddress, privilege: Privilege = Privilege.Current): number {
    return this.physical.readU8(this.access(linear, 1, Access.Read, privilege));
  }
  readU16(linear: LinearAddress, privilege: Privilege = Privilege.Current): number {
    if (offsetInPage(linear) > 0xffe) return this.#readCrossing(linear, 2, privilege);
    return this.physical.readU16(this.access(linear, 2, Access.Read, privilege));
  }
  readU32(linear: LinearAddress, privilege: Privilege = Privilege.Current): number {
    if (offsetInPage(linear) > 0xffc) return this.#readCrossing(linear, 4, privilege);
    return this.physical.readU32(this.access(linear, 4, Access.Read, privilege));
  }
  readU64(linear: LinearAddress, privilege: Privilege = Privilege.Current): bigint {
    if (offsetInPage(linear) > 0xff8) return this.#readCrossing64(linear, privilege);
    return this.physical.readU64(this.access(linear, 8, Access.Read, privilege));
  }

  /** 64 bits as an address. */
  readLinearNumber64(linear: LinearAddress, privilege: Privilege = Privilege.Current): LinearAddress {
    if (offsetInPage(linear) > 0xff8) return linearAddressOf(this.#readCrossing64(linear, privilege));
    return this.physical.readLinearAddress(this.access(linear, 8, Access.Read, privilege));
  }

  /** The low half of 64 bits, all of which are accessed; unsigned. */
  readLowHalf64(linear: LinearAddress, privilege: Privilege = Privilege.Current): number {
    if (offsetInPage(linear) > 0xff8) return Number(this.#readCrossing64(linear, privilege) & 0xffff_ffffn);
    const physical = this.access(linear, 8, Access.Read, privilege);
    if (this.physical.isRam(physical, 8)) return this.physical.readU32(physical);
    return Number(this.physical.readU64(physical) & 0xffff_ffffn);
  }

  writeU8(linear: LinearAddress, value: number, privilege: Privilege = Privilege.Current): void {
    this.physical.writeU8(this.access(linear, 1, Access.Write, privilege), value);
  }
  writeU16(linear: LinearAddress, value: number, privilege: Privilege = Privilege.Current): void {
    if (offsetInPage(linear) > 0xffe) return this.#writeCrossing(linear, 2, value, privilege);
    this.physical.writeU16(this.access(linear, 2, Access.Write, privilege), value);
  }
  writeU32(linear: LinearAddress, value: number, privilege: Privilege = Privilege.Current): void {
    if (offsetInPage(linear) > 0xffc) return this.#writeCrossing(linear, 4, value, privilege);
    this.physical.writeU32(this.access(linear, 4, Access.Write, privilege), value);
  }
  writeU64(linear: LinearAddress, value: bigint, privilege: Privilege = Privilege.Current): void {
    if (offsetInPage(linear) > 0xff8) return this.#writeCrossing64(linear, value, privilege);
    this.physical.writeU64(this.access(linear, 8, Access.Write, privilege), value);
  }
  /** Writes an address, or another integer number, as 64 bits in two's complement. */
  writeLinearNumber64(linear: LinearAddress, value: LinearAddress, privilege: Privilege = Privilege.Current): void {
    if (offsetInPage(linear) > 0xff8) return this.#writeCrossing64(linear, BigInt(value), privilege);
    this.physical.writeLinearAddress(this.access(linear, 8, Access.Write, privilege), value);
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
    const at = this.access(linear, 16, Access.Read, Privilege.Current);
    view.setBigUint64(to, this.physical.readU64(at), true);
    view.setBigUint64(to + 8, this.physical.readU64(at + 8), true);
  }
  slowWrite128(linear: LinearAddress, view: DataView, from: number): void {
    if (offsetInPage(linear) > 0xff0) {
      const at = this.#split(linear, 16, Access.Write, Privilege.Current);
      for (let i = 0; i < 16; i++) this.physical.writeU8(byteOf(at, i), view.getUint8(from + i));
      return;
    }
    const at = this.access(linear, 16, Access.Write, Privilege.Current);
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
    this.dropWritableVmcs();
    this.contextChanged();
  }
}

const byteOf = (at: Split, index: number): number =>
  index < at.firstBytes ? at.first + index : at.second + (index - at.firstBytes);
