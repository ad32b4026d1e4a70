/** The walk of the extended page tables (SDM volume 3, "EPT Translation Mechanism" and "EPT-Induced VM Exits"). */
import { ALL_GUEST_RIGHTS, EptRight, EptViolationBit, eptFlags, eptRightsOf, MappingFlag } from './access.ts';
import type { NestedWalker } from './nested-walk.ts';
import {
  beyondPhysical,
  type EntryFormat,
  EptEntry,
  eptFormat,
  isEptMemoryType,
  type PagingFormat,
  tableIndex,
} from './paging-structures.ts';
import type { EntryMemory } from './physical-memory.ts';
import { SUB_PAGE_HIGH, subPageOutcome } from './sub-page-permissions.ts';
import type { MappingStore, MappingTag } from './tlb.ts';
import { type EptContext, EptOption, Outcome, setEntryFlags, type Walk } from './walk.ts';

/** The low half of an entry without its low 12 bits. */
const PAGE_LOW = 0xffff_f000;

/** Where guest-physical mappings are cached, and under which tag. */
export interface GuestPhysicalCache {
  readonly store: MappingStore;
  readonly tag: MappingTag;
}

export class EptWalker {
  readonly #formats: Readonly<Record<4 | 5, PagingFormat>>;
  /** Enters a guest-physical address whose dirty flag is going to be set; false if the log has no room. */
  pageModificationLog: (guestPhysical: number) => boolean = () => true;
  /** The sub-page-permission-table pointer in use. */
  subPageTable: () => number = () => 0;
  /** Walks in the place of EPT. */
  nested: NestedWalker | undefined;
  /** Whether a host-physical address lies in the APIC-access page. */
  isApicAccessPage: (physical: number) => boolean = () => false;
  readonly #physical: EntryMemory;
  /** RAM that entries may be read from directly. */
  readonly #view: DataView | undefined;
  readonly #ramBytes: number;
  readonly #reservedHigh: number;

  constructor(physical: EntryMemory, physicalAddressBits: number) {
    this.#physical = physical;
    this.#view = physical.view;
    this.#ramBytes = physical.view ? (physical.ramBytes ?? 0) : 0;
    this.#reservedHigh = beyondPhysical(physicalAddressBits);
    this.#formats = { 4: eptFormat(physicalAddressBits, 4), 5: eptFormat(physicalAddressBits, 5) };
  }

  /** The format of the structures of an EPT. */
  formatOf({ levels }: Pick<EptContext, 'levels'>): PagingFormat {
    return this.#formats[levels];
  }

  /**
   * Translates a guest-physical address, from cached guest-physical mappings if they allow the access, into the
   * `ept…` registers of the walk. A mapping that does not is dropped, and what the walk finds cached. `rights` are the EptRight bits that the access needs. False if it causes a VM exit.
   */
  translate(ept: EptContext, guestPhysical: number, rights: number, walk: Walk, cache?: GuestPhysicalCache): boolean {
    if (!cache) return this.walk(ept, guestPhysical, rights, walk);
    const { store, tag } = cache;
    const found = store.find(guestPhysical, tag);
    if (found >= 0 && fromCache(store, found, guestPhysical, rights, walk)) return true;
    if (found >= 0 && walk.effects) store.dropAddress(guestPhysical, tag);
    if (!this.walk(ept, guestPhysical, rights, walk)) return false;
    if (!walk.effects) return true;
    const flags = eptFlags(walk.eptRights) | ALL_GUEST_RIGHTS | (walk.eptDirty ? MappingFlag.Dirty : 0);
    const shift = walk.eptPageShift;
    store.insert(guestPhysical, walk.eptPhysical, shift, shift, flags, tag);
    return true;
  }

  /** The same for an access that is made with the guest-physical address itself, which has to stay off the APIC-access page. */
  translateAccess(
    ept: EptContext,
    guestPhysical: number,
    rights: number,
    walk: Walk,
    cache?: GuestPhysicalCache,
  ): boolean {
    if (!this.translate(ept, guestPhysical, rights, walk, cache)) return false;
    if ((ept.options & EptOption.ApicAccesses) === 0 || !this.isApicAccessPage(walk.eptPhysical)) return true;
    walk.outcome = Outcome.ApicAccess;
    return false;
  }

