/** The guest's and EPT's paging structures as a tree that is read level by level, as plain data. No side effects. */

import { difference, type LinearAddress, plus } from '../isa/linear-address.ts';
import { EptRight } from '../mmu/access.ts';
import type { Mmu } from '../mmu/mmu.ts';
import { type EntryFormat, type LevelName, PagingMode, PDPTE_REGISTER } from '../mmu/paging-structures.ts';
import { type AddressSpace, type EptContext, Outcome, Walk } from '../mmu/walk.ts';
import {
  type DecodeContext,
  type DecodedEntry,
  decodeEntry,
  entryMaps,
  isPresent,
  type Structure,
} from './paging-entry.ts';

/** Whose a tree is: the guest's, EPT's, or the host's with nested paging of AMD-V. */
export type Tree = Structure | 'nested';

/** A paging structure, enough to read it: keep it and ask for its children when it is opened. */
export interface PagingTable {
  readonly structure: Tree;
  /** Level of its entries. */
  readonly level: LevelName;
  /** Position of the level in its format; -1 for the PDPTE registers of PAE paging. */
  readonly depth: number;
  /** Address of the structure: guest-physical for the guest's, host-physical for the others'. Meaningless for registers. */
  readonly address: number;
  /** First address that it translates: linear (signed), or guest-physical where it is not the guest's. */
  readonly first: number;
}

/** An entry that is present, or a run of neighbours that are not. Ranges are inclusive. */
export interface PagingNode {
  readonly kind: 'entry' | 'empty' | 'unreadable';
  readonly level: LevelName;
  readonly firstIndex: number;
  readonly lastIndex: number;
  /** Addresses covered: linear, or guest-physical for EPT. */
  readonly first: LinearAddress;
  readonly last: LinearAddress;
  /** Where the (first) entry lies; undefined for registers, host-physical undefined if EPT does not map it. */
  readonly guestPhysical: number | undefined;
  readonly hostPhysical: number | undefined;
  readonly entry: DecodedEntry | undefined;
  /** The table that the entry references. */
  readonly table: PagingTable | undefined;
  /** Why a table cannot be read. */
  readonly reason: string | undefined;
}

/** The address that is canonical in the paging mode; those of pages are exact numbers. */
function canonical(address: number, mode: PagingMode): number {
  const end = mode === PagingMode.Level5 ? 2 ** 56 : 2 ** 47;
  return address >= end ? address - 2 * end : address;
}

/** The roots of the trees that translate now. */
export interface PagingRoots {
  readonly guest: PagingTable | undefined;
  /** EPT's, or those of the host with nested paging. */
  readonly ept: PagingTable | undefined;
  /** Those of the guest that VMRUN has entered last, while its host runs. */
  readonly nestedOfGuest?: PagingTable;
}

/** The roots of the trees of an address space. `guest` is undefined without paging, `ept` without EPT. */
export function pagingRoots(mmu: Mmu, space: AddressSpace = mmu.currentSpace()): PagingRoots {
  const hasRegisters = space.mode === PagingMode.PAE && !space.ept?.nested;
  const level = hasRegisters ? PDPTE_REGISTER : mmu.walker.formatOf(space).levels[0];
  const guest: PagingTable | undefined = level && {
    structure: 'guest',
    level: level.name,
    depth: hasRegisters ? -1 : 0,
    address: space.root,
    first: 0,
  };
  return { guest, ept: space.ept && nestedRoot(mmu, space.ept) };
}

/** The root of the tables that translate guest-physical addresses. */
export function nestedRoot(mmu: Mmu, context: EptContext): PagingTable {
  const { nested, root } = context;
  const format = nested ? mmu.walker.ept.nested?.formatOf(nested) : mmu.walker.ept.formatOf(context);
  const level = format?.levels[0]?.name ?? 'PML4E';
  return { structure: nested ? 'nested' : 'EPT', level, depth: 0, address: root, first: 0 };
}

