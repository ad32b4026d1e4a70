/**
 * What changes translations: control registers, INVLPG, INVPCID, INVEPT, INVVPID, VM entries and VM exits, each with
 * exactly the invalidations the manual prescribes (SDM volume 3, "Invalidation of TLBs and Paging-Structure Caches"
 * and "Invalidating Cached Translation Information").
 */

import { GP } from '../cpu/events.ts';
import { CR0, CR4, EFER } from '../cpu/register-bits.ts';
import { type LinearAddress, pageOf } from '../isa/linear-address.ts';
import { EptRight } from './access.ts';
import { isReservedPdpte, PagingMode, pagingMode } from './paging-structures.ts';
import { PeekableTranslation } from './peekable-translation.ts';
import type { InvalidationScope } from './tlb.ts';
import { type EptContext, eptContext } from './walk.ts';

/** INVPCID types (SDM volume 2, "INVPCID"). */
export const InvpcidType = {
  IndividualAddress: 0,
  SingleContext: 1,
  AllContexts: 2,
  AllContextsRetainingGlobals: 3,
} as const;
/** INVVPID types (SDM volume 3, "INVVPID"). */
export const InvvpidType = {
  IndividualAddress: 0,
  SingleContext: 1,
  AllContexts: 2,
  SingleContextRetainingGlobals: 3,
} as const;
/** INVEPT types (SDM volume 3, "INVEPT"). */
export const InveptType = { SingleContext: 1, AllContexts: 2 } as const;

/** Changes of these reload the PDPTE registers under PAE paging. */
const CR0_PAGING_BITS = CR0.PG | CR0.CD | CR0.NW;
const CR4_PAGING_BITS = CR4.PAE | CR4.PGE | CR4.PSE | CR4.SMEP;

const VPID_0: InvalidationScope = { vpid: 0 };
const ROOT = { vpid: 0, ept: undefined };

export class TranslationControl extends PeekableTranslation {
  #lastEpt: EptContext | undefined;
  /** VPID and EPT of the guest that was entered last by `enterNonRoot`. */
  #guest: { readonly vpid: number; readonly ept: EptContext | undefined } = ROOT;

