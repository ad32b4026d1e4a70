/**
 * The walk of the guest's paging structures, each access to them and to the final page through EPT where EPT is in use
 * (SDM volume 3, chapter "Paging"; "Prioritization of EPT Misconfigurations and EPT Violations").
 *
 * The accessed flag of an entry that references a table is set as the walk passes it; those of the entry that maps the
 * page only once the access is allowed.
 */
import { type LinearAddress, numberPart, restOf } from '../isa/linear-address.ts';
import {
  Access,
  ALL_EPT_RIGHTS,
  ALL_GUEST_RIGHTS,
  EPT_FLAGS_SHIFT,
  EptRight,
  guestPermits,
  keyDenies,
  keyFlags,
  MappingFlag,
  PageFaultCode,
  Policy,
} from './access.ts';
import { EptWalker, type GuestPhysicalCache } from './ept-walk.ts';
import { NestedWalker } from './nested-walk.ts';
import type { PagingStructureCaches } from './paging-structure-caches.ts';
import {
  Entry,
  type EntryFormat,
  guestFormats,
  nestedFormats,
  type PagingFormat,
  PagingMode,
  PDPTE_REGISTER,
  tableIndex,
  XD_HIGH,
} from './paging-structures.ts';
import type { EntryMemory } from './physical-memory.ts';
import type { MappingTag } from './tlb.ts';
import { type AddressSpace, type EptContext, EptOption, Outcome, type Walk } from './walk.ts';

const PRESENT_ACCESSED = Entry.P | Entry.A;
/** The low half of an entry without its low 12 bits. */
const PAGE_LOW = 0xffff_f000;

/** What EPT must allow for each kind of access to the page. */
const eptRightOf = [EptRight.Read, EptRight.Write, EptRight.Execute] as const;

/** The paging-structure caches, and the tag of the context that walks. */
export interface StructureCacheOfContext {
  readonly caches: PagingStructureCaches;
  readonly tag: MappingTag;
}

export class GuestWalker {
  readonly ept: EptWalker;
  readonly formats: readonly PagingFormat[];
  readonly #physical: EntryMemory;

  /** RAM that entries may be read from directly. */
  readonly #view: DataView | undefined;
  readonly #ramBytes: number;

  constructor(physical: EntryMemory, physicalAddressBits: number, pages1GB = true) {
    this.#physical = physical;
    this.#view = physical.view;
    this.#ramBytes = physical.view ? (physical.ramBytes ?? 0) : 0;
    this.formats = guestFormats(physicalAddressBits, pages1GB);
    this.ept = new EptWalker(physical, physicalAddressBits);
    this.ept.nested = new NestedWalker(physical, nestedFormats(this.formats, physicalAddressBits));
  }

  /**
   * The levels of an address space. With nested paging, PAE paging has no PDPTE registers: the PDPTEs are read as other
   * entries are (AMD64 APM volume 2, "Legacy PAE Mode").
   */
  formatOf({ mode, ept }: Pick<AddressSpace, 'mode' | 'ept'>): PagingFormat {
    return ept?.nested && this.ept.nested ? this.ept.nested.formatOf({ mode }) : (this.formats[mode] as PagingFormat);
  }

