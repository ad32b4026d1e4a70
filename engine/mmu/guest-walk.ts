/**
 * The walk of the guest's paging structures, each access to them and to the final page through EPT where EPT is in use
 * (SDM volume 3, chapter "Paging"; "Prioritization of EPT Misconfigurations and EPT Violations").
 *
 * The accessed flag of an entry that references a table is set as the walk passes it; those of the entry that maps the
 * page only once the access is allowed.
 */
import {
  Access,
  ALL_EPT_RIGHTS,
  ALL_GUEST_RIGHTS,
  EPT_FLAGS_SHIFT,
  EptRight,
  guestPermits,
  MappingFlag,
  PageFaultCode,
  Policy,
} from './access.ts';
import { EptWalker, type GuestPhysicalCache } from './ept-walk.ts';
import { Entry, type EntryFormat, guestFormats, type PagingFormat, PagingMode, XD_HIGH } from './paging-structures.ts';
import type { EntryMemory } from './physical-memory.ts';
import { type AddressSpace, Outcome, type Walk } from './walk.ts';

/** What EPT must allow for each kind of access to the page. */
const eptRightOf = [EptRight.Read, EptRight.Write, EptRight.Execute] as const;

export class GuestWalker {
  readonly ept: EptWalker;
  readonly formats: readonly PagingFormat[];
  readonly #physical: EntryMemory;

  constructor(physical: EntryMemory, physicalAddressBits: number) {
    this.#physical = physical;
    this.formats = guestFormats(physicalAddressBits);
    this.ept = new EptWalker(physical, physicalAddressBits);
  }