  /**
   * MOV to CR3: loads the PDPTE registers under PAE paging, writes `state.cr3`, and invalidates unless `noFlush`
   * (bit 63 of the source operand with CR4.PCIDE = 1; `value` is without it).
   *
   * @throws GuestFault #GP(0) for reserved bits in a PDPTE, VmExit from EPT; nothing is changed then
   */
  writeCr3(value: number, noFlush = false): void {
    const { cr0, cr4, efer, vpid } = this.#controls();
    if (this.#hasPdpteRegisters(cr0, cr4, efer)) this.vcpu.pdptes.set(this.readPdptes(value));
    this.state.cr3 = value;
    // As nothing fast survives, it is emptied before each mapping that goes is looked up there.
    this.spaceChanged();
    if (!noFlush) this.tlb.dropAll({ vpid, pcid: this.#pcid(), keepGlobal: true });
  }

  /**
   * Writes `state.cr0` (whose legality the caller has checked; IA32_EFER.LMA is the caller's too), with the PDPTE loads
   * and invalidations of MOV to CR0. Throws as `writeCr3`.
   */
  writeCr0(value: number): void {
    const { cr0, cr4, efer, vpid } = this.#controls();
    if ((cr0 ^ value) & CR0_PAGING_BITS) this.#loadPdptesFor(value, cr4, efer);
    this.state.cr0 = value >>> 0;
    if (cr0 & CR0.PG && !(value & CR0.PG)) this.tlb.dropAll({ vpid });
    if ((cr0 ^ value) & (CR0.PG | CR0.WP)) this.contextChanged();
    else if ((cr0 ^ value) & CR0.AM) this.privilegeChanged();
  }

  /** Writes `state.cr4`, with the PDPTE loads and invalidations of MOV to CR4. Throws as `writeCr3`. */
  writeCr4(value: number): void {
    const { cr0, cr4, efer, vpid } = this.#controls();
    const changed = cr4 ^ value;
    if (changed & CR4_PAGING_BITS) this.#loadPdptesFor(cr0, value, efer);
    const pcid = this.#pcid();
    this.state.cr4 = value >>> 0;
    if (changed & CR4.PGE || (cr4 & CR4.PCIDE && !(value & CR4.PCIDE))) this.tlb.dropAll({ vpid });
    else if (changed & CR4.PAE || (value & changed & CR4.SMEP) !== 0) this.tlb.dropAll({ vpid, pcid });
    if (changed) this.contextChanged();
  }

  /** Writes `state.efer`. WRMSR invalidates nothing by itself. */
  writeEfer(value: number): void {
    const changed = this.state.efer ^ value;
    this.state.efer = value >>> 0;
    if (changed & (EFER.NXE | EFER.LMA | EFER.LME)) this.contextChanged();
  }

  /** PKRU or IA32_PKRS was written: what is fast was made for its old value. */
  keyRightsChanged(): void {
    this.contextChanged();
  }

  #controls() {
    const { cr0, cr4, efer } = this.state;
    return { cr0, cr4, efer, vpid: this.vcpu.vpid };
  }

  #pcid(): number {
    return this.state.cr4 & CR4.PCIDE ? this.state.cr3 % 4096 : 0;
  }

  #loadPdptesFor(cr0: number, cr4: number, efer: number): void {
    if (this.#hasPdpteRegisters(cr0, cr4, efer)) this.vcpu.pdptes.set(this.readPdptes(this.state.cr3));
  }

  /** With nested paging, walks read the PDPTEs from memory. */
  #hasPdpteRegisters(cr0: number, cr4: number, efer: number): boolean {
    return pagingMode(cr0, cr4, efer) === PagingMode.PAE && !this.vcpu.ept?.nested;
  }

  /**
   * The four PDPTEs that a CR3 value points to, checked (SDM volume 3, "PDPTE Registers").
   *
   * @throws GuestFault #GP(0) for reserved bits in a present one; VmExit from EPT
   */
  readPdptes(cr3: number): number[] {
    const low = cr3 % 0x1_0000_0000;
    const table = low - (low % 32);
    const rights = this.vcpu.ept?.accessedDirty ? EptRight.Read | EptRight.Write : EptRight.Read;
    return [0, 1, 2, 3].map((index) => {
      const address = this.translateGuestPhysical(table + index * 8, rights);
      const entryLow = this.physical.readU32(address);
      const entryHigh = this.physical.readU32(address + 4);
      if (isReservedPdpte(entryLow, entryHigh, this.physicalAddressBits)) throw GP(0);
      return entryHigh * 0x1_0000_0000 + entryLow;
    });
  }