  /**
   * Walks for an access to a linear address; `policy` are Policy bits. The results are in `walk`, whose `outcome` is
   * Mapped exactly if this returns true.
   */
  walk(
    space: AddressSpace,
    address: LinearAddress,
    access: Access,
    policy: number,
    walk: Walk,
    cache?: GuestPhysicalCache,
    structures?: StructureCacheOfContext,
  ): boolean {
    walk.outcome = Outcome.Mapped;
    walk.linear = address;
    walk.rest = restOf(address);
    const linear = numberPart(address);
    walk.flags = ALL_GUEST_RIGHTS;
    if (space.mode === PagingMode.None) {
      walk.guestPageShift = 30;
      return this.#finish(space, linear, access, true, walk, cache);
    }
    let table = space.root;
    if (space.mode === PagingMode.PAE && !space.ept?.nested) {
      table = fromPdpteRegister(space, linear, walk);
      if (table < 0) return pageFault(walk, access, policy, 0);
    }
    if (!structures && this.#walkOrdinary(space, table, linear, access, policy, walk)) return true;
    const format = this.formatOf(space);
    const nxReserved = space.executeDisable ? 0 : XD_HIGH;
    const { levels } = format;
    const known = structures?.caches.find(linear, structures.tag);
    if (known) {
      table = known.table;
      walk.flags &= known.rights;
    }
    for (let depth = known ? known.depth + 1 : 0; depth < levels.length; depth++) {
      const level = levels[depth] as EntryFormat;
      const index = indexOf(linear, level);
      const entry = table + index * level.entryBytes;
      const host = space.ept ? this.#tableAccess(space.ept, entry, walk, cache) : entry;
      if (host < 0) return false;
      const low = walk.read32(this.#physical, host);
      const high = level.entryBytes === 8 ? walk.read32(this.#physical, host + 4) : 0;
      walk.trace?.guestEntry(level, index, entry, host, low, high);
      if (!(low & Entry.P)) return pageFault(walk, access, policy, 0);
      const mapsPage = level.isLast || ((low & Entry.PS) !== 0 && mayMapPage(level, space));
      if (hasReserved(level, mapsPage, low, high, nxReserved)) {
        return pageFault(walk, access, policy, PageFaultCode.P | PageFaultCode.RSVD);
      }
      if (level.hasRights) walk.flags &= rightsOf(low, high);
      if (mapsPage) return this.#mapsPage(space, level, linear, access, policy, walk, cache, host, entry, low, high);
      const isNew = level.hasRights && !(low & Entry.A);
      if (isNew && !this.#setFlags(space, entry, host, low, Entry.A, walk, cache)) return false;
      table = (high & format.addressMaskHigh) * 0x1_0000_0000 + ((low & 0xffff_f000) >>> 0);
      if (structures && walk.effects) remember(structures, level, depth, linear, table, walk.flags);
    }
    throw new Error('guest page walk ran past the last level');
  }

  /**
   * The walk that most are: 8-byte entries in RAM, without EPT, every entry present and accessed, no reserved bit set,
   * the access allowed, nothing to be written. False, with no effect, for all others.
   */
  #walkOrdinary(
    space: AddressSpace,
    root: number,
    linear: number,
    access: Access,
    policy: number,
    walk: Walk,
  ): boolean {
    const { levels, addressMaskHigh } = this.formats[space.mode] as PagingFormat;
    if (space.ept || !walk.effects || space.mode === PagingMode.Bits32) return false;
    const view = this.#view as DataView;
    const end = this.#ramBytes - 8;
    const nxReserved = space.executeDisable ? 0 : XD_HIGH;
    const linearLow = linear | 0;
    const linearHigh = Math.floor(linear / 0x1_0000_0000) | 0;
    if (root > end) return false;
    let table = root >>> 0;
    let allowed = -1;
    let forbidden = 0;
    for (let depth = 0; depth < levels.length; depth++) {
      const level = levels[depth] as EntryFormat;
      const address = table + tableIndex(linearLow, linearHigh, level.shift) * 8;
      if (address > end) return false;
      const low = view.getInt32(address, true);
      const high = view.getInt32(address + 4, true);
      const mapsPage = level.isLast || (level.mayMapPage && (low & Entry.PS) !== 0);
      if ((low & PRESENT_ACCESSED) !== PRESENT_ACCESSED || hasReserved(level, mapsPage, low, high, nxReserved))
        return false;
      allowed &= low;
      forbidden |= high;
      if (mapsPage) {
        const flags = rightsOf(allowed, forbidden) | keyFlags(high);
        if (!guestPermits(flags, access, policy) || (access === Access.Write && !(low & Entry.D))) return false;
        const global = low & Entry.G && space.globalPages ? MappingFlag.Global : 0;
        walk.flags = flags | ALL_EPT_RIGHTS | global | (low & Entry.D ? MappingFlag.Dirty : 0);
        walk.guestPageShift = level.shift;
        walk.pageShift = level.shift;
        const base = (low & PAGE_LOW & ~(level.bytes - 1)) >>> 0;
        walk.physical = (high & addressMaskHigh) * 0x1_0000_0000 + base + (linearLow & (level.bytes - 1)) + walk.rest;
        walk.guestPhysical = walk.physical;
        return true;
      }
      // There is no RAM above 4 GiB.
      if (high & addressMaskHigh) return false;
      table = (low & PAGE_LOW) >>> 0;
    }
    return false;
  }

  /** The entry of the level maps the page: rights, flags, and where the page is. */
  #mapsPage(
    space: AddressSpace,
    level: EntryFormat,
    linear: number,
    access: Access,
    policy: number,
    walk: Walk,
    cache: GuestPhysicalCache | undefined,
    host: number,
    address: number,
    low: number,
    high: number,
  ): boolean {
    walk.flags |= keyFlags(high);
    if (!guestPermits(walk.flags, access, policy)) {
      const byKey = keyDenies(walk.flags, policy) ? PageFaultCode.PK : 0;
      return pageFault(walk, access, policy, PageFaultCode.P | byKey);
    }
    const flags = Entry.A | (access === Access.Write ? Entry.D : 0);
    if ((low & flags) !== flags && !this.#setFlags(space, address, host, low, flags, walk, cache)) return false;
    if (low & Entry.G && space.globalPages) walk.flags |= MappingFlag.Global;
    walk.guestPageShift = level.shift;
    const base = pageBase(level, this.formats[space.mode] as PagingFormat, low, high);
    const guestPhysical = base + (linear & (level.bytes - 1)) + walk.rest;
    return this.#finish(space, guestPhysical, access, (low & Entry.D) !== 0 || access === Access.Write, walk, cache);
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
    const hasUserRight = (space.ept.options & EptOption.ModeBased) !== 0 && (walk.flags & MappingFlag.User) !== 0;
    const right = hasUserRight && access === Access.Execute ? EptRight.ExecuteUser : eptRightOf[access];
    if (!this.ept.translate(space.ept, guestPhysical, right, walk, cache)) return false;
    walk.physical = walk.eptPhysical;
    walk.pageShift = Math.min(walk.guestPageShift, walk.eptPageShift);
    const rights = hasUserRight ? userRights(walk.eptRights) : walk.eptRights & EptRight.All;
    walk.flags |= (rights << EPT_FLAGS_SHIFT) | (isDirty && walk.eptDirty ? MappingFlag.Dirty : 0);
    return true;
  }

  /** Host-physical address of a guest paging-structure entry to be read; negative if reaching it causes a VM exit. */
  #tableAccess(ept: EptContext, address: number, walk: Walk, cache: GuestPhysicalCache | undefined): number {
    // With A/D flags for EPT enabled, accesses to guest paging-structure entries are treated as writes.
    const rights = ept.accessedDirty ? EptRight.Read | EptRight.Write : EptRight.Read;
    walk.inPageWalk = true;
    return this.ept.translateAccess(ept, address, rights, walk, cache) ? walk.eptPhysical : -1;
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
    walk.trace?.guestFlagsWrite(flags & ~low);
    walk.inPageWalk = true;
    const rights = EptRight.Read | EptRight.Write;
    if (space.ept && !this.ept.translateAccess(space.ept, address, rights, walk, cache)) return false;
    walk.writeFlags(this.#physical, host, low | flags);
    return true;
  }
}

function remember(
  { caches, tag }: StructureCacheOfContext,
  { name, shift, bytes }: EntryFormat,
  depth: number,
  linear: number,
  table: number,
  rights: number,
): void {
  const first = Math.floor(linear / bytes) * bytes;
  caches.insert({ ...tag, level: name, depth, first, shift, table, rights });
}

/** The rights for a page of user-mode addresses: those that bit 10 gives them count as the right to execute. */
const userRights = (rights: number): number =>
  (rights & (EptRight.Read | EptRight.Write)) | (rights & EptRight.ExecuteUser ? EptRight.Execute : 0);

/** Base of the page directory from the PDPTE register for the address, or -1 if it is not present. */
function fromPdpteRegister(space: AddressSpace, linear: number, walk: Walk): number {
  const index = (linear >>> 30) & 3;
  const value = space.pdptes[index] ?? 0;
  walk.trace?.guestEntry(PDPTE_REGISTER, index, -1, -1, value >>> 0, Math.floor(value / 0x1_0000_0000));
  return value % 2 === 1 ? value - (value % 4096) : -1;
}

/** Index of the entry for a (signed) linear address in a table of the level. */
const indexOf = (linear: number, level: EntryFormat): number =>
  Math.floor(linear * level.inverse) & (level.entries - 1);

const mayMapPage = (level: EntryFormat, space: AddressSpace): boolean =>
  level.mayMapPage && (level.entryBytes === 8 || space.pageSizeExtensions);

export function hasReserved(
  level: EntryFormat,
  mapsPage: boolean,
  low: number,
  high: number,
  nxReserved: number,
): boolean {
  if (mapsPage) return ((low & level.pageReservedLow) | (high & (level.pageReservedHigh | nxReserved))) !== 0;
  return ((low & level.tableReservedLow) | (high & (level.tableReservedHigh | nxReserved))) !== 0;
}

/** The rights of one entry as MappingFlag bits. */
export function rightsOf(low: number, high: number): number {
  const write = low & Entry.RW ? MappingFlag.Write : 0;
  const user = low & Entry.US ? MappingFlag.User : 0;
  return write | user | (high & XD_HIGH ? 0 : MappingFlag.Execute);
}

/** Address of the page that an entry maps. */
export function pageBase(level: EntryFormat, format: PagingFormat, low: number, high: number): number {
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
