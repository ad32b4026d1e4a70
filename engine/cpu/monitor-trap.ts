/** The monitor trap flag of VMX (SDM volume 3, "Monitor Trap Flag"), as far as instructions and events bring it on. */
import type { CpuState } from './state.ts';

/** `CpuState.monitorTrap`: off, to cause a VM exit after the next instruction or event, or about to cause it. */
export const MONITOR_TRAP = { OFF: 0, ARMED: 1, PENDING: 2 } as const;

/** An instruction was completed, or an event delivered: the VM exit is due at the boundary that follows. */
export function monitorTrapDue(state: CpuState): void {
  if (state.monitorTrap === MONITOR_TRAP.ARMED) state.monitorTrap = MONITOR_TRAP.PENDING;
}