  /**
   * INVLPG, and the loss of the mapping of one page for other reasons: current VPID and PCID, global mappings too, and all
   * cached paging-structure entries, whatever address they are for.
   */
  invlpg(linear: LinearAddress): void {
    const scope = { vpid: this.vcpu.vpid, pcid: this.#pcid() };
    this.tlb.dropPage(pageOf(linear), scope);
    this.tlb.structures?.dropAll(scope);
  }

  /** INVPCID; the descriptor's legality is the caller's. */
  invpcid(type: number, pcid: number, linear: LinearAddress): void {
    const { vpid } = this.vcpu;
    const store = this.tlb;
    switch (type) {
      case InvpcidType.IndividualAddress:
        return store.dropPage(pageOf(linear), { vpid, pcid, keepGlobal: true });
      case InvpcidType.SingleContext:
        return store.dropAll({ vpid, pcid, keepGlobal: true });
      case InvpcidType.AllContexts:
        return store.dropAll({ vpid });
      case InvpcidType.AllContextsRetainingGlobals:
        return store.dropAll({ vpid, keepGlobal: true });
      default:
        throw new Error(`INVPCID: expected type 0 to 3, found ${type}`);
    }
  }

  /** INVVPID: linear and combined mappings; the descriptor's legality is the caller's. */
  invvpid(type: number, vpid: number, linear: LinearAddress): void {
    const store = this.tlb;
    switch (type) {
      case InvvpidType.IndividualAddress:
        return store.dropPage(pageOf(linear), { vpid });
      case InvvpidType.SingleContext:
        return store.dropAll({ vpid });
      case InvvpidType.AllContexts:
        return store.dropAll({ keepVpid0: true });
      case InvvpidType.SingleContextRetainingGlobals:
        return store.dropAll({ vpid, keepGlobal: true });
      default:
        throw new Error(`INVVPID: expected type 0 to 3, found ${type}`);
    }
  }

  /** INVEPT: guest-physical and combined mappings. */
  invept(type: number, eptp: number): void {
    const root = type === InveptType.SingleContext ? eptContext(eptp).root : undefined;
    if (type !== InveptType.SingleContext && type !== InveptType.AllContexts) {
      throw new Error(`INVEPT: expected type 1 or 2, found ${type}`);
    }
    this.tlb.dropCombined(root);
  }

  /**
   * The address-translation side of a VM entry, after the guest's registers are loaded: VPID (0 if the control is off)
   * and EPTP (undefined if EPT is off) with EptOption bits. Without VPIDs all mappings of VPID 0000H go.
   */
  enterNonRoot(vpid: number, eptp: number | undefined, options = 0): void {
    this.#flushVpid0(vpid);
    this.guestReplaced();
    this.#guest = { vpid, ept: eptp === undefined ? undefined : this.#eptContext(eptp, options) };
    Object.assign(this.vcpu, this.#guest);
    this.worldChanged();
  }

  /**
   * Compiled code has entered the guest that was entered last, or left it: it did all the rest of `enterNonRoot` and
   * `enterRoot`.
   */
  followSwitch(inGuest: boolean): void {
    Object.assign(this.vcpu, inGuest ? this.#guest : ROOT);
  }

  /** The address-translation side of VMRUN: the guest's ASID, and N_CR3 with the host's registers for nested paging. */
  enterGuestMode(asid: number, nested: EptContext | undefined): void {
    this.vcpu.vpid = asid;
    this.vcpu.ept = nested;
    this.worldChanged();
  }

  /** Other extended page tables for the guest that runs; cached translations stay, under their tags. */
  switchEptp(eptp: number): void {
    this.guestReplaced();
    this.vcpu.ept = this.#eptContext(eptp, this.vcpu.ept?.options ?? 0);
    this.worldChanged();
  }

  /** The parts of an EPTP; one object as long as it stays the same. */
  #eptContext(eptp: number, options: number): EptContext {
    if (this.#lastEpt?.eptp !== eptp || this.#lastEpt.options !== options) this.#lastEpt = eptContext(eptp, options);
    return this.#lastEpt;
  }

  /** The address-translation side of a VM exit, after the host's registers are loaded. */
  enterRoot(): void {
    this.#flushVpid0(this.vcpu.vpid);
    this.vcpu.vpid = 0;
    this.vcpu.ept = undefined;
    this.worldChanged();
  }

  /** "If the enable VPID VM-execution control is 0, VM entries and VM exits invalidate mappings of VPID 0000H." */
  #flushVpid0(vpid: number): void {
    if (vpid === 0) this.tlb.dropAll(VPID_0);
  }

  /** INIT and reset: everything goes. */
  reset(): void {
    this.tlb.dropAll({});
    this.tlb.guestPhysical.dropAll({});
    this.guestReplaced();
    this.vcpu.pdptes.fill(0);
    this.vcpu.vpid = 0;
    this.vcpu.ept = undefined;
    this.contextChanged();
  }
}
