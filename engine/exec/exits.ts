/** Why compiled code returned to the run loop. `Exit` values are what a handler returns. */
export const Exit = {
  /** `state.rip` is the next instruction; its block must be found (and `state.linkSite` patched, if set). */
  Lookup: 0,
  /** An event (fault, VM exit …) stopped the instruction of `state.exitRecord`, which has changed nothing. */
  Event: 1,
  /** The slice's budget does not cover the block at `state.rip`. */
  Budget: 2,
  /** `state.rip` is at a marked instruction (breakpoint), not executed yet. */
  Mark: 3,
  /** The instruction of `state.exitRecord` completed and asks for the run loop; the next one follows it. */
  StopAfter: 4,
  /** The last instruction of a block completed and asks for the run loop; `state.rip` is set. */
  StopAtTarget: 5,
  /** Only between compiled blocks and `enter`: go on at `state.rip` through the jump cache. */
  Dispatch: 6,
  /** Only between compiled code and `enter`: the interpreter goes on at `state.exitRecord`, within its block. */
  Resume: 7,
} as const;
export type Exit = (typeof Exit)[keyof typeof Exit];

/** Events after which a run returns: each takes as long as hundreds of instructions. */
export const MAX_EVENTS = 1000;

/** What the slow path of a memory access answers. */
export const SlowStatus = {
  Done: 0,
  Event: 1,
  DoneStopAfter: 2,
  /** Nothing was accessed; the fast TLB has the page now. */
  Retry: 3,
} as const;

/** Added to the size of a slow access: it is, or goes on to be, a write. */
export const FOR_WRITE = 64;
/** Added to the size of a slow access that must be carried out: there is no fast path to go back to. */
export const WITHOUT_RETRY = 128;
/** Added to the size of a slow write that is not to be made: it only faults as the write would. */
export const PROBE = 256;
/** Added to the size of a slow access that is to the stack, whatever the instruction's memory operand is. */
export const ON_STACK = 512;
/** Added to the size of a slow access that is the first half of one of twice the size. */
export const FIRST_HALF = 1024;
export const SIZE_MASK = 63;