/** The entries of a structure, runs of empty ones as one node. */
export function pagingChildren(mmu: Mmu, table: PagingTable, space: AddressSpace = mmu.currentSpace()): PagingNode[] {
  const reader = new TableReader(mmu, table, space);
  const host = reader.host;
  if (host === undefined) return [reader.unreadable()];
  const nodes: PagingNode[] = [];
  let emptyFrom = 0;
  for (let index = 0; index <= reader.format.entries; index++) {
    if (index < reader.format.entries && !reader.isPresent(index)) continue;
    if (index > emptyFrom) nodes.push(reader.emptyRun(emptyFrom, index - 1));
    if (index < reader.format.entries) nodes.push(reader.entryNode(index));
    emptyFrom = index + 1;
  }
  return nodes;
}

function levelsOf({ walker }: Mmu, tree: Tree, space: AddressSpace): readonly EntryFormat[] {
  if (tree === 'guest') return walker.formatOf(space).levels;
  const { ept } = space;
  if (tree === 'EPT') return walker.ept.formatOf(ept ?? { levels: 4 }).levels;
  return (ept?.nested && walker.ept.nested?.formatOf(ept.nested).levels) ?? [];
}

/** Reads the entries of one table. */
class TableReader {
  readonly format: EntryFormat;
  /** Host-physical address of the table; -1 for registers; undefined if EPT does not map it. */
  readonly host: number | undefined;
  readonly #mmu: Mmu;
  readonly #table: PagingTable;
  readonly #space: AddressSpace;
  readonly #levels: readonly EntryFormat[];

  constructor(mmu: Mmu, table: PagingTable, space: AddressSpace) {
    this.#mmu = mmu;
    this.#table = table;
    this.#space = space;
    this.#levels = levelsOf(mmu, table.structure, space);
    const level = table.depth < 0 ? PDPTE_REGISTER : this.#levels[table.depth];
    if (!level) throw new Error(`expected a level of ${table.structure} paging, found depth ${table.depth}`);
    this.format = level;
    this.host = this.#hostAddress();
  }

  #hostAddress(): number | undefined {
    if (this.#table.depth < 0) return -1;
    const { ept } = this.#space;
    if (this.#table.structure !== 'guest' || !ept) return this.#table.address;
    const walk = new Walk(false);
    return this.#mmu.walker.ept.walk(ept, this.#table.address, EptRight.Read, walk) && walk.outcome === Outcome.Mapped
      ? walk.eptPhysical
      : undefined;
  }

  #read(index: number): { low: number; high: number } {
    if (this.#table.depth < 0) {
      const value = this.#space.pdptes[index] ?? 0;
      return { low: value >>> 0, high: Math.floor(value / 0x1_0000_0000) };
    }
    const { physical } = this.#mmu;
    const at = (this.host ?? 0) + index * this.format.entryBytes;
    return { low: physical.peekU32(at), high: this.format.entryBytes === 8 ? physical.peekU32(at + 4) : 0 };
  }

  get #decoding(): DecodeContext {
    const { structure } = this.#table;
    const { pageSizeExtensions, ept } = this.#space;
    return {
      structure: structure === 'EPT' ? 'EPT' : 'guest',
      addressMaskHigh: this.#mmu.walker.formats[PagingMode.Level4]?.addressMaskHigh ?? 0,
      pageSizeExtensions: structure === 'nested' ? (ept?.nested?.pageSizeExtensions ?? false) : pageSizeExtensions,
    };
  }

  isPresent(index: number): boolean {
    return isPresent(this.#decoding.structure, this.#read(index).low);
  }

  #firstAddress(index: number): number {
    const address = this.#table.first + index * this.format.bytes;
    return this.#table.structure === 'guest' ? canonical(address, this.#space.mode) : address;
  }

  #place(firstIndex: number, lastIndex: number) {
    const isRegister = this.#table.depth < 0;
    const offset = firstIndex * this.format.entryBytes;
    const isGuest = this.#table.structure === 'guest' && !isRegister;
    return {
      level: this.format.name,
      firstIndex,
      lastIndex,
      // As one of its representations, which for pages far from 0 is not that of calculations.
      first: plus(this.#firstAddress(firstIndex), 0),
      last: plus(this.#firstAddress(lastIndex), this.format.bytes - 1),
      guestPhysical: isGuest ? this.#table.address + offset : undefined,
      hostPhysical: isRegister || this.host === undefined ? undefined : this.host + offset,
    };
  }

  emptyRun(firstIndex: number, lastIndex: number): PagingNode {
    return {
      kind: 'empty',
      ...this.#place(firstIndex, lastIndex),
      entry: undefined,
      table: undefined,
      reason: undefined,
    };
  }

  unreadable(): PagingNode {
    const who = this.#space.ept?.nested ? 'The nested page table' : 'EPT';
    const reason = `${who} does not map the guest-physical address 0x${this.#table.address.toString(16)} of this table`;
    const place = this.#place(0, this.format.entries - 1);
    return { kind: 'unreadable', ...place, entry: undefined, table: undefined, reason };
  }

  entryNode(index: number): PagingNode {
    const { low, high } = this.#read(index);
    const isRegister = this.#table.depth < 0;
    const context = this.#decoding;
    const entry = decodeEntry(context, this.format, low, high);
    const place = this.#place(index, index);
    const isTable = isRegister || entryMaps(context, this.format, low) === 'table';
    const table =
      isTable && entry.target !== undefined ? this.#child(this.#firstAddress(index), entry.target) : undefined;
    return { kind: 'entry', ...place, entry, table, reason: undefined };
  }

  #child(first: number, address: number): PagingTable | undefined {
    const depth = this.#table.depth + 1;
    const level = this.#levels[depth];
    return level && { structure: this.#table.structure, level: level.name, depth, address, first };
  }
}

