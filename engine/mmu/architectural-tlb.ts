/** What one vCPU caches of its paging structures (SDM volume 3, "Caching Translation Information"). */
import { PagingStructureCaches, type StructureEntry } from './paging-structure-caches.ts';
import { type InvalidationScope, MappingStore, type MappingTag, type SavedMappings } from './tlb.ts';
import { LINEAR_SETS, LINEAR_WAYS } from './tlb-layout.ts';

export interface SavedTlb {
  readonly linear: SavedMappings;
  readonly guestPhysical: SavedMappings;
  readonly structures?: readonly StructureEntry[];
}

/** The TLB of one vCPU: 1536 linear and combined mappings, 12 ways, and 512 guest-physical mappings, 8 ways. */
export class ArchitecturalTlb {
  /** Linear mappings (no EPT) and combined mappings. */
  readonly linear: MappingStore;
  /** Guest-physical mappings, tagged by EPTRTA alone. */
  readonly guestPhysical = new MappingStore(64, 8);

  /** Where the processor has such caches. */
  readonly structures: PagingStructureCaches | undefined;

  /** With `memory`, the linear mappings lie there. */
  constructor(memory?: { readonly buffer: ArrayBuffer; readonly address: number }, cachesStructures = false) {
    this.linear = new MappingStore(LINEAR_SETS, LINEAR_WAYS, memory);
    this.structures = cachesStructures ? new PagingStructureCaches() : undefined;
  }

  /** Drops linear and combined mappings, and cached paging-structure entries: all that are in the scope. */
  dropAll(scope: InvalidationScope): void {
    this.linear.dropAll(scope);
    this.structures?.dropAll(scope);
  }
  /** The same, of those that translate an address. */
  dropPage(address: number, scope: InvalidationScope): void {
    this.linear.dropPage(address, scope);
    this.structures?.dropFor(address, scope);
  }
  /** What a page fault drops: all that translates the address under the tag. */
  dropAddress(address: number, tag: MappingTag): void {
    this.linear.dropAddress(address, tag);
    this.structures?.dropFor(address, { vpid: tag.vpid, pcid: tag.pcid });
  }
  /** Drops what EPT had a part in: of one EPTRTA, or all. */
  dropCombined(eptRoot: number | undefined): void {
    this.linear.dropCombined(eptRoot);
    this.guestPhysical.dropCombined(eptRoot);
    this.structures?.dropCombined(eptRoot);
  }

  save(): SavedTlb {
    const { linear, guestPhysical, structures } = this;
    return {
      linear: linear.save(),
      guestPhysical: guestPhysical.save(),
      ...(structures ? { structures: structures.entries() } : {}),
    };
  }
  restore(saved: SavedTlb): void {
    this.linear.restore(saved.linear);
    this.guestPhysical.restore(saved.guestPhysical);
    this.structures?.restore(saved.structures ?? []);
  }
}
