/**
 * The paging-structure caches (SDM volume 3, "Caches for Paging Structures"): entries that reference a table, with the rights
 * that they and those above them give. A walk begins behind the lowest one that is cached for its address, whatever memory
 * holds by then. They are part of a processor only where its configuration asks for them.
 *
 * First in, first out in each level, so that what is cached is a function of the accesses made.
 */
import type { LevelName } from './paging-structures.ts';
import { type InvalidationScope, type MappingTag, NO_EPT } from './tlb.ts';

/** A cached entry as plain data. */
export interface StructureEntry {
  readonly level: LevelName;
  /** How many entries above it were read. */
  readonly depth: number;
  /** First linear address that the entry has a part in, and log2 of how many bytes follow. */
  readonly first: number;
  readonly shift: number;
  /** Guest-physical address of the table that it references. */
  readonly table: number;
  /** MappingFlag bits of it and of all above it. */
  readonly rights: number;
  readonly vpid: number;
  readonly pcid: number;
  /** EPTRTA, or NO_EPT. */
  readonly eptRoot: number;
  /** As in the tags of mappings: lets a view walk again. */
  readonly root: number;
  readonly mode: number;
}

/** Entries of each level. */
const CAPACITY: Readonly<Record<LevelName, number>> = { PML5E: 4, PML4E: 4, PDPTE: 8, PDE: 32, PTE: 0 };

export class PagingStructureCaches {
  /** Oldest first. */
  #entries: StructureEntry[] = [];

  /** The lowest entry that is cached for a linear address. */
  find(linear: number, tag: MappingTag): StructureEntry | undefined {
    let found: StructureEntry | undefined;
    for (const entry of this.#entries) {
      if (isOf(entry, tag) && covers(entry, linear) && (!found || entry.depth > found.depth)) found = entry;
    }
    return found;
  }

  insert(entry: StructureEntry): void {
    const others = this.#entries.filter((other) => other.level === entry.level);
    const same = others.find((other) => isOf(other, entry) && other.first === entry.first);
    const leaves = same ?? (others.length >= CAPACITY[entry.level] ? others[0] : undefined);
    if (leaves) this.#entries = this.#entries.filter((other) => other !== leaves);
    this.#entries.push(entry);
  }

  /** Drops all entries in the scope; none is global. */
  dropAll(scope: InvalidationScope): void {
    this.#drop((entry) => isInScope(entry, scope));
  }
  /** Drops those in the scope that translate a linear address. */
  dropFor(linear: number, scope: InvalidationScope): void {
    this.#drop((entry) => covers(entry, linear) && isInScope(entry, scope));
  }
  /** Drops those that EPT had a part in, of one EPTRTA or of all. */
  dropCombined(eptRoot: number | undefined): void {
    this.#drop((entry) => entry.eptRoot !== NO_EPT && (eptRoot === undefined || entry.eptRoot === eptRoot));
  }
  #drop(leaves: (entry: StructureEntry) => boolean): void {
    if (this.#entries.length > 0) this.#entries = this.#entries.filter((entry) => !leaves(entry));
  }

  /** The entries, oldest first; also a copy for `restore`. */
  entries(): readonly StructureEntry[] {
    return [...this.#entries];
  }
  restore(entries: readonly StructureEntry[]): void {
    this.#entries = [...entries];
  }
}

const covers = ({ first, shift }: StructureEntry, linear: number): boolean =>
  linear >= first && linear < first + 2 ** shift;

const isOf = (entry: StructureEntry, tag: Pick<MappingTag, 'vpid' | 'pcid' | 'eptRoot'>): boolean =>
  entry.vpid === tag.vpid && entry.pcid === tag.pcid && entry.eptRoot === tag.eptRoot;

function isInScope({ vpid, pcid }: StructureEntry, scope: InvalidationScope): boolean {
  if (scope.vpid !== undefined && vpid !== scope.vpid) return false;
  if (scope.keepVpid0 && vpid === 0) return false;
  return scope.pcid === undefined || pcid === scope.pcid;
}
