/**
 * The VMX-preemption timer (SDM volume 3, "VMX-Preemption Timer"). It goes down by 1 each time a certain bit of the TSC
 * changes; so when it expires is known at VM entry, as a time that slices end at exactly.
 */
import { EXIT, PIN } from './controls.ts';
import { offsetOf } from './vmcs.ts';
import { hasExit, hasPin, type VmxParts, virtualTimeNs } from './vmx-parts.ts';

/** IA32_VMX_MISC bits 4:0: the bit of the TSC. */
export const PREEMPTION_TIMER_RATE = 5;
const RATE = BigInt(PREEMPTION_TIMER_RATE);
const TSC_PER_COUNT = 2 ** PREEMPTION_TIMER_RATE;

const VALUE = offsetOf('VMX-preemption timer value');

/** VM entry: the timer starts from its value in the VMCS. */
export function startPreemptionTimer({ processor, state, vmcs }: VmxParts): void {
  state.preemptionDeadline = 0;
  if (!hasPin(vmcs, PIN['Activate VMX-preemption timer'])) return;
  const expires = ((processor.tscNow() >> RATE) + BigInt(vmcs.u32(VALUE))) << RATE;
  state.preemptionDeadline = Math.max(1, Number(BigInt.asIntN(64, expires - state.tscAdjust)));
}

/** VM exit: the timer stops; what is left of it goes to the VMCS if the controls say so. */
export function stopPreemptionTimer({ processor, state, vmcs }: VmxParts): void {
  const deadline = state.preemptionDeadline;
  if (deadline === 0) return;
  state.preemptionDeadline = 0;
  if (!hasExit(vmcs, EXIT['Save VMX-preemption timer value'])) return;
  vmcs.setU32(VALUE, Math.max(0, Math.ceil((deadline - virtualTimeNs(processor)) / TSC_PER_COUNT)));
}
