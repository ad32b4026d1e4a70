/** `npm run lockstep -- --seed S [--count C]`: random guests of consecutive seeds, of each kind under each judge that there is. */
import { firstDifference } from '../compare.ts';
import type { End, Guest } from '../state.ts';
import { type Stepper, steppers } from '../steppers.ts';
import type { Judge } from '../traces.ts';
import { RANDOM_DEPARTURES } from './departures.ts';
import { randomGuest } from './guest.ts';
import { isJudged, KINDS } from './kinds.ts';

const STEP_LIMIT = 5000;
/** Of a judge that cannot go on. */
const OTHER_ENDS: ReadonlySet<End> = new Set<End>(['not emulated', 'left RAM', 'stuck', 'other exit']);

export interface RandomOptions {
  readonly seed: number;
  readonly count: number;
  /** Names of kinds; all if empty. */
  readonly kinds: readonly string[];
}

/** Whether no guest differs. */
export async function runRandom({ seed, count, kinds }: RandomOptions): Promise<boolean> {
  let isWell = true;
  for (const [judge, step] of Object.entries(steppers()) as [Judge, Stepper][]) {
    for (const [name, kind] of Object.entries(KINDS)) {
      if ((kinds.length > 0 && !kinds.includes(name)) || !isJudged(kind, judge)) continue;
      const tally = { steps: 0, givenUp: 0 };
      for (let n = 0; n < count; n++) {
        const difference = await tryGuest(randomGuest(seed + n, name, judge), judge, step, tally);
        if (difference === undefined) continue;
        console.log(difference);
        isWell = false;
      }
      const { steps, givenUp } = tally;
      console.log(
        `random-${name}: ${count} guests from seed ${seed}, ${steps} steps under ${judge}, which gave up ${givenUp}`,
      );
    }
  }
  return isWell;
}

interface Tally {
  steps: number;
  /** Guests with an instruction that the judge does not emulate. */
  givenUp: number;
}

/** The first difference in words; the judge is followed as far as it can go. */
async function tryGuest(guest: Guest, judge: Judge, step: Stepper, tally: Tally): Promise<string | undefined> {
  const all = await step(guest, STEP_LIMIT);
  const isGivenUp = OTHER_ENDS.has(all.at(-1)?.end ?? 'halted');
  const steps = isGivenUp ? all.slice(0, -1) : all;
  tally.steps += steps.length - 1;
  if (isGivenUp) tally.givenUp++;
  return firstDifference(guest, steps, { departures: RANDOM_DEPARTURES[judge] });
}
