/**
 * The walk of the host's page tables for a guest-physical address: nested paging of AMD-V, in the place of EPT (AMD64 APM
 * volume 2, "Nested Paging"). The tables are in the host's paging mode; all accesses are user-mode accesses, and those to
 * guest page tables are writes.
 */
import { EptRight, MappingFlag, PageFaultCode } from './access.ts';
import { hasReserved, pageBase, rightsOf } from './guest-walk.ts';
import { Entry, type EntryFormat, type PagingFormat, PagingMode, XD_HIGH } from './paging-structures.ts';
import type { EntryMemory } from './physical-memory.ts';
import { type EptContext, type NestedPaging, Outcome, setEntryFlags, type Walk } from './walk.ts';

/** Guest-physical addresses that the tables of a mode can map. */
const addressEnd: Readonly<Record<number, number>> = {
  [PagingMode.Bits32]: 2 ** 32,
  [PagingMode.PAE]: 2 ** 32,
  [PagingMode.Level4]: 2 ** 48,
  [PagingMode.Level5]: 2 ** 57,
};

export class NestedWalker {
  readonly #physical: EntryMemory;
  readonly #formats: readonly PagingFormat[];

  /** `formats` by PagingMode. */
  constructor(physical: EntryMemory, formats: readonly PagingFormat[]) {
    this.#physical = physical;
    this.#formats = formats;
  }

  /** The levels of tables in a mode, be they the host’s that N_CR3 points to or the guest’s. */
  formatOf({ mode }: Pick<NestedPaging, 'mode'>): PagingFormat {
    return this.#formats[mode] as PagingFormat;
  }

  /** As `EptWalker.walk`. */
  walk(context: EptContext, nested: NestedPaging, guestPhysical: number, rights: number, walk: Walk): boolean {
    walk.guestPhysical = guestPhysical;
    if (guestPhysical >= (addressEnd[nested.mode] as number)) return fault(nested, rights, walk, 0);
    const { levels, addressMaskHigh } = this.formatOf(nested);
    const nxReserved = nested.executeDisable ? 0 : XD_HIGH;
    let table = context.root;
    let allowed: number = MappingFlag.Write | MappingFlag.User | MappingFlag.Execute;
    for (const level of levels) {
      const index = Math.floor(guestPhysical / level.bytes) % level.entries;
      const address = table + index * level.entryBytes;
      const low = walk.read32(this.#physical, address);
      const high = level.entryBytes === 8 ? walk.read32(this.#physical, address + 4) : 0;
      walk.trace?.eptEntry(level, index, address, low, high);
      if (!(low & Entry.P)) return fault(nested, rights, walk, 0);
      const mayMap = level.mayMapPage && (level.entryBytes === 8 || nested.pageSizeExtensions);
      const mapsPage = level.isLast || (mayMap && (low & Entry.PS) !== 0);
      if (hasReserved(level, mapsPage, low, high, nxReserved)) {
        return fault(nested, rights, walk, PageFaultCode.P | PageFaultCode.RSVD);
      }
      if (level.hasRights) allowed &= rightsOf(low, high);
      if (mapsPage) return this.#mapped(nested, level, guestPhysical, rights, walk, address, low, high, allowed);
      if (level.hasRights) setEntryFlags(this.#physical, walk, address, low, Entry.A);
      table = (high & addressMaskHigh) * 0x1_0000_0000 + ((low & 0xffff_f000) >>> 0);
    }
    throw new Error('nested walk ran past the last level');
  }

  #mapped(
    nested: NestedPaging,
    level: EntryFormat,
    guestPhysical: number,
    rights: number,
    walk: Walk,
    address: number,
    low: number,
    high: number,
    allowed: number,
  ): boolean {
    const permitted = permittedRights(allowed);
    if ((rights & ~permitted) !== 0) return fault(nested, rights, walk, PageFaultCode.P);
    const isWrite = (rights & EptRight.Write) !== 0;
    setEntryFlags(this.#physical, walk, address, low, Entry.A | (isWrite ? Entry.D : 0));
    const base = pageBase(level, this.formatOf(nested), low, high);
    walk.eptPhysical = base + (guestPhysical % level.bytes);
    walk.eptPageShift = level.shift;
    walk.eptRights = permitted;
    walk.eptDirty = isWrite || (low & Entry.D) !== 0;
    return true;
  }
}

/** What the entries together allow a user-mode access. */
function permittedRights(flags: number): number {
  if (!(flags & MappingFlag.User)) return 0;
  const write = flags & MappingFlag.Write ? EptRight.Write : 0;
  return EptRight.Read | write | (flags & MappingFlag.Execute ? EptRight.Execute : 0);
}

function fault({ executeDisable }: NestedPaging, rights: number, walk: Walk, code: number): false {
  walk.outcome = Outcome.NestedPageFault;
  walk.errorCode =
    code |
    PageFaultCode.U |
    (rights & EptRight.Write ? PageFaultCode.W : 0) |
    (rights & EptRight.Execute && executeDisable ? PageFaultCode.I : 0);
  return false;
}
