/** Paging-structure entries decoded into the manual's words, for views. */
import { Entry, type EntryFormat, EptEntry, type LevelName } from '../mmu/paging-structures.ts';

/** Whose paging structure an entry belongs to. */
export type Structure = 'guest' | 'EPT';

/** A named bit or field of an entry. */
export interface EntryFlag {
  readonly name: string;
  readonly value: number;
  readonly doc: string;
}

/** What an entry leads to. */
export type EntryMaps = 'table' | 'page' | 'nothing';

export interface DecodedEntry {
  readonly structure: Structure;
  readonly level: LevelName;
  /** The entry, 32 or 64 bits. */
  readonly value: bigint;
  readonly valueBytes: 4 | 8;
  readonly maps: EntryMaps;
  /** Physical address of the table or page (guest-physical from a guest's entry); undefined if nothing. */
  readonly target: number | undefined;
  /** Bytes that the entry covers. */
  readonly coversBytes: number;
  readonly flags: readonly EntryFlag[];
}

interface FlagSpec {
  readonly name: string;
  readonly first: number;
  readonly last?: number;
  readonly on: 'any' | 'table' | 'page';
  readonly doc: string;
  /** Only in 8-byte entries. */
  readonly wide?: boolean;
}

const guestFlags: readonly FlagSpec[] = [
  { name: 'P', first: 0, on: 'any', doc: 'present' },
  { name: 'R/W', first: 1, on: 'any', doc: 'writes are allowed' },
  { name: 'U/S', first: 2, on: 'any', doc: 'user-mode accesses are allowed' },
  { name: 'PWT', first: 3, on: 'any', doc: 'page-level write-through' },
  { name: 'PCD', first: 4, on: 'any', doc: 'page-level cache disable' },
  { name: 'A', first: 5, on: 'any', doc: 'accessed' },
  { name: 'D', first: 6, on: 'page', doc: 'dirty' },
  { name: 'PS', first: 7, on: 'any', doc: 'page size: maps a page instead of referencing a table' },
  { name: 'G', first: 8, on: 'page', doc: 'global, if CR4.PGE = 1' },
  { name: 'XD', first: 63, on: 'any', doc: 'execute disable, if IA32_EFER.NXE = 1', wide: true },
];

const eptFlags: readonly FlagSpec[] = [
  { name: 'R', first: 0, on: 'any', doc: 'reads are allowed' },
  { name: 'W', first: 1, on: 'any', doc: 'writes are allowed' },
  { name: 'X', first: 2, on: 'any', doc: 'instruction fetches are allowed' },
  { name: 'MT', first: 3, last: 5, on: 'page', doc: 'EPT memory type: 0 UC, 1 WC, 4 WT, 5 WP, 6 WB' },
  { name: 'IPAT', first: 6, on: 'page', doc: 'ignore PAT memory type' },
  { name: 'PS', first: 7, on: 'any', doc: 'page size: maps a page instead of referencing a table' },
  { name: 'A', first: 8, on: 'any', doc: 'accessed, if enabled in the EPTP' },
  { name: 'D', first: 9, on: 'page', doc: 'dirty, if enabled in the EPTP' },
  { name: 'XU', first: 10, on: 'any', doc: 'user-mode fetches are allowed, with mode-based execute control' },
  { name: 'SPP', first: 61, on: 'page', doc: 'sub-page write permissions, if in use' },
  { name: 'SVE', first: 63, on: 'page', doc: 'suppress #VE' },
];

/** Bits last:first of an entry, as a number. */
const field = (value: bigint, first: number, last = first): number =>
  Number((value >> BigInt(first)) & ((1n << BigInt(last - first + 1)) - 1n));

/** Whether the entry is there at all: bit 0 of a guest's, any right of EPT's. */
export const isPresent = (structure: Structure, low: number): boolean =>
  (low & (structure === 'guest' ? Entry.P : EptEntry.RightsMask)) !== 0;

/** What decoding depends on besides the entry. */
export interface DecodeContext {
  readonly structure: Structure;
  /** Address bits of the high half (PagingFormat.addressMaskHigh). */
  readonly addressMaskHigh: number;
  /** CR4.PSE, for 32-bit paging. */
  readonly pageSizeExtensions: boolean;
}

export function entryMaps(context: DecodeContext, format: EntryFormat, low: number): EntryMaps {
  if (!isPresent(context.structure, low)) return 'nothing';
  if (format.isLast) return 'page';
  const sized = format.mayMapPage && (format.entryBytes === 8 || context.pageSizeExtensions);
  return sized && low & Entry.PS ? 'page' : 'table';
}

function targetOf(context: DecodeContext, format: EntryFormat, maps: EntryMaps, low: number, high: number) {
  if (maps === 'nothing') return undefined;
  const alignment = maps === 'page' ? ~(format.bytes - 1) : ~0xfff;
  const bottom = (low & alignment & ~0xfff) >>> 0;
  const psePage = maps === 'page' && format.entryBytes === 4 && format.shift === 22;
  const top = psePage ? (low >>> 13) & 0xff : high & context.addressMaskHigh;
  return top * 0x1_0000_0000 + bottom;
}

export function decodeEntry(context: DecodeContext, format: EntryFormat, low: number, high: number): DecodedEntry {
  const value = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
  const maps = entryMaps(context, format, low);
  const specs = context.structure === 'guest' ? guestFlags : eptFlags;
  const flags = specs
    .filter((spec) => (spec.on === 'any' || spec.on === maps) && !(spec.wide && format.entryBytes === 4))
    .map((spec) => ({ name: spec.name, value: field(value, spec.first, spec.last), doc: spec.doc }));
  return {
    structure: context.structure,
    level: format.name,
    value,
    valueBytes: format.entryBytes,
    maps,
    target: targetOf(context, format, maps, low, high),
    coversBytes: format.bytes,
    flags: maps === 'nothing' ? flags.filter((flag) => 'P R W X'.split(' ').includes(flag.name)) : flags,
  };
}

/** Value of a flag of an entry by its name; 0 if the entry has none of that name. */
export const flagOf = (entry: DecodedEntry, name: string): number =>
  entry.flags.find((flag) => flag.name === name)?.value ?? 0;
