/** What kind of memory access is made, and by whom (SDM volume 3, "Determination of Access Rights"). */
export const Access = { Read: 0, Write: 1, Execute: 2 } as const;
export type Access = (typeof Access)[keyof typeof Access];

/**
 * In whose name an access is made. `Current` follows CPL; `Supervisor` is an implicit supervisor-mode access (to the
 * GDT, LDT, IDT or TSS), which EFLAGS.AC does not exempt from SMAP; `User` is a user-mode access whatever CPL is.
 * The `…Stack` variants differ in one thing: a non-canonical address raises #SS(0) in place of #GP(0).
 */
export const Privilege = {
  Current: 0,
  Supervisor: 1,
  User: 2,
  CurrentStack: 4,
  SupervisorStack: 5,
  UserStack: 6,
} as const;
export type Privilege = (typeof Privilege)[keyof typeof Privilege];
export const PRIVILEGE_MASK = 3;
export const STACK_PRIVILEGE = 4;

/** Bits of the page-fault error code (SDM volume 3, "Page-Fault Exceptions"). */
export const PageFaultCode = { P: 1, W: 2, U: 4, RSVD: 8, I: 16, PK: 32 } as const;

/** Bits of the exit qualification of an EPT violation (SDM volume 3, "Exit Qualification for EPT Violations"). */
export const EptViolationBit = {
  Read: 1 << 0,
  Write: 1 << 1,
  Fetch: 1 << 2,
  /** Bits 5:3: what the EPT entries together allowed. */
  AllowedShift: 3,
  /** … for the fetch of an instruction at a user-mode address, with mode-based execute control. */
  AllowedExecuteUser: 1 << 6,
  GuestLinearValid: 1 << 7,
  /** Set: the access was to the translation of the linear address; clear: to a guest paging-structure entry. */
  FinalTranslation: 1 << 8,
  /** What the guest's paging allows at the linear address: user-mode access, writes; and fetches, if clear. */
  GuestUser: 1 << 9,
  GuestWritable: 1 << 10,
  GuestExecuteDisable: 1 << 11,
  NmiUnblocking: 1 << 12,
} as const;

/**
 * Rights of a mapping as EPT entries, access requests and exit qualifications hold them: bits 2:0. With mode-based execute
 * control, bit 10 of entries and requests besides: fetches from user-mode addresses, for which bit 2 does not count then.
 */
export const EptRight = { Read: 1, Write: 2, Execute: 4, All: 7, ExecuteUser: 1 << 10 } as const;

/** What a mapping allows, in the form the TLB keeps it: the guest's rights and EPT's stay apart. */
export const MappingFlag = {
  Write: 1 << 0,
  User: 1 << 1,
  Execute: 1 << 2,
  /** EPT's R, W and X; all set without EPT. */
  EptRead: 1 << 3,
  EptWrite: 1 << 4,
  EptExecute: 1 << 5,
  /** The dirty flags are set, so that a write need not walk. */
  Dirty: 1 << 6,
  Global: 1 << 7,
  /** Instructions were fetched through the mapping. */
  Executed: 1 << 8,
  /** EPT's right to fetch at user-mode addresses; of guest-physical mappings only, the others have one for their page. */
  EptExecuteUser: 1 << 13,
} as const;
/** Above them: the protection key of the page. */
const KEY_SHIFT = 9;
export const KEY_FLAGS = 15 << KEY_SHIFT;
/** Protection key in the high half of an 8-byte entry that maps a page: bits 62:59. */
export const KEY_HIGH = 0x7800_0000;
export const keyFlags = (high: number): number => ((high & KEY_HIGH) >>> 27) << KEY_SHIFT;
export const EPT_FLAGS_SHIFT = 3;
/** EPT rights as flags of a guest-physical mapping, and back. */
export const eptFlags = (rights: number): number =>
  ((rights & EptRight.All) << EPT_FLAGS_SHIFT) | (rights & EptRight.ExecuteUser ? MappingFlag.EptExecuteUser : 0);
export const eptRightsOf = (flags: number): number =>
  ((flags >> EPT_FLAGS_SHIFT) & EptRight.All) | (flags & MappingFlag.EptExecuteUser ? EptRight.ExecuteUser : 0);
export const ALL_GUEST_RIGHTS = MappingFlag.Write | MappingFlag.User | MappingFlag.Execute;
export const ALL_EPT_RIGHTS = MappingFlag.EptRead | MappingFlag.EptWrite | MappingFlag.EptExecute;

/** The controls that decide about rights, for one access. */
export const Policy = {
  /** The access is a user-mode access. */
  User: 1 << 0,
  /** CR0.WP. */
  WriteProtect: 1 << 1,
  /** CR4.SMAP, and nothing exempts this access. */
  Smap: 1 << 2,
  /** CR4.SMEP. */
  Smep: 1 << 3,
  /** Instruction fetches are reported in bit 4 of the error code. */
  ReportFetch: 1 << 4,
} as const;
/** The keys that deny an access, as `deniedKeys` gives them, times this are added to a policy. */
export const DENIED_KEYS_FACTOR = 0x100;

/** Whether the protection key of a page denies the access that the policy is for. */
export function keyDenies(flags: number, policy: number): boolean {
  if (policy < DENIED_KEYS_FACTOR) return false;
  const key = (flags & KEY_FLAGS) >>> KEY_SHIFT;
  const bit = 2 * key + (flags & MappingFlag.User ? 0 : 1);
  return ((Math.floor(policy / DENIED_KEYS_FACTOR) >>> bit) & 1) !== 0;
}

/** Whether the guest's paging rights allow the access (SDM volume 3, "Determination of Access Rights"). */
export function guestPermits(flags: number, access: Access, policy: number): boolean {
  if (policy >= DENIED_KEYS_FACTOR && keyDenies(flags, policy)) return false;
  const userPage = (flags & MappingFlag.User) !== 0;
  if (policy & Policy.User) {
    if (!userPage) return false;
    if (access === Access.Write) return (flags & MappingFlag.Write) !== 0;
    return access === Access.Read || (flags & MappingFlag.Execute) !== 0;
  }
  if (access === Access.Execute) {
    return (flags & MappingFlag.Execute) !== 0 && !(userPage && policy & Policy.Smep);
  }
  if (userPage && policy & Policy.Smap) return false;
  return access === Access.Read || (flags & MappingFlag.Write) !== 0 || (policy & Policy.WriteProtect) === 0;
}

/** Whether a cached mapping serves the access: the guest's rights, EPT's, and the dirty flag for a write. */
export function mappingServes(flags: number, access: Access, policy: number): boolean {
  if (!guestPermits(flags, access, policy)) return false;
  if (access === Access.Read) return (flags & MappingFlag.EptRead) !== 0;
  if (access === Access.Execute) return (flags & MappingFlag.EptExecute) !== 0;
  return (flags & MappingFlag.EptWrite) !== 0 && (flags & MappingFlag.Dirty) !== 0;
}
