/** PAUSE-loop exiting (SDM volume 3, "Changes to Instruction Behavior in VMX Non-Root Operation", PAUSE). */
import { SECONDARY } from './controls.ts';
import { offsetOf } from './vmcs.ts';
import { hasSecondary, type VmxParts, virtualTimeNs } from './vmx-parts.ts';

const GAP = offsetOf('PLE_Gap');
const WINDOW = offsetOf('PLE_Window');

export class PauseLoop {
  readonly #parts: VmxParts;

  constructor(parts: VmxParts) {
    this.#parts = parts;
  }

  /** Whether the PAUSE under way exits. Times are compared in units of the TSC, which are nanoseconds. */
  exits(): boolean {
    const { processor, state, vmcs } = this.#parts;
    if (state.cpl > 0 || !hasSecondary(vmcs, SECONDARY['PAUSE-loop exiting'])) return false;
    const now = virtualTimeNs(processor);
    const isFirst = state.pauseLoopStart === 0 || now - state.pauseLoopLast > vmcs.u32(GAP);
    if (isFirst) state.pauseLoopStart = now;
    state.pauseLoopLast = now;
    return now - state.pauseLoopStart > vmcs.u32(WINDOW);
  }
}
