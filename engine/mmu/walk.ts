/** The result of a walk of paging structures, and the way to watch one. */

import type { LinearAddress } from '../isa/linear-address.ts';
import { type EntryFormat, PagingMode } from './paging-structures.ts';
import type { EntryMemory } from './physical-memory.ts';

/** How a walk ended. */
export const Outcome = {
  Mapped: 0,
  PageFault: 1,
  EptViolation: 2,
  EptMisconfiguration: 3,
  NonCanonical: 4,
  LogFull: 5,
  SubPageMiss: 6,
  SubPageMisconfiguration: 7,
  NestedPageFault: 8,
  ApicAccess: 9,
} as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

/** Extended page tables in use: the parts of the EPTP (SDM volume 3, "Extended-Page-Table Pointer"). */
export interface EptContext {
  /** The EPTP itself. */
  readonly eptp: number;
  /** Host-physical address of the EPT PML4 or PML5 table: what the TLB tags mappings with (EPTRTA). */
  readonly root: number;
  /** Memory type of accesses to the EPT paging structures. */
  readonly memoryType: number;
  /** Whether accessed and dirty flags for EPT are enabled. */
  readonly accessedDirty: boolean;
  /** Levels of EPT paging structures: the page-walk length. */
  readonly levels: 4 | 5;
  /** EptOption bits: what the VM-execution controls add. */
  readonly options: number;
  /** The host's page tables are in the place of EPT: `eptp` and `root` are of N_CR3 then. */
  readonly nested?: NestedPaging;
}

/** Nested paging of AMD-V: the host's registers that the walk of its page tables depends on, and whose it is. */
export interface NestedPaging {
  readonly mode: PagingMode;
  /** CR4.PSE of the host. */
  readonly pageSizeExtensions: boolean;
  /** EFER.NXE of the host. */
  readonly executeDisable: boolean;
  readonly asid: number;
}

/** "Enable PML", "mode-based execute control for EPT", "sub-page write permissions for EPT", "virtualize APIC accesses". */
export const EptOption = { Log: 1 << 0, ModeBased: 1 << 1, SubPages: 1 << 2, ApicAccesses: 1 << 3 } as const;

/** Page-walk length of an EPTP, from its low bits: bits 5:3 are one less. */
export const eptWalkLength = (low: number): number => ((low >> 3) & 7) + 1;

/** The context of nested paging with an N_CR3, which is an unsigned number. */
export function nestedContext(nCr3: number, nested: NestedPaging): EptContext {
  const alignment = nested.mode === PagingMode.PAE ? 32 : 4096;
  // Guest page tables are accessed as if for writing, which is what EPT does where its entries have dirty flags.
  return {
    eptp: nCr3,
    root: nCr3 - (nCr3 % alignment),
    memoryType: 6,
    accessedDirty: true,
    levels: 4,
    options: 0,
    nested,
  };
}

/** Decodes an EPTP, an unsigned number below 2^52. */
export function eptContext(eptp: number, options = 0): EptContext {
  const low = eptp % 4096;
  const levels = eptWalkLength(low) === 5 ? 5 : 4;
  return { eptp, root: eptp - low, memoryType: low & 7, accessedDirty: (low & 0x40) !== 0, levels, options };
}

/** Everything besides memory and the access itself that a guest walk depends on. */
export interface AddressSpace {
  readonly mode: PagingMode;
  /** Guest-physical address of the first paging structure (CR3 without its low bits). */
  readonly root: number;
  /** PDPTE registers of PAE paging; unsigned numbers. */
  readonly pdptes: ArrayLike<number>;
  /** CR4.PSE: 4-MByte pages of 32-bit paging. */
  readonly pageSizeExtensions: boolean;
  /** CR4.PGE: global pages. */
  readonly globalPages: boolean;
  /** IA32_EFER.NXE: the XD bit is not reserved. */
  readonly executeDisable: boolean;
  readonly ept: EptContext | undefined;
}

/** Told of every paging-structure entry that a walk reads, in order; nested steps come before what needed them. */
export interface WalkTrace {
  /** An EPT entry; `address` is host-physical. */
  eptEntry(format: EntryFormat, index: number, address: number, low: number, high: number): void;
  /** A guest entry. Addresses are guest-physical and host-physical; -1 for the registers of PAE paging. */
  guestEntry(
    format: EntryFormat,
    index: number,
    guestAddress: number,
    hostAddress: number,
    low: number,
    high: number,
  ): void;
  /** The write that sets flags (Entry.A, Entry.D) of the guest entry read last; its nested steps follow. */
  guestFlagsWrite(flags: number): void;
}

/** Registers that walks leave their results in: one object, reused, so that translating allocates nothing. */
export class Walk {
  /** Whether accessed and dirty flags are set and mappings cached; false for peeks. */
  readonly effects: boolean;
  readonly trace: WalkTrace | undefined;

  outcome: Outcome = Outcome.Mapped;
  /** Host-physical address, if mapped. */
  physical = 0;
  /** Guest-physical address of the access that was translated last, and so of an EPT violation. */
  guestPhysical = 0;
  /** log2 of the size of the smaller of the guest page and the EPT page. */
  pageShift = 12;
  /** log2 of the size of the guest page. */
  guestPageShift = 12;
  /** MappingFlag bits. */
  flags = 0;
  /** Page-fault error code. */
  errorCode = 0;
  /** Whether the EPT translation made last was for a guest paging-structure entry, not for the page. */
  inPageWalk = false;
  /** Exit qualification of an EPT violation, bits 6:0. */
  eptQualification = 0;
  /** Whether the EPT entry that it is about has bit 63 (suppress #VE) set. */
  eptSuppressesVe = false;

  /** Result of the last EPT translation: host-physical address, page size, rights, and whether D is (or acts) set. */
  eptPhysical = 0;
  eptPageShift = 12;
  eptRights = 0;
  eptDirty = false;

  /** The linear address that is translated, and what of it is not in its number part. */
  linear: LinearAddress = 0;
  rest = 0;
  /** While accessed and dirty flags are being stored. */
  isSettingFlags = false;

  constructor(effects: boolean, trace?: WalkTrace) {
    this.effects = effects;
    this.trace = trace;
  }

  /** Sets accessed and dirty flags: stores the low half of an entry, unless this is a peek. */
  writeFlags(physical: EntryMemory, address: number, low: number): void {
    if (!this.effects) return;
    this.isSettingFlags = true;
    physical.writeU32(address, low >>> 0);
    this.isSettingFlags = false;
  }

  /** Reads half an entry: as the processor does, or without side effects for peeks. */
  read32(physical: EntryMemory, address: number): number {
    return this.effects ? physical.readU32(address) : physical.peekU32(address);
  }
}

/** Sets flags of an entry, of which `low` is the low half, unless it has them or the walk is a peek. */
export function setEntryFlags(physical: EntryMemory, walk: Walk, address: number, low: number, flags: number): void {
  if (walk.effects && (low & flags) !== flags) physical.writeU32(address, (low | flags) >>> 0);
}
