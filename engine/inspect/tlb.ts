/** The architectural TLB as plain data, with a mark on every entry that a fresh walk would contradict. */
import { hex } from '../cpu/hexadecimal.ts';
import { Access, ALL_EPT_RIGHTS, ALL_GUEST_RIGHTS, EPT_FLAGS_SHIFT, EptRight, MappingFlag } from '../mmu/access.ts';
import { rightsOf as entryRights } from '../mmu/guest-walk.ts';
import type { Mmu } from '../mmu/mmu.ts';
import type { StructureEntry } from '../mmu/paging-structure-caches.ts';
import { Entry, PagingMode } from '../mmu/paging-structures.ts';
import { type Mapping, NESTED_PAGING, NO_EPT } from '../mmu/tlb.ts';
import { eptRootTag } from '../mmu/translation.ts';
import { type AddressSpace, type EptContext, eptContext, Outcome, Walk, type WalkTrace } from '../mmu/walk.ts';

/** `paging-structure`: an entry of the paging-structure caches, which maps nothing but references a table. */
export type MappingKind = 'linear' | 'guest-physical' | 'combined' | 'paging-structure';

export interface TlbRights {
  readonly read: boolean;
  readonly write: boolean;
  readonly execute: boolean;
  /** User-mode accesses; undefined for guest-physical mappings. */
  readonly user: boolean | undefined;
}

export interface TlbEntryView {
  readonly kind: MappingKind;
  readonly slot: number;
  /** First address of the page: linear (signed), or guest-physical for a guest-physical mapping. */
  readonly page: number;
  /** Host-physical address of the page; of a table, guest-physical. */
  readonly physical: number;
  /** Of a cached paging-structure entry: `PDE` and so on. */
  readonly level: string | undefined;
  readonly pageBytes: number;
  /** Size of the guest's page, of which the mapping may be a part. */
  readonly guestPageBytes: number;
  /** undefined where the kind of mapping has no such tag. */
  readonly vpid: number | undefined;
  readonly pcid: number | undefined;
  readonly eptrta: number | undefined;
  readonly global: boolean;
  readonly dirty: boolean;
  readonly rights: TlbRights;
  /** Whether the current context can use it. */
  readonly usable: boolean;
  /** Why a walk made now would not give this mapping, or undefined if it would. */
  readonly stale: { readonly reason: string } | undefined;
  /** Why that is not known: the tables that the mapping came from cannot be found again. */
  readonly unknown: string | undefined;
}

/** All entries: linear and combined mappings first, then guest-physical ones, then paging-structure entries. */
export function tlbEntries(mmu: Mmu): TlbEntryView[] {
  return [
    ...mmu.tlb.linear.entries().map((mapping) => linearEntryView(mmu, mapping)),
    ...mmu.tlb.guestPhysical.entries().map((mapping) => guestPhysicalEntryView(mmu, mapping)),
    ...(mmu.tlb.structures?.entries() ?? []).map((entry, slot) => structureEntryView(mmu, entry, slot)),
  ];
}

/** A linear or combined mapping as plain data. */
export function linearEntryView(mmu: Mmu, mapping: Mapping): TlbEntryView {
  const global = (mapping.flags & MappingFlag.Global) !== 0;
  const usable = mmu.pagingMode !== PagingMode.None && mmu.isCurrentTag(mapping, global);
  const hasEpt = mapping.eptRoot !== NO_EPT;
  const space = spaceOfMapping(mmu, mapping, usable);
  return {
    ...common(mapping),
    kind: hasEpt ? 'combined' : 'linear',
    vpid: mapping.vpid,
    pcid: mapping.pcid,
    eptrta: hasEpt ? mapping.eptRoot : undefined,
    rights: rightsOf(mapping.flags, true),
    usable,
    stale: space ? staleness(mmu, mapping, space) : undefined,
    unknown: space
      ? undefined
      : mapping.eptRoot === NESTED_PAGING
        ? OTHER_TABLES
        : 'the PDPTE registers of its address space are not loaded',
  };
}

function guestPhysicalEntryView(mmu: Mmu, mapping: Mapping): TlbEntryView {
  const { ept } = mmu.context;
  const own = mapping.eptRoot === NESTED_PAGING ? eptOfMapping(mmu, mapping) : eptContext(mapping.root);
  const space = own === 'unknown' ? undefined : mmu.spaceOf(PagingMode.None, 0, own);
  return {
    ...common(mapping),
    kind: 'guest-physical',
    vpid: undefined,
    pcid: undefined,
    eptrta: mapping.eptRoot,
    rights: rightsOf(mapping.flags, false),
    usable: ept !== undefined && eptRootTag(ept) === mapping.eptRoot,
    stale: space ? staleness(mmu, mapping, space) : undefined,
    unknown: space ? undefined : OTHER_TABLES,
  };
}

/** A cached paging-structure entry as plain data. */
function structureEntryView(mmu: Mmu, entry: StructureEntry, slot: number): TlbEntryView {
  const usable = mmu.pagingMode !== PagingMode.None && mmu.isCurrentTag(entry, false);
  const hasEpt = entry.eptRoot !== NO_EPT;
  const space = spaceOfMapping(mmu, entry, usable);
  return {
    kind: 'paging-structure',
    slot,
    page: entry.first,
    physical: entry.table,
    level: entry.level,
    pageBytes: 2 ** entry.shift,
    guestPageBytes: 2 ** entry.shift,
    vpid: entry.vpid,
    pcid: entry.pcid,
    eptrta: hasEpt ? entry.eptRoot : undefined,
    global: false,
    dirty: false,
    rights: rightsOf(entry.rights | ALL_EPT_RIGHTS, true),
    usable,
    stale: space ? structureStaleness(mmu, entry, space) : undefined,
    unknown: space ? undefined : 'the PDPTE registers of its address space are not loaded',
  };
}