  /** Translates through the tables in memory. */
  walk(ept: EptContext, guestPhysical: number, rights: number, walk: Walk): boolean {
    if (ept.nested && this.nested) return this.nested.walk(ept, ept.nested, guestPhysical, rights, walk);
    walk.guestPhysical = guestPhysical;
    if (walk.effects && this.#walkOrdinary(ept, guestPhysical, rights, walk)) return true;
    let table = ept.root;
    let allowed: number = ept.options & EptOption.ModeBased ? EptRight.All | EptRight.ExecuteUser : EptRight.All;
    const rightsMask = allowed;
    const { levels, addressMaskHigh } = this.#formats[ept.levels];
    for (const level of levels) {
      const index = Math.floor(guestPhysical / level.bytes) % 512;
      const address = table + index * 8;
      const low = walk.read32(this.#physical, address);
      const high = walk.read32(this.#physical, address + 4);
      walk.trace?.eptEntry(level, index, address, low, high);
      const before = allowed;
      allowed &= low;
      if ((low & rightsMask) === 0) return violation(walk, rights, 0, high);
      if (isMisconfigured(level, low, high)) return misconfiguration(walk);
      const base = (high & addressMaskHigh) * 0x1_0000_0000 + ((low & 0xffff_f000) >>> 0);
      if (level.isLast || (level.mayMapPage && low & EptEntry.PS)) {
        const isDenied = (rights & ~allowed) !== 0;
        const asks = isDenied && isEligible(ept, level, rights, before, low, high, walk);
        if (asks && !this.#mayWriteSubPage(guestPhysical, walk)) {
          return walk.outcome === Outcome.EptViolation ? violation(walk, rights, allowed, high) : false;
        }
        if (isDenied && !asks) return violation(walk, rights, allowed, high);
        if (!this.#mayBeDirtied(ept, guestPhysical, rights, walk, low)) return false;
        this.#mapped(ept, level, guestPhysical, rights, walk, address, low, base);
        walk.eptRights = allowed;
        return true;
      }
      if (ept.accessedDirty) setEntryFlags(this.#physical, walk, address, low, EptEntry.A);
      table = base;
    }
    throw new Error('EPT walk ran past the last level');
  }

  /**
   * The walk that most are: entries in RAM, none misconfigured, the access allowed, no flag to be set. False, with no
   * effect, for all others.
   */
  #walkOrdinary(ept: EptContext, guestPhysical: number, rights: number, walk: Walk): boolean {
    const { levels, addressMaskHigh } = this.#formats[ept.levels];
    const end = this.#ramBytes - 8;
    if (ept.options & EptOption.ModeBased || ept.root > end) return false;
    const view = this.#view as DataView;
    const [addressLow, addressHigh] = [guestPhysical | 0, Math.floor(guestPhysical / 0x1_0000_0000) | 0];
    const isDirtied = ept.accessedDirty && (rights & EptRight.Write) !== 0;
    let table = ept.root;
    let allowed: number = EptRight.All;
    for (let depth = 0; depth < levels.length; depth++) {
      const level = levels[depth] as EntryFormat;
      const { shift } = level;
      const at = table + tableIndex(addressLow, addressHigh, shift) * 8;
      if (at > end) return false;
      const low = view.getInt32(at, true);
      const high = view.getInt32(at + 4, true);
      allowed &= low;
      if ((rights & ~allowed) !== 0 || isMisconfigured(level, low, high)) return false;
      if (ept.accessedDirty && (low & EptEntry.A) === 0) return false;
      if (level.isLast || (level.mayMapPage && low & EptEntry.PS)) {
        if (isDirtied && (low & EptEntry.D) === 0) return false;
        const base = (high & addressMaskHigh) * 0x1_0000_0000 + ((low & PAGE_LOW & ~(level.bytes - 1)) >>> 0);
        walk.eptPhysical = base + ((addressLow & (level.bytes - 1)) >>> 0);
        walk.eptPageShift = shift;
        walk.eptDirty = !ept.accessedDirty || (low & EptEntry.D) !== 0;
        walk.eptRights = allowed;
        return true;
      }
      // There is no RAM above 4 GiB.
      if (high & addressMaskHigh) return false;
      table = (low & PAGE_LOW) >>> 0;
    }
    return false;
  }

  /** Asks the sub-page-permission table; the outcome of the walk says why not. */
  #mayWriteSubPage(guestPhysical: number, walk: Walk): boolean {
    const outcome = subPageOutcome(this.#physical, walk, this.subPageTable(), guestPhysical, this.#reservedHigh);
    if (outcome === Outcome.Mapped) return true;
    walk.outcome = outcome;
    return false;
  }

  /** A dirty flag is not set unless that could be logged. */
  #mayBeDirtied(ept: EptContext, guestPhysical: number, rights: number, walk: Walk, low: number): boolean {
    const isLogged = (ept.options & EptOption.Log) !== 0 && ept.accessedDirty && walk.effects;
    if (!isLogged || (rights & EptRight.Write) === 0 || (low & EptEntry.D) !== 0) return true;
    if (this.pageModificationLog(guestPhysical)) return true;
    walk.outcome = Outcome.LogFull;
    return false;
  }

  #mapped(
    ept: EptContext,
    level: EntryFormat,
    guestPhysical: number,
    rights: number,
    walk: Walk,
    address: number,
    low: number,
    base: number,
  ): void {
    const isWrite = (rights & EptRight.Write) !== 0;
    if (ept.accessedDirty) setEntryFlags(this.#physical, walk, address, low, EptEntry.A | (isWrite ? EptEntry.D : 0));
    walk.eptPhysical = base + (guestPhysical % level.bytes);
    walk.eptPageShift = level.shift;
    walk.eptDirty = !ept.accessedDirty || isWrite || (low & EptEntry.D) !== 0;
  }
}

function fromCache(store: MappingStore, found: number, guestPhysical: number, rights: number, walk: Walk): boolean {
  const flags = store.flagsAt(found);
  const allowed = eptRightsOf(flags);
  if ((rights & ~allowed) !== 0) return false;
  const dirty = (flags & MappingFlag.Dirty) !== 0;
  if (rights & EptRight.Write && !dirty) return false;
  walk.guestPhysical = guestPhysical;
  walk.eptPhysical = store.physicalOf(found, guestPhysical);
  walk.eptPageShift = store.shiftAt(found);
  walk.eptRights = allowed;
  walk.eptDirty = dirty;
  return true;
}

/** SDM volume 3, "EPT Misconfigurations"; execute-only translations are supported. */
function isMisconfigured(level: EntryFormat, low: number, high: number): boolean {
  if ((low & (EptRight.Read | EptRight.Write)) === EptRight.Write) return true;
  const mapsPage = level.isLast || (level.mayMapPage && (low & EptEntry.PS) !== 0);
  if (!mapsPage) return (low & level.tableReservedLow) !== 0 || (high & level.tableReservedHigh) !== 0;
  if ((low & level.pageReservedLow) !== 0 || (high & level.pageReservedHigh) !== 0) return true;
  return !isEptMemoryType((low >> EptEntry.MemoryTypeShift) & 7);
}

/** A write to a page of 4 KBytes that only its last entry denies, and for whose sub-pages that entry asks. */
function isEligible(
  ept: EptContext,
  level: EntryFormat,
  rights: number,
  before: number,
  low: number,
  high: number,
  walk: Walk,
): boolean {
  if ((ept.options & EptOption.SubPages) === 0 || !level.isLast || walk.inPageWalk) return false;
  if (rights !== EptRight.Write || (high & SUB_PAGE_HIGH) === 0) return false;
  return (before & EptRight.Write) !== 0 && (low & EptRight.Read) !== 0;
}

function violation(walk: Walk, rights: number, allowed: number, high: number): false {
  const requested = rights & EptRight.ExecuteUser ? EptRight.Execute : rights;
  const byUser = allowed & EptRight.ExecuteUser ? EptViolationBit.AllowedExecuteUser : 0;
  walk.outcome = Outcome.EptViolation;
  walk.eptQualification = requested | ((allowed & EptRight.All) << EptViolationBit.AllowedShift) | byUser;
  walk.eptSuppressesVe = high >>> 31 === 1;
  return false;
}

function misconfiguration(walk: Walk): false {
  walk.outcome = Outcome.EptMisconfiguration;
  return false;
}
