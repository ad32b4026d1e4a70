/**
 * Where things lie in the one WebAssembly.Memory that an engine owns. Addresses and lengths in bytes.
 *
 * The handlers of the interpreter address the CPU state by constants, so the state of the vCPU that runs is always
 * at the same place; the states of the other vCPUs are copies outside, exchanged when the run loop changes vCPU.
 */
export const STATE_ADDRESS = 0x1000;
export const STATE_BYTES = 0x1000;

/** u32, common to all vCPUs: WATCHED bits, for what must take the slow way, where somebody is told of it. */
export const WATCHED_ADDRESS = 0x2000;
export const WATCHED = {
  ringChanges: 1,
  /** An instruction breakpoint of DR7 is enabled: what ends an instruction in an unusual way has to be looked at. */
  debugRegisters: 2,
  /** System instructions, those that change the ring among them. */
  instructions: 4,
  /** Exceptions, and CR2. */
  exceptions: 8,
  /** Instructions that access control registers or fields of the VMCS. */
  registers: 16,
} as const;
export const ALL_WATCHED = Object.values(WATCHED).reduce((all, bit) => all | bit, 0);
/** u32 each: bytes of RAM, and the wasm address of its page tables (see mmu/physical-memory.ts), 0 if they lie outside. */
export const RAM_BYTES_ADDRESS = 0x2004;
export const PAGE_TABLES_ADDRESS = 0x2008;
/** u32: wasm address of the linear mappings of the loaded vCPU (see mmu/tlb.ts), 0 if they lie outside. */
export const LINEAR_TLB_ADDRESS = 0x200c;
/** f64 each: look-ups of the architectural TLB that it answered, and that took a walk. */
export const TLB_STATISTICS_ADDRESS = 0x2010;

/**
 * The page fault that a refill found (exec/tlb-refill.ts): u32, not 0 until it is dealt with; u32: error code; i64: linear
 * address.
 */
export const PAGE_FAULT_ADDRESS = 0x2020;
export const pageFaultField = { isPending: 0, errorCode: 4, linear: 8 } as const;
/** u32: events dealt with in the current run of the run loop. */
export const EVENTS_ADDRESS = 0x2030;
/** i64: what compiled code set aside of the budget when it left to the interpreter; see exec/compiler/leave-functions.ts. */
export const SET_ASIDE_ADDRESS = 0x2038;
/** Of root and of non-root operation, u32 each: the generation of valid jump-cache entries; see exec/code-world.ts. */
export const CODE_GENERATIONS_ADDRESS = 0x2040;
/** u32 each: 1 if they are for a code segment with base 0 and without limit. */
export const FLAT_CODE_ADDRESS = 0x2048;
/** Of root and of non-root operation: the registers that fast translations were made for; see mmu/world-registers.ts. */
export const WORLD_REGISTERS_ADDRESS = 0x2050;
export const WORLD_REGISTERS_BYTES = 24;
/** Among them: i64, and u32 each. */
export const worldRegister = { cr3: 0, cr0: 8, cr4: 12, efer: 16 } as const;

/**
 * u32: 1 more than the host-physical address of the VMCS that compiled code may write to, as its page counts as written
 * already and holds no decoded code; 0: none.
 */
export const WRITABLE_VMCS_ADDRESS = 0x2080;

/**
 * u32: 1 more than the host-physical address of the VMCS whose guest compiled code may enter and leave, as the loaded vCPU
 * entered it last and all is as it was (vmx/world-switch-plan.ts); 0: none.
 */
export const PLANNED_VMCS_ADDRESS = 0x2084;

/** i64: instructions that what a region leaves to the interpreter may take until the run loop looks at it. */
export const INTERPRETED_LEFT_ADDRESS = 0x2088;

/** A value of up to 16 bytes, passed between compiled code and the slow path of a memory access. */
export const SCRATCH_ADDRESS = 0x2090;

/**
 * u32: 1 if translations of the loaded vCPU are of the ordinary kind, which compiled code knows (mmu/fast-translation.ts), even if
 * somebody has to be told of them.
 */
export const ORDINARY_TRANSLATION_ADDRESS = 0x20a0;
/**
 * u32: 1 while each translation is held against the tables. Compiled code may do that for itself if the walk is one of the
 * confirmed ones.
 */
export const AUDITED_ADDRESS = 0x20a4;