/** What the tables as they are now contradict in a cached paging-structure entry. */
function structureStaleness(mmu: Mmu, cached: StructureEntry, space: AddressSpace): { reason: string } | undefined {
  const { addressMaskHigh } = mmu.walker.formats[space.mode] ?? { addressMaskHigh: 0 };
  let rights: number = ALL_GUEST_RIGHTS;
  let found: { readonly low: number; readonly high: number } | undefined;
  const trace: WalkTrace = {
    eptEntry: () => {},
    guestFlagsWrite: () => {},
    guestEntry: ({ name }, _index, _guest, host, low, high) => {
      if (found || host < 0) return;
      rights &= entryRights(low, high);
      if (name === cached.level) found = { low, high };
    },
  };
  mmu.walker.walk(space, cached.first, Access.Read, 0, new Walk(false, trace));
  if (!found || !(found.low & Entry.P)) return { reason: `the ${cached.level} is not present any more` };
  if (found.low & Entry.PS) return { reason: `the ${cached.level} now maps a page` };
  const table = (found.high & addressMaskHigh) * 2 ** 32 + ((found.low & ~0xfff) >>> 0);
  if (table !== cached.table) return { reason: `the ${cached.level} now references the table at ${hex(table)}` };
  return rightsDifference(rightsOf(cached.rights | ALL_EPT_RIGHTS, true), rightsOf(rights | ALL_EPT_RIGHTS, true));
}

function common(mapping: Mapping) {
  return {
    level: undefined,
    slot: mapping.slot,
    page: mapping.page,
    physical: mapping.physical,
    pageBytes: 2 ** mapping.pageShift,
    guestPageBytes: 2 ** mapping.guestPageShift,
    global: (mapping.flags & MappingFlag.Global) !== 0,
    dirty: (mapping.flags & MappingFlag.Dirty) !== 0,
  };
}

function rightsOf(flags: number, isLinear: boolean): TlbRights {
  const ept = flags >> EPT_FLAGS_SHIFT;
  return {
    read: (ept & EptRight.Read) !== 0,
    write: (ept & EptRight.Write) !== 0 && (flags & MappingFlag.Write) !== 0,
    execute: (ept & EptRight.Execute) !== 0 && (flags & MappingFlag.Execute) !== 0,
    user: isLinear ? (flags & MappingFlag.User) !== 0 : undefined,
  };
}

/** The address space to hold a mapping against: the current one if its tags are current, else the one it came from. */
function spaceOfMapping(
  mmu: Mmu,
  mapping: Pick<Mapping, 'eptRoot' | 'root' | 'mode'>,
  isCurrent: boolean,
): AddressSpace | undefined {
  if (isCurrent) return mmu.currentSpace();
  if (mapping.mode === PagingMode.PAE) return undefined;
  const ept = eptOfMapping(mmu, mapping);
  return ept === 'unknown' ? undefined : mmu.spaceOf(mapping.mode as PagingMode, mapping.root, ept);
}

const OTHER_TABLES = 'the nested page tables that it came from are not in use now';

/** The EPT or nested page tables that a mapping came from; its ASID does not say which tables those of a guest were. */
function eptOfMapping(mmu: Mmu, { eptRoot }: Pick<Mapping, 'eptRoot'>): EptContext | undefined | 'unknown' {
  const current = mmu.context.ept;
  if (eptRoot === NO_EPT) return undefined;
  if (eptRoot === NESTED_PAGING) return current?.nested ? current : 'unknown';
  const other = eptContext(eptRoot);
  return current?.root === other.root ? current : other;
}

/** What a fresh walk contradicts in a mapping, first things first. */
function staleness(mmu: Mmu, mapping: Mapping, space: AddressSpace): { reason: string } | undefined {
  const walk = freshWalk(mmu, mapping.page, space);
  if (walk.outcome === Outcome.PageFault) {
    return { reason: walk.errorCode & 8 ? 'a reserved bit is set in its tables' : 'the page is not present any more' };
  }
  if (walk.outcome === Outcome.EptViolation) return { reason: 'EPT does not map the page any more' };
  if (walk.outcome === Outcome.EptMisconfiguration) return { reason: 'an EPT entry is misconfigured' };
  if (walk.physical !== mapping.physical) {
    return { reason: `the tables now map the page to physical address ${hex(walk.physical)}` };
  }
  const isLinear = space.mode !== PagingMode.None;
  return rightsDifference(rightsOf(mapping.flags, isLinear), rightsOf(walk.flags, isLinear));
}

/** Walks as nobody in particular: a read that no rights but EPT's refuse; a fetch where EPT allows nothing else. */
function freshWalk(mmu: Mmu, page: number, space: AddressSpace): Walk {
  const walk = new Walk(false);
  mmu.walker.walk(space, page, Access.Read, 0, walk);
  const mayExecute = walk.outcome === Outcome.EptViolation && walk.eptQualification >> 3 === EptRight.Execute;
  if (mayExecute && !walk.inPageWalk) mmu.walker.walk(space, page, Access.Execute, 0, walk);
  return walk;
}

function rightsDifference(cached: TlbRights, fresh: TlbRights): { reason: string } | undefined {
  const words = { read: 'reads', write: 'writes', execute: 'instruction fetches', user: 'user-mode accesses' } as const;
  for (const right of ['write', 'user', 'execute', 'read'] as const) {
    if (cached[right] === fresh[right]) continue;
    return { reason: `the tables now ${fresh[right] ? 'allow' : 'deny'} ${words[right]}` };
  }
  return undefined;
}
