/**
 * Formats of the paging structures, as tables: which bits of the address index which level, which bits are reserved,
 * and what the bits are called (SDM volume 3, chapters "Paging" and "VMX Support for Address Translation").
 */
import { PAGE_BYTES } from '../cpu/memory-map.ts';
import { CR0, CR4, EFER } from '../cpu/register-bits.ts';

/** As compiled code's side of the walks names them. */

export const PagingMode = { None: 0, Bits32: 1, PAE: 2, Level4: 3, Level5: 4 } as const;
export type PagingMode = (typeof PagingMode)[keyof typeof PagingMode];
export const pagingModeNames = [
  'no paging',
  '32-bit paging',
  'PAE paging',
  '4-level paging',
  '5-level paging',
] as const;

/** MAXPHYADDR where nothing else is configured. */
export const DEFAULT_PHYSICAL_ADDRESS_BITS = 39;

/** Bits of the low half of a guest paging-structure entry. */
export const Entry = { P: 1, RW: 2, US: 4, A: 0x20, D: 0x40, PS: 0x80, G: 0x100 } as const;
/** Bit 63, in the high half. */
export const XD_HIGH = 0x8000_0000 | 0;
/** Bits of the low half of an EPT entry. */
export const EptEntry = { RightsMask: 7, MemoryTypeShift: 3, PS: 0x80, A: 0x100, D: 0x200 } as const;

export type LevelName = 'PML5E' | 'PML4E' | 'PDPTE' | 'PDE' | 'PTE';

/** Index in a table of 512 entries for an address, given in signed 32-bit halves. */
export const tableIndex = (low: number, high: number, shift: number): number =>
  (shift >= 32 ? high >>> (shift - 32) : (low >>> shift) | (high << (32 - shift))) & 511;

/** Format of the entries of one level. The masks are of bits that must be 0, in signed 32-bit halves. */
export interface EntryFormat {
  readonly name: LevelName;
  /** Lowest address bit that indexes this level: an entry covers 2^shift bytes. */
  readonly shift: number;
  /** 2^shift. */
  readonly bytes: number;
  /** 2^-shift: an exact factor, where a division would be slow. */
  readonly inverse: number;
  readonly entries: number;
  readonly entryBytes: 4 | 8;
  /** Whether bit 7 makes the entry map a page. */
  readonly mayMapPage: boolean;
  /** Whether the entry always maps a page. */
  readonly isLast: boolean;
  /** Whether the entry has rights and an accessed flag: the PDPTEs of PAE paging have none. */
  readonly hasRights: boolean;
  readonly tableReservedLow: number;
  readonly tableReservedHigh: number;
  readonly pageReservedLow: number;
  readonly pageReservedHigh: number;
}

export interface PagingFormat {
  readonly levels: readonly EntryFormat[];
  /** Bits of the high half of an entry that belong to the address. */
  readonly addressMaskHigh: number;
}

/** Bits last:first, both inclusive, of a 32-bit half; an empty range gives 0. */
function bits(last: number, first: number): number {
  let mask = 0;
  for (let bit = first; bit <= last; bit++) mask |= 1 << bit;
  return mask;
}

/** Address bits 51:MAXPHYADDR, in the high half. */
export const beyondPhysical = (physicalAddressBits: number): number => bits(51 - 32, physicalAddressBits - 32);

/** Page-address bits of a large page that must be 0, down to and including bit `first`. */
const unalignedPage = (shift: number, first: number): number => bits(shift - 1, first);

type FormatSpec = Pick<EntryFormat, 'name' | 'shift' | 'entryBytes' | 'mayMapPage' | 'isLast'> & {
  readonly tableReserved: readonly [low: number, high: number];
  readonly pageReserved: readonly [low: number, high: number];
};

/** All formats are made here, so that they have one shape: walks read them more than anything else. */
function entryFormat(spec: FormatSpec): EntryFormat {
  const { name, shift, entryBytes, mayMapPage, isLast, tableReserved, pageReserved } = spec;
  return {
    name,
    shift,
    bytes: 2 ** shift,
    inverse: 2 ** -shift,
    entries: PAGE_BYTES / entryBytes,
    entryBytes,
    mayMapPage,
    isLast,
    hasRights: true,
    tableReservedLow: tableReserved[0],
    tableReservedHigh: tableReserved[1],
    pageReservedLow: pageReserved[0],
    pageReservedHigh: pageReserved[1],
  };
}

const LEVELS = [
  { name: 'PML4E', shift: 39 },
  { name: 'PDPTE', shift: 30 },
  { name: 'PDE', shift: 21 },
  { name: 'PTE', shift: 12 },
] as const;
const LEVEL_5 = { name: 'PML5E', shift: 48 } as const;
const FIVE_LEVELS = [LEVEL_5, ...LEVELS] as const;
type Level = (typeof FIVE_LEVELS)[number];

/** Levels of 8-byte entries; the reserved bits of the low half are those of the level. */
function wideLevels(
  levels: readonly Level[],
  reservedHigh: number,
  reservedLow: (level: Level) => { readonly table: number; readonly page: number },
): EntryFormat[] {
  return levels.map((level) => {
    const { table, page } = reservedLow(level);
    return entryFormat({
      ...level,
      entryBytes: 8,
      mayMapPage: level.shift === 30 || level.shift === 21,
      isLast: level.shift === 12,
      tableReserved: [table, reservedHigh],
      pageReserved: [page, reservedHigh],
    });
  });
}

const addressMaskHigh = (physicalAddressBits: number): number => 0xf_ffff & ~beyondPhysical(physicalAddressBits);