/** Arguments and results of functions that compiled code calls out to (exec/pure-functions.ts), 16 bytes each. */
export const CALL_ARGUMENTS_ADDRESS = 0x2100;
export const CALL_RESULTS_ADDRESS = 0x2180;

/** Direct-mapped cache from RIP to decoded block, 16 bytes an entry; see exec/jump-cache.ts. */
export const JUMP_CACHE_ADDRESS = 0x1_0000;
export const JUMP_CACHE_ENTRIES = 4096;
export const JUMP_CACHE_ENTRY_BYTES = 16;
export const JUMP_CACHE_BYTES = JUMP_CACHE_ENTRIES * JUMP_CACHE_ENTRY_BYTES;

/** The fast TLB: the wasm-readable, direct-mapped subset of the architectural TLB; see mmu/fast-tlb.ts. */
export const FAST_TLB_ADDRESS = 0x310_0000;
export const FAST_TLB_INDEX_BITS = 14;
export const FAST_TLB_ENTRIES = 1 << FAST_TLB_INDEX_BITS;
export const FAST_TLB_ENTRY_BYTES = 32;
/**
 * Sets of the fast TLB: supervisor accesses (implicit ones too), user accesses, explicit supervisor accesses that
 * EFLAGS.AC exempts from SMAP; first those of VMX root operation (or none), then those of non-root operation.
 */
export const FAST_TLB_SETS_OF_WORLD = 3;
export const FAST_TLB_SETS = 2 * FAST_TLB_SETS_OF_WORLD;
export const FAST_TLB_SET_BYTES = FAST_TLB_ENTRIES * FAST_TLB_ENTRY_BYTES;

/**
 * A set in which nothing is ever found, for accesses that are checked for alignment: all of them take the slow path.
 */
export const EMPTY_FAST_TLB_ADDRESS = 0x3c0_0000;

/** What is kept about the slots of the fast TLB: the RAM page of each; by world, slots that were filled, and how many. */
export const FAST_TLB_SLOTS = FAST_TLB_SETS * FAST_TLB_ENTRIES;
export const FAST_TLB_PAGES_ADDRESS = 0x360_0000;
export const FAST_TLB_LOG_ENTRIES = 8192;
export const FAST_TLB_LOGS_ADDRESS = FAST_TLB_PAGES_ADDRESS + FAST_TLB_SLOTS * 4;
export const FAST_TLB_FILLED_ADDRESS = FAST_TLB_LOGS_ADDRESS + 2 * FAST_TLB_LOG_ENTRIES * 4;

/** Walks by which pages were confirmed, while translations are audited; see mmu/confirmed-walks.ts. */
export const CONFIRMED_WALKS_ADDRESS = 0x368_0000;
export const CONFIRMED_WALKS = 4096;
export const CONFIRMED_WALK_BYTES = 32;

/** The linear mappings of the first vCPUs; those of further ones lie outside of this memory. */
export const LINEAR_TLBS_ADDRESS = 0x370_0000;
export const LINEAR_TLB_BYTES = 0x1_1000;
export const LINEAR_TLBS = 64;

/** What is known of VMCSs that have passed the checks of VM entry; see vmx/entry-checks/passed-vmcs.ts. */
export const PASSED_VMCS_ADDRESS = 0x340_0000;
export const PASSED_VMCS_BYTES = 4096;
export const PASSED_VMCS_COUNT = 16;

/** By the table index of a compiled region, 4 bytes each: the key of the jump cache under which it was last found valid. */
export const REGION_KEYS_ADDRESS = 0x350_0000;
export const REGION_KEYS = 1024;

/** u16 each: offsets of the fields in a VMCS region by encoding, 0 for none; see vmx/vmcs.ts. */
export const VMCS_OFFSETS_ADDRESS = 0x2_0000;
export const VMCS_ENCODINGS = 0x7000;

/** The last VM exits, and sums over all of them; see vmx/exit-log-layout.ts. */
export const EXIT_LOG_ADDRESS = 0x3_0000;
/** What VM entries and exits in compiled code go by; see vmx/world-switch-layout.ts. */
export const WORLD_SWITCH_ADDRESS = 0x3_8000;

/** Decoded instruction records. */
export const CODE_CACHE_ADDRESS = 0x10_0000;
export const CODE_CACHE_BYTES = 0x300_0000;

/** Physical address 0 of the machine. */
export const RAM_ADDRESS = 0x400_0000;
export const PAGE_BYTES = 4096;
