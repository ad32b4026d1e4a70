/** `npm run lockstep`: steps the guests under KVM or QEMU and Ringside at once; run by live.mjs. */
import { firstDifference } from './compare.ts';
import { guestFromSource } from './guest.ts';
import { compileKvmStepper, stepUnderKvm, whyNoKvm } from './kvm.ts';
import { stepUnderQemu, whyNoQemu } from './qemu/qemu.ts';
import type { Guest, Step } from './state.ts';
import { DEPARTURES, GUESTS, type Judge, record } from './traces.ts';

type Stepper = (guest: Guest, limit: number) => Promise<Step[]>;

/** Those that can be had here; the others say why not. */
function steppers(): Partial<Record<Judge, Stepper>> {
  const [noKvm, noQemu] = [whyNoKvm(), whyNoQemu()];
  if (noKvm !== undefined) console.error(`without KVM: ${noKvm}`);
  if (noQemu !== undefined) console.error(`without QEMU: ${noQemu}`);
  const program = noKvm === undefined ? compileKvmStepper() : '';
  return {
    ...(noKvm === undefined ? { kvm: async (guest, limit) => stepUnderKvm(program, guest, limit) } : {}),
    ...(noQemu === undefined ? { qemu: stepUnderQemu } : {}),
  };
}

export interface LiveOptions {
  /** All if empty. */
  readonly guests: readonly string[];
  readonly limit: number;
  /** Whether runs that agree are written down. */
  readonly recorded: boolean;
}

/** Whether all went well. */
export async function runLive({ guests, limit, recorded }: LiveOptions): Promise<boolean> {
  const available = steppers();
  let isWell = true;
  for (const [name, judge] of Object.entries(GUESTS)) {
    if (guests.length > 0 && !guests.includes(name)) continue;
    const step = available[judge];
    if (!step) {
      console.error(`${name}: not stepped, for want of its judge`);
      isWell = false;
      continue;
    }
    const guest = guestFromSource(name);
    const steps = await step(guest, limit);
    const difference = firstDifference(guest, steps, { departures: DEPARTURES[judge] });
    const end = steps.at(-1)?.end ?? 'then the limit';
    console.log(difference ?? `${name}: ${steps.length - 1} steps agree with ${judge}, ${end}`);
    if (difference === undefined && recorded) record(name, steps);
    isWell &&= difference === undefined;
  }
  return isWell;
}