  /**
   * Walks for an access to a linear address; `policy` are Policy bits. The results are in `walk`, whose `outcome` is
   * Mapped exactly if this returns true.
   */
  walk(
    space: AddressSpace,
    linear: number,
    access: Access,
    policy: number,
    walk: Walk,
    cache?: GuestPhysicalCache,
  ): boolean {
    walk.outcome = Outcome.Mapped;
    walk.flags = ALL_GUEST_RIGHTS;
    if (space.mode === PagingMode.None) {
      walk.guestPageShift = 30;
      return this.#finish(space, linear, access, true, walk, cache);
    }
    let table = space.root;
    if (space.mode === PagingMode.PAE) {
      table = fromPdpteRegister(space, linear, walk);
      if (table < 0) return pageFault(walk, access, policy, 0);
    }
    const format = this.formats[space.mode] as PagingFormat;
    const nxReserved = space.executeDisable ? 0 : XD_HIGH;
    for (const level of format.levels) {
      const index = indexOf(linear, level);
      const address = table + index * level.entryBytes;
      const host = this.#tableAccess(space, address, walk, cache);
      if (host < 0) return false;
      const low = walk.read32(this.#physical, host);
      const high = level.entryBytes === 8 ? walk.read32(this.#physical, host + 4) : 0;
      walk.trace?.guestEntry(level, index, address, host, low, high);
      if (!(low & Entry.P)) return pageFault(walk, access, policy, 0);
      const mapsPage = level.isLast || ((low & Entry.PS) !== 0 && mayMapPage(level, space));
      if (hasReserved(level, mapsPage, low, high, nxReserved)) {
        return pageFault(walk, access, policy, PageFaultCode.P | PageFaultCode.RSVD);
      }
      walk.flags &= rightsOf(low, high);
      if (mapsPage) {
        if (!guestPermits(walk.flags, access, policy)) return pageFault(walk, access, policy, PageFaultCode.P);
        const flags = Entry.A | (access === Access.Write ? Entry.D : 0);
        if (!this.#setFlags(space, address, host, low, flags, walk, cache)) return false;
        if (low & Entry.G && space.globalPages) walk.flags |= MappingFlag.Global;
        walk.guestPageShift = level.shift;
        const base = pageBase(level, format, low, high);
        const guestPhysical = base + (linear & (level.bytes - 1));
        const isDirty = access === Access.Write || (low & Entry.D) !== 0;
        return this.#finish(space, guestPhysical, access, isDirty, walk, cache);
      }
      if (!this.#setFlags(space, address, host, low, Entry.A, walk, cache)) return false;
      table = (high & format.addressMaskHigh) * 0x1_0000_0000 + ((low & 0xffff_f000) >>> 0);
    }
    throw new Error('guest page walk ran past the last level');
  }

  /** The last step: from the guest-physical address of the page to the host-physical one. */
  #finish(
    space: AddressSpace,
    guestPhysical: number,
    access: Access,
    isDirty: boolean,
    walk: Walk,
    cache: GuestPhysicalCache | undefined,
  ): boolean {
    walk.guestPhysical = guestPhysical;
    if (!space.ept) {
      walk.physical = guestPhysical;
      walk.pageShift = walk.guestPageShift;
      walk.flags |= ALL_EPT_RIGHTS | (isDirty ? MappingFlag.Dirty : 0);
      return true;
    }
    walk.inPageWalk = false;
    if (!this.ept.translate(space.ept, guestPhysical, eptRightOf[access], walk, cache)) return false;
    walk.physical = walk.eptPhysical;
    walk.pageShift = Math.min(walk.guestPageShift, walk.eptPageShift);
    walk.flags |= (walk.eptRights << EPT_FLAGS_SHIFT) | (isDirty && walk.eptDirty ? MappingFlag.Dirty : 0);
    return true;
  }

  /** Host-physical address of a guest paging-structure entry to be read; negative if reaching it causes a VM exit. */
  #tableAccess(space: AddressSpace, address: number, walk: Walk, cache: GuestPhysicalCache | undefined): number {
    if (!space.ept) return address;
    // With A/D flags for EPT enabled, accesses to guest paging-structure entries are treated as writes.
    const rights = space.ept.accessedDirty ? EptRight.Read | EptRight.Write : EptRight.Read;
    walk.inPageWalk = true;
    return this.ept.translate(space.ept, address, rights, walk, cache) ? walk.eptPhysical : -1;
  }

  /** Sets accessed and dirty flags: a read-modify-write that EPT must allow. */
  #setFlags(
    space: AddressSpace,
    address: number,
    host: number,
    low: number,
    flags: number,
    walk: Walk,
    cache: GuestPhysicalCache | undefined,
  ): boolean {
    if ((low & flags) === flags) return true;
    walk.trace?.guestFlagsWrite(flags & ~low);
    walk.inPageWalk = true;
    const rights = EptRight.Read | EptRight.Write;
    if (space.ept && !this.ept.translate(space.ept, address, rights, walk, cache)) return false;
    if (walk.effects) this.#physical.writeU32(host, (low | flags) >>> 0);
    return true;
  }
}

/** Base of the page directory from the PDPTE register for the address, or -1 if it is not present. */
function fromPdpteRegister(space: AddressSpace, linear: number, walk: Walk): number {
  const index = (linear >>> 30) & 3;
  const value = space.pdptes[index] ?? 0;
  walk.trace?.guestEntry(PDPTE_REGISTER, index, -1, -1, value >>> 0, Math.floor(value / 0x1_0000_0000));
  return value % 2 === 1 ? value - (value % 4096) : -1;
}

/** The PDPTE registers as a level, for traces. */
export const PDPTE_REGISTER: EntryFormat = {
  name: 'PDPTE',
  shift: 30,
  bytes: 2 ** 30,
  entries: 4,
  entryBytes: 8,
  mayMapPage: false,
  isLast: false,
  tableReservedLow: 0,
  tableReservedHigh: 0,
  pageReservedLow: 0,
  pageReservedHigh: 0,
};

/** Index of the entry for a (signed) linear address in a table of the level. */
const indexOf = (linear: number, level: EntryFormat): number => Math.floor(linear / level.bytes) & (level.entries - 1);

const mayMapPage = (level: EntryFormat, space: AddressSpace): boolean =>
  level.mayMapPage && (level.entryBytes === 8 || space.pageSizeExtensions);

function hasReserved(level: EntryFormat, mapsPage: boolean, low: number, high: number, nxReserved: number): boolean {
  if (mapsPage) return ((low & level.pageReservedLow) | (high & (level.pageReservedHigh | nxReserved))) !== 0;
  return ((low & level.tableReservedLow) | (high & (level.tableReservedHigh | nxReserved))) !== 0;
}

/** The rights of one entry as MappingFlag bits. */
function rightsOf(low: number, high: number): number {
  const write = low & Entry.RW ? MappingFlag.Write : 0;
  const user = low & Entry.US ? MappingFlag.User : 0;
  return write | user | (high & XD_HIGH ? 0 : MappingFlag.Execute);
}

/** Address of the page that an entry maps. */
function pageBase(level: EntryFormat, format: PagingFormat, low: number, high: number): number {
  if (level.entryBytes === 4 && level.shift === 22) {
    return ((low & 0xffc0_0000) >>> 0) + ((low >>> 13) & 0xff) * 0x1_0000_0000;
  }
  const alignment = ~(level.bytes - 1);
  return (high & format.addressMaskHigh) * 0x1_0000_0000 + ((low & alignment & 0xffff_f000) >>> 0);
}

function pageFault(walk: Walk, access: Access, policy: number, code: number): false {
  walk.outcome = Outcome.PageFault;
  walk.errorCode =
    code |
    (access === Access.Write ? PageFaultCode.W : 0) |
    (policy & Policy.User ? PageFaultCode.U : 0) |
    (access === Access.Execute && policy & Policy.ReportFetch ? PageFaultCode.I : 0);
  return false;
}
