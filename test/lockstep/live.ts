/** `npm run lockstep`: steps the guests under KVM and Ringside at once; run by live.mjs. */
import { firstDifference } from './compare.ts';
import { guestFromSource } from './guest.ts';
import { compileKvmStepper, stepUnderKvm, whyNoKvm } from './kvm.ts';
import { GUESTS, record } from './traces.ts';

/** Whether all went well. */
export function runLive({ guests, limit, recorded }: { guests: string[]; limit: number; recorded: boolean }): boolean {
  const why = whyNoKvm();
  if (why !== undefined) {
    console.error(`lockstep needs /dev/kvm and gcc: ${why}`);
    return false;
  }
  const program = compileKvmStepper();
  return (guests.length > 0 ? guests : [...GUESTS]).every((name) => {
    const guest = guestFromSource(name);
    const steps = stepUnderKvm(program, guest, limit);
    const difference = firstDifference(guest, steps);
    console.log(difference ?? `${name}: ${steps.length - 1} steps agree, ${steps.at(-1)?.end ?? 'then the limit'}`);
    if (difference === undefined && recorded) record(name, steps);
    return difference === undefined;
  });
}
