/** The machines that guests can be stepped under here; the others say why not. */
import { compileKvmStepper, stepUnderKvm, whyNoKvm } from './kvm.ts';
import { stepUnderQemu, whyNoQemu } from './qemu/qemu.ts';
import type { Guest, Step } from './state.ts';
import type { Judge } from './traces.ts';

/** Steps a guest to its end, or to the limit. */
export type Stepper = (guest: Guest, limit: number) => Promise<Step[]>;

export function steppers(): Partial<Record<Judge, Stepper>> {
  const [noKvm, noQemu] = [whyNoKvm(), whyNoQemu()];
  if (noKvm !== undefined) console.error(`without KVM: ${noKvm}`);
  if (noQemu !== undefined) console.error(`without QEMU: ${noQemu}`);
  const program = noKvm === undefined ? compileKvmStepper() : '';
  return {
    ...(noKvm === undefined ? { kvm: async (guest, limit) => stepUnderKvm(program, guest, limit) } : {}),
    ...(noQemu === undefined ? { qemu: stepUnderQemu } : {}),
  };
}