/** Bit 7 is reserved in a PML5E and a PML4E; the entries of 4-KByte pages have no reserved low bits. */
const guestReservedLow = ({ shift }: Level) => ({
  table: shift >= 39 ? Entry.PS : 0,
  page: shift === 30 || shift === 21 ? unalignedPage(shift, 13) : 0,
});

/** 4-level paging, or 5-level paging, of the levels given. */
function wide(names: readonly Level[], physicalAddressBits: number, pages1GB: boolean): PagingFormat {
  const levels = wideLevels(names, beyondPhysical(physicalAddressBits), guestReservedLow).map((level) =>
    pages1GB || level.shift !== 30 ? level : { ...level, mayMapPage: false, tableReservedLow: Entry.PS },
  );
  return { levels, addressMaskHigh: addressMaskHigh(physicalAddressBits) };
}

/** PAE paging below the PDPTE registers; bits 62:52 are reserved there, unlike in 4-level paging. */
function pae(physicalAddressBits: number): PagingFormat {
  const levels = wideLevels(LEVELS.slice(2), bits(62 - 32, physicalAddressBits - 32), guestReservedLow);
  return { levels, addressMaskHigh: addressMaskHigh(physicalAddressBits) };
}

/** 32-bit paging with PSE-36: bits (M-20):13 of a 4-MByte PDE are address bits (M-1):32, M = min(40, MAXPHYADDR). */
function bits32(physicalAddressBits: number): PagingFormat {
  const unreserved = [0, 0] as const;
  const base = { entryBytes: 4, tableReserved: unreserved, pageReserved: unreserved } as const;
  const reserved = bits(21, Math.min(40, physicalAddressBits) - 19);
  return {
    levels: [
      entryFormat({ ...base, name: 'PDE', shift: 22, mayMapPage: true, isLast: false, pageReserved: [reserved, 0] }),
      entryFormat({ ...base, name: 'PTE', shift: 12, mayMapPage: false, isLast: true }),
    ],
    addressMaskHigh: 0,
  };
}

/** The PDPTE registers of PAE paging as a level, for traces. */
export const PDPTE_REGISTER: EntryFormat = {
  ...entryFormat({
    name: 'PDPTE',
    shift: 30,
    entryBytes: 8,
    mayMapPage: false,
    isLast: false,
    tableReserved: [0, 0],
    pageReserved: [0, 0],
  }),
  entries: 4,
  hasRights: false,
};

/** Formats by PagingMode. `physicalAddressBits` is MAXPHYADDR, 36 to 48. */
export function guestFormats(physicalAddressBits: number, pages1GB = true): readonly PagingFormat[] {
  const none = { levels: [], addressMaskHigh: 0 };
  return [
    none,
    bits32(physicalAddressBits),
    pae(physicalAddressBits),
    wide(LEVELS, physicalAddressBits, pages1GB),
    wide(FIVE_LEVELS, physicalAddressBits, pages1GB),
  ];
}

/** The formats of nested paging, of host and guest: with PAE paging, the four PDPTEs are read from memory. */
export function nestedFormats(formats: readonly PagingFormat[], physicalAddressBits: number): readonly PagingFormat[] {
  const reserved = [PDPTE_RESERVED_LOW, pdpteReservedHigh(physicalAddressBits)] as const;
  const pdpte = entryFormat({
    name: 'PDPTE',
    shift: 30,
    entryBytes: 8,
    mayMapPage: false,
    isLast: false,
    tableReserved: reserved,
    pageReserved: reserved,
  });
  return formats.map((format, mode) =>
    mode === PagingMode.PAE
      ? { ...format, levels: [{ ...pdpte, entries: 4, hasRights: false }, ...format.levels] }
      : format,
  );
}

/** EPT with a page-walk length of 4 or 5 (SDM volume 3, "EPT Translation Mechanism"). */
export function eptFormat(physicalAddressBits: number, walkLength: 4 | 5): PagingFormat {
  const names = walkLength === 5 ? FIVE_LEVELS : LEVELS;
  const levels = wideLevels(names, beyondPhysical(physicalAddressBits), ({ shift }) => ({
    table: shift >= 39 ? bits(7, 3) : bits(6, 3),
    page: unalignedPage(shift, 12),
  }));
  return { levels, addressMaskHigh: addressMaskHigh(physicalAddressBits) };
}

/** PDPTE register of PAE paging: bits 2:1, 8:5 and those beyond MAXPHYADDR must be 0 if bit 0 is set. */
const PDPTE_RESERVED_LOW = bits(2, 1) | bits(8, 5);
const pdpteReservedHigh = (physicalAddressBits: number): number => bits(63 - 32, physicalAddressBits - 32);
export const isReservedPdpte = (low: number, high: number, physicalAddressBits: number): boolean =>
  (low & Entry.P) !== 0 && ((low & PDPTE_RESERVED_LOW) !== 0 || (high & pdpteReservedHigh(physicalAddressBits)) !== 0);

/** Memory types of EPT entries that are not a misconfiguration: UC, WC, WT, WP, WB. */
export const isEptMemoryType = (type: number): boolean => type === 0 || type === 1 || (type >= 4 && type <= 6);

/** The paging mode that control registers select (SDM volume 3, "Paging Modes and Control Bits"). */
export function pagingMode(cr0: number, cr4: number, efer: number): PagingMode {
  if (!(cr0 & CR0.PG)) return PagingMode.None;
  if (!(cr4 & CR4.PAE)) return PagingMode.Bits32;
  if (!(efer & EFER.LME)) return PagingMode.PAE;
  return cr4 & CR4.LA57 ? PagingMode.Level5 : PagingMode.Level4;
}
