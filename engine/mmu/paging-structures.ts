/**
 * Formats of the paging structures, as tables: which bits of the address index which level, which bits are reserved,
 * and what the bits are called (SDM volume 3, chapters "Paging" and "VMX Support for Address Translation").
 */
export const PagingMode = { None: 0, Bits32: 1, PAE: 2, Level4: 3 } as const;
export type PagingMode = (typeof PagingMode)[keyof typeof PagingMode];
export const pagingModeNames = ['no paging', '32-bit paging', 'PAE paging', '4-level paging'] as const;

/** MAXPHYADDR where nothing else is configured. */
export const DEFAULT_PHYSICAL_ADDRESS_BITS = 39;

export const Cr0 = { PE: 1, WP: 1 << 16, NW: 1 << 29, CD: 1 << 30, PG: 2 ** 31 } as const;
export const Cr4 = {
  PSE: 1 << 4, PAE: 1 << 5, PGE: 1 << 7, PCIDE: 1 << 17, SMEP: 1 << 20, SMAP: 1 << 21,
} as const; // biome-ignore format: one table
export const Efer = { LME: 1 << 8, LMA: 1 << 10, NXE: 1 << 11 } as const;

/** Bits of the low half of a guest paging-structure entry. */
export const Entry = { P: 1, RW: 2, US: 4, A: 0x20, D: 0x40, PS: 0x80, G: 0x100 } as const;
/** Bit 63, in the high half. */
export const XD_HIGH = 0x8000_0000 | 0;
/** Bits of the low half of an EPT entry. */
export const EptEntry = { RightsMask: 7, MemoryTypeShift: 3, PS: 0x80, A: 0x100, D: 0x200 } as const;

export type LevelName = 'PML4E' | 'PDPTE' | 'PDE' | 'PTE';

/** Format of the entries of one level. The masks are of bits that must be 0, in signed 32-bit halves. */
export interface EntryFormat {
  readonly name: LevelName;
  /** Lowest address bit that indexes this level: an entry covers 2^shift bytes. */
  readonly shift: number;
  /** 2^shift. */
  readonly bytes: number;
  readonly entries: number;
  readonly entryBytes: 4 | 8;
  /** Whether bit 7 makes the entry map a page. */
  readonly mayMapPage: boolean;
  /** Whether the entry always maps a page. */
  readonly isLast: boolean;
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
const beyondPhysical = (physicalAddressBits: number): number => bits(51 - 32, physicalAddressBits - 32);

/** Page-address bits of a large page that must be 0, down to and including bit `first`. */
const unalignedPage = (shift: number, first: number): number => bits(shift - 1, first);

function level4(physicalAddressBits: number): PagingFormat {
  const high = beyondPhysical(physicalAddressBits);
  const level = (name: LevelName, shift: number, more: Partial<EntryFormat>): EntryFormat => ({
    name,
    shift,
    bytes: 2 ** shift,
    entries: 512,
    entryBytes: 8,
    mayMapPage: shift === 30 || shift === 21,
    isLast: shift === 12,
    tableReservedLow: 0,
    tableReservedHigh: high,
    pageReservedLow: unalignedPage(shift, 13),
    pageReservedHigh: high,
    ...more,
  });
  return {
    levels: [
      level('PML4E', 39, { tableReservedLow: Entry.PS, pageReservedLow: 0 }),
      level('PDPTE', 30, {}),
      level('PDE', 21, {}),
      level('PTE', 12, { pageReservedLow: 0 }),
    ],
    addressMaskHigh: 0xf_ffff & ~high,
  };
}

/** PAE paging below the PDPTE registers; bits 62:52 are reserved there, unlike in 4-level paging. */
function pae(physicalAddressBits: number): PagingFormat {
  const base = level4(physicalAddressBits);
  const high = bits(62 - 32, physicalAddressBits - 32);
  const levels = base.levels.slice(2).map((level) => ({ ...level, tableReservedHigh: high, pageReservedHigh: high }));
  return { levels, addressMaskHigh: base.addressMaskHigh };
}

/** 32-bit paging with PSE-36: bits (M-20):13 of a 4-MByte PDE are address bits (M-1):32, M = min(40, MAXPHYADDR). */
function bits32(physicalAddressBits: number): PagingFormat {
  const base = {
    entries: 1024,
    entryBytes: 4,
    tableReservedLow: 0,
    tableReservedHigh: 0,
    pageReservedHigh: 0,
  } as const;
  const reserved = bits(21, Math.min(40, physicalAddressBits) - 19);
  return {
    levels: [
      { name: 'PDE', shift: 22, bytes: 2 ** 22, mayMapPage: true, isLast: false, pageReservedLow: reserved, ...base },
      { name: 'PTE', shift: 12, bytes: 4096, mayMapPage: false, isLast: true, pageReservedLow: 0, ...base },
    ],
    addressMaskHigh: 0,
  };
}

/** Formats by PagingMode. `physicalAddressBits` is MAXPHYADDR, 36 to 48. */
export function guestFormats(physicalAddressBits: number): readonly PagingFormat[] {
  const none = { levels: [], addressMaskHigh: 0 };
  return [none, bits32(physicalAddressBits), pae(physicalAddressBits), level4(physicalAddressBits)];
}

/** EPT with a page-walk length of 4 (SDM volume 3, "EPT Translation Mechanism"). */
export function eptFormat(physicalAddressBits: number): PagingFormat {
  const base = level4(physicalAddressBits);
  const levels = base.levels.map((level) => ({
    ...level,
    tableReservedLow: level.shift === 39 ? bits(7, 3) : bits(6, 3),
    pageReservedLow: unalignedPage(level.shift, 12),
  }));
  return { levels, addressMaskHigh: base.addressMaskHigh };
}

/** PDPTE register of PAE paging: bits 2:1, 8:5 and those beyond MAXPHYADDR must be 0 if bit 0 is set. */
export const PDPTE_RESERVED_LOW = bits(2, 1) | bits(8, 5);
export const pdpteReservedHigh = (physicalAddressBits: number): number => bits(63 - 32, physicalAddressBits - 32);

/** Memory types of EPT entries that are not a misconfiguration: UC, WC, WT, WP, WB. */
export const isEptMemoryType = (type: number): boolean => type === 0 || type === 1 || (type >= 4 && type <= 6);

/** The paging mode that control registers select (SDM volume 3, "Paging Modes and Control Bits"). */
export function pagingMode(cr0: number, cr4: number, efer: number): PagingMode {
  if (!(cr0 & Cr0.PG)) return PagingMode.None;
  if (!(cr4 & Cr4.PAE)) return PagingMode.Bits32;
  return efer & Efer.LME ? PagingMode.Level4 : PagingMode.PAE;
}
