/** `npm run lockstep`: steps the guests under KVM or QEMU and Ringside at once; run by live.mjs. */
import { firstDifference } from './compare.ts';
import { departuresOf, madeGuest, record } from './named-guests.ts';
import { steppers } from './steppers.ts';
import { GUESTS } from './traces.ts';

export { runRandom } from './random/live.ts';

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
    const guest = madeGuest(name, judge);
    const steps = await step(guest, limit);
    const difference = firstDifference(guest, steps, { departures: departuresOf(name, judge) });
    const end = steps.at(-1)?.end ?? 'then the limit';
    console.log(difference ?? `${name}: ${steps.length - 1} steps agree with ${judge}, ${end}`);
    if (difference === undefined && recorded) record(name, guest, steps);
    isWell &&= difference === undefined;
  }
  return isWell;
}
