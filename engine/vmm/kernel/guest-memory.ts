/**
 * The guest's memory as the hypervisor reaches it: guest-physical addresses through the memory slot, linear ones through
 * the guest's own page tables, which are read in the slot as well. Nothing here depends on what EPT maps so far.
 */

import { type GuestFault, PF } from '../../cpu/events.ts';
import { CR0, CR4, EFER, hasBit, RFLAGS } from '../../cpu/register-bits.ts';
import type { LinearAddress } from '../../isa/linear-address.ts';
import { Access, Policy } from '../../mmu/access.ts';
import type { EptWalker } from '../../mmu/ept-walk.ts';
import { GuestWalker } from '../../mmu/guest-walk.ts';
import { PagingMode, pagingMode } from '../../mmu/paging-structures.ts';
import type { EntryMemory, PhysicalMemory } from '../../mmu/physical-memory.ts';
import { type AddressSpace, type EptContext, Outcome, Walk } from '../../mmu/walk.ts';
import type { Guest } from './guest.ts';
import { GUEST_BASE } from './host-memory.ts';

const LOW_32 = 0x1_0000_0000;

/** Paging-structure entries at guest-physical addresses; where there is no memory they read as ones. */
class SlotEntries implements EntryMemory {
  readonly #physical: PhysicalMemory;
  readonly #memoryBytes: number;

  constructor(physical: PhysicalMemory, memoryBytes: number) {
    this.#physical = physical;
    this.#memoryBytes = memoryBytes;
  }
  readU32(address: number): number {
    return address + 4 <= this.#memoryBytes ? this.#physical.readU32(GUEST_BASE + address) : 0xffff_ffff;
  }
  peekU32(address: number): number {
    return this.readU32(address);
  }
  writeU32(address: number, value: number): void {
    if (address + 4 <= this.#memoryBytes) this.#physical.writeU32(GUEST_BASE + address, value);
  }
}

/** What the walk of the guest's page tables depends on. */
export interface GuestPaging {
  readonly cr0: number;
  readonly cr3: number;
  readonly cr4: number;
  readonly efer: number;
  readonly cpl: number;
  readonly rflags: number;
  /** Of the guest's hypervisor, if the tables are those of its guest: addresses are then translated by both. */
  readonly ept?: EptContext | undefined;
}

export class GuestMemory {
  readonly physical: PhysicalMemory;
  readonly memoryBytes: number;
  /** Walks EPTs that lie in the guest's memory: those of a guest that is a hypervisor. */
  readonly ept: EptWalker;
  readonly #walker: GuestWalker;

  constructor(physical: PhysicalMemory, memoryBytes: number, physicalAddressBits: number) {
    this.physical = physical;
    this.memoryBytes = memoryBytes;
    this.#walker = new GuestWalker(new SlotEntries(physical, memoryBytes), physicalAddressBits);
    this.ept = this.#walker.ept;
  }

  /** Whether the range is the guest's memory; what is not belongs to devices or to nobody. */
  contains(guestPhysical: number, lengthBytes = 1): boolean {
    return guestPhysical >= 0 && guestPhysical + lengthBytes <= this.memoryBytes;
  }
  hostAddress(guestPhysical: number): number {
    return GUEST_BASE + guestPhysical;
  }

  /** Bytes of the guest's memory, little-endian; where it has none they read as ones, and writes are dropped. */
  read(guestPhysical: number, lengthBytes: number): bigint {
    if (!this.contains(guestPhysical, lengthBytes)) return (1n << BigInt(8 * lengthBytes)) - 1n;
    let value = 0n;
    for (let at = lengthBytes - 1; at >= 0; at--) {
      value = (value << 8n) | BigInt(this.physical.readU8(GUEST_BASE + guestPhysical + at));
    }
    return value;
  }
  /** One byte, by the same rule. */
  readU8(guestPhysical: number): number {
    return this.contains(guestPhysical) ? this.physical.readU8(GUEST_BASE + guestPhysical) : 0xff;
  }
  write64(guestPhysical: number, value: bigint): void {
    if (this.contains(guestPhysical, 8)) this.physical.writeU64(GUEST_BASE + guestPhysical, value);
  }

  /** Guest-physical address of a linear one for an access of the guest; throws the page fault it would get. */
  translate(guest: GuestPaging, linear: LinearAddress, access: Access): number {
    const walk = new Walk(true);
    if (this.#walk(guest, linear, access, walk)) return walk.guestPhysical;
    throw this.#fault(walk, linear);
  }

  /** The same without side effects and faults, rights aside as far as possible: for debuggers. */
  peekTranslate(guest: GuestPaging, linear: LinearAddress): number | undefined {
    const walk = new Walk(false);
    const asSupervisor = { ...guest, cpl: 0, rflags: guest.rflags | RFLAGS.AC };
    if (!this.#walk(asSupervisor, linear, Access.Read, walk)) return undefined;
    return guest.ept ? walk.physical : walk.guestPhysical;
  }

  #walk(guest: GuestPaging, linear: LinearAddress, access: Access, walk: Walk): boolean {
    const space = this.#space(guest);
    return this.#walker.walk(space, linear, access, policyOf(guest), walk);
  }

  #fault(walk: Walk, linear: LinearAddress): GuestFault {
    if (walk.outcome !== Outcome.PageFault) throw new Error(`internal: a walk without EPT ended with ${walk.outcome}`);
    return PF(walk.errorCode, linear);
  }

  #space({ cr0, cr3, cr4, efer, ept }: GuestPaging): AddressSpace {
    const mode = pagingMode(cr0, cr4, efer);
    const low = cr3 % LOW_32;
    const root =
      mode === PagingMode.PAE ? low - (low % 32) : mode === PagingMode.Bits32 ? low - (low % 4096) : cr3 - (cr3 % 4096);
    return {
      mode,
      root,
      pdptes: mode === PagingMode.PAE ? this.readPdptes(root) : [],
      pageSizeExtensions: hasBit(cr4, CR4.PSE),
      globalPages: hasBit(cr4, CR4.PGE),
      executeDisable: hasBit(efer, EFER.NXE),
      ept,
    };
  }

  /** The four entries that CR3 points to under PAE paging. */
  readPdptes(table: number): number[] {
    const at = table - (table % 32);
    return [0, 1, 2, 3].map((index) => {
      if (!this.contains(at + index * 8, 8)) return 0;
      return Number(this.physical.readU64(this.hostAddress(at + index * 8)));
    });
  }
}

function policyOf({ cr0, cr4, efer, cpl, rflags }: GuestPaging): number {
  let policy = cpl === 3 ? Policy.User : 0;
  if (hasBit(cr0, CR0.WP)) policy |= Policy.WriteProtect;
  if (hasBit(cr4, CR4.SMEP)) policy |= Policy.Smep | Policy.ReportFetch;
  if (hasBit(cr4, CR4.PAE) && hasBit(efer, EFER.NXE)) policy |= Policy.ReportFetch;
  if (hasBit(cr4, CR4.SMAP) && !hasBit(rflags, RFLAGS.AC)) policy |= Policy.Smap;
  return policy;
}

/** The registers of a guest, read once. */
export function pagingOf(guest: Guest): GuestPaging {
  const { cr0, cr3, cr4, efer, cpl, rflags } = guest;
  return { cr0, cr3, cr4, efer, cpl, rflags };
}
