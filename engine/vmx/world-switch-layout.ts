/**
 * What VM entries and exits in compiled code (exec/world-switch-emitter.ts) go by, in wasm memory: the plan of the last VM
 * entry that was made step by step (world-switch-plan.ts), who wants to be told, and the time for the exit log.
 */
import { consecutive } from '../cpu/memory-layout.ts';
import { WORLD_SWITCH_ADDRESS } from '../cpu/memory-map.ts';
import { EXIT_REASON_COUNT } from './exit-reasons.ts';
import { VMCS_BYTES } from './vmcs.ts';

const REASONS = 8 * Math.ceil(EXIT_REASON_COUNT / 8);

const sizes = {
  /** The current VMCS as it was. */
  image: VMCS_BYTES,
  /** f64 each. Of the slice that runs: instructions before it, and what is left of its limit when its budget is used up. */
  retired: 8,
  limit: 8,
  /** What is to be added to instructions for those of the loaded vCPU, and to instructions and events for units. */
  own: 8,
  units: 8,
  idleNs: 8,
  /** u8 each, by basic exit reason: not 0 while somebody wants to be told of such exits. */
  told: REASONS,
  /** u32 each: not 0 while somebody wants to be told of VM entries. */
  toldOfEntries: 4,
  /** IA32_EFER before and after the entry, XCR0. */
  hostEfer: 4,
  guestEfer: 4,
  xcr0: 4,
  /** Masks of EXTENSION that are enabled in the host and in the guest. */
  hostExtensions: 4,
  guestExtensions: 4,
  /** 1 after an entry or exit in compiled code, until TypeScript has followed. */
  switched: 4,
  /** Index of the loaded vCPU. */
  vcpu: 4,
} as const;

/** Wasm addresses. */
export const worldSwitchPlace = consecutive(WORLD_SWITCH_ADDRESS, sizes);
