/** The virtual interrupt of a VMCB (AMD64 APM volume 2, "Virtual Interrupts"). */
import { ACTIVITY, RFLAGS } from '../cpu/register-bits.ts';
import {
  INTERRUPT_CONTROL,
  INTERRUPT_CONTROL_AT,
  inShadow,
  type SvmParts,
  V_INTR_PRIO_SHIFT,
  V_INTR_VECTOR_AT,
} from './svm-parts.ts';

export class VirtualInterrupt {
  readonly #parts: SvmParts;

  constructor(parts: SvmParts) {
    this.#parts = parts;
  }

  /** Whether one is pending, and neither RFLAGS.IF nor a shadow nor the task priority keeps it. */
  isTaken(): boolean {
    const { state, vmcb } = this.#parts;
    if (!state.svmGuest || !state.globalInterruptFlag || state.activityState > ACTIVITY.HLT) return false;
    const control = vmcb.u32(INTERRUPT_CONTROL_AT);
    if (!(control & INTERRUPT_CONTROL.V_IRQ) || !(state.flagsOther & RFLAGS.IF) || inShadow(state)) return false;
    const priority = (control & INTERRUPT_CONTROL.V_INTR_PRIO) >>> V_INTR_PRIO_SHIFT;
    return (control & INTERRUPT_CONTROL.V_IGN_TPR) !== 0 || priority > (control & INTERRUPT_CONTROL.V_TPR);
  }

  /** It is pending no longer; returns its vector. */
  accept(): number {
    const { vmcb } = this.#parts;
    vmcb.touch();
    vmcb.setU32(INTERRUPT_CONTROL_AT, vmcb.u32(INTERRUPT_CONTROL_AT) & ~INTERRUPT_CONTROL.V_IRQ);
    return vmcb.u8(V_INTR_VECTOR_AT);
  }
}
