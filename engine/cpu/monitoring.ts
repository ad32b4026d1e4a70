/**
 * Address-range monitoring (SDM volume 3, "MONITOR/MWAIT Instruction"). A processor that waits in MWAIT is in the activity
 * state of HLT, with a monitored line besides: a store to that ends the wait. Any store does, also one of the processor's own
 * before it waits, which the manual leaves open.
 */
import { ACTIVITY } from './register-bits.ts';
import type { CpuState } from './state.ts';

/** Bytes of a monitored line, as CPUID leaf 5 has it. */
export const MONITOR_LINE_BYTES = 64;

/** Values of `state.monitorArmed`. */
export const MONITORING = { OFF: 0, ARMED: 1, WAITS: 2, WAITS_FOR_MASKED_TOO: 3 } as const;

/** Whether the processor waits in MWAIT. */
export const waitsForStore = ({ activityState, monitorArmed }: Pick<CpuState, 'activityState' | 'monitorArmed'>) =>
  activityState === ACTIVITY.HLT && monitorArmed >= MONITORING.WAITS;

/** A store to the monitored line, or what else ends monitoring: whoever waits for it goes on. */
export function endMonitoring(state: Pick<CpuState, 'activityState' | 'monitorArmed'>): void {
  if (waitsForStore(state)) state.activityState = ACTIVITY.ACTIVE;
  state.monitorArmed = MONITORING.OFF;
}