/** A range that is mapped without a gap, to consecutive physical addresses, with the same rights. Inclusive. */
export interface MappedRange {
  readonly first: LinearAddress;
  readonly last: LinearAddress;
  /** Guest-physical address of `first` (host-physical for EPT). */
  readonly target: number;
  /** The rights of the entries together: 'RWXU'-style letters, '-' for what is denied. */
  readonly rights: string;
}

/**
 * The ranges that a tree maps, in order. Tables that reference each other in circles make this astronomically long,
 * so it reads at most `maximumTables` tables; `complete` says whether that was enough.
 */
export function mappedRanges(
  mmu: Mmu,
  root: PagingTable,
  space: AddressSpace = mmu.currentSpace(),
  maximumTables = 2048,
): { readonly ranges: MappedRange[]; readonly complete: boolean } {
  const ranges: MappedRange[] = [];
  let tables = 0;
  let complete = true;
  const visit = (table: PagingTable, rights: readonly boolean[]): void => {
    if (++tables > maximumTables) {
      complete = false;
      return;
    }
    for (const node of pagingChildren(mmu, table, space)) {
      if (!node.entry) continue;
      const here = hasNoRights(table) ? rights : rights.map((right, i) => right && allows(node.entry, i));
      if (node.table) visit(node.table, here);
      else if (node.entry.target !== undefined) append(ranges, node, node.entry.target, here);
    }
  };
  visit(root, [true, true, true, root.structure !== 'EPT']);
  return { ranges, complete };
}

/** PDPTEs of PAE paging, registers or not. */
const hasNoRights = ({ depth, level }: PagingTable): boolean => depth < 0 || (depth === 0 && level === 'PDPTE');

const LETTERS = 'RWXU';

/** Whether an entry allows the right with the index in LETTERS. */
function allows(entry: DecodedEntry | undefined, right: number): boolean {
  if (!entry) return false;
  const bit = (position: number) => ((entry.value >> BigInt(position)) & 1n) === 1n;
  if (entry.structure === 'EPT') return right < 3 && bit(right);
  return [bit(0), bit(1), !(entry.valueBytes === 8 && bit(63)), bit(2)][right] ?? false;
}

function append(ranges: MappedRange[], node: PagingNode, target: number, rights: readonly boolean[]): void {
  const letters = [...LETTERS].map((letter, i) => (rights[i] ? letter : '-')).join('');
  const previous = ranges.at(-1);
  const continues =
    previous !== undefined &&
    plus(previous.last, 1) === node.first &&
    previous.rights === letters &&
    previous.target + difference(node.first, previous.first) === target;
  if (continues) ranges[ranges.length - 1] = { ...previous, last: node.last };
  else ranges.push({ first: node.first, last: node.last, target, rights: letters });
}
