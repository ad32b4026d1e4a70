/** What machines make of their steps alike. */
import type { Change, Step } from './state.ts';

const PAGE = 4096;

/** What differs from the memory before, page by page, in runs; `before` becomes `now`. */
export function changesOf(now: Uint8Array, before: Uint8Array): Change[] {
  if (Buffer.compare(now, before) === 0) return [];
  const changes: Change[] = [];
  for (let page = 0; page < now.length; page += PAGE) {
    const slice = now.subarray(page, page + PAGE);
    const old = before.subarray(page, page + PAGE);
    if (Buffer.compare(slice, old) === 0) continue;
    changes.push(...runsOfChanges(slice, old, page));
    old.set(slice);
  }
  return changes;
}

function* runsOfChanges(now: Uint8Array, old: Uint8Array, address: number): Generator<Change> {
  for (let i = 0; i < now.length; i++) {
    if (now[i] === old[i]) continue;
    const start = i;
    while (i < now.length && now[i] !== old[i]) i++;
    yield { address: address + start, bytes: Uint8Array.from(now.subarray(start, i)) };
  }
}

/** A repeated instruction as one step: a processor traps after each iteration, an emulator after some of them. */
export function wholeSteps(steps: readonly Step[]): Step[] {
  const whole: Step[] = [];
  let changes: Change[] = [];
  for (const [n, step] of steps.entries()) {
    changes.push(...step.changes);
    const previous = whole.at(-1);
    const isIteration = n > 0 && !step.end && previous?.state.rip === step.state.rip;
    if (isIteration) continue;
    whole.push({ ...step, changes });
    changes = [];
  }
  return whole;
}
