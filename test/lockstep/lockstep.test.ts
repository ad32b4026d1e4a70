import { describe, expect, it } from 'vitest';
import { firstDifference } from './compare.ts';
import { departuresOf, recordedGuest } from './named-guests.ts';
import { readTrace, writeTrace } from './trace.ts';
import { GUESTS, readRecorded } from './traces.ts';

describe.each(Object.entries(GUESTS))('the guest %s, as it was stepped under %s', (name, judge) => {
  const departures = departuresOf(name, judge);
  const guest = recordedGuest(name);

  it('was recorded from the start to the end', () => {
    const steps = readRecorded(name);
    expect(steps[0]?.state).toMatchObject({ rip: guest.start.rip, rsp: guest.start.rsp });
    expect(steps.at(-1)?.end).toBe('halted');
  });

  it.each([
    ['with all events watched', true],
    ['by the fast ways', false],
  ])('takes the same steps in Ringside, %s', (_how, watched) => {
    expect(firstDifference(guest, readRecorded(name), { watched, departures })).toBeUndefined();
  });

  it('is told from another one: a changed register and a changed byte are found', () => {
    const steps = readRecorded(name);
    const at = steps.findIndex(({ changes }, n) => n > 0 && changes.length > 0);
    const step = steps[at];
    if (!step) throw new Error('expected a step that writes memory');
    const replaced = (by: typeof step) => steps.map((other, n) => (n === at ? by : other));
    const { rbp = 0n } = step.state;
    const register = replaced({ ...step, state: { ...step.state, rbp: rbp + 1n } });
    expect(firstDifference(guest, register, { departures })).toContain('rbp: expected');
    expect(firstDifference(guest, replaced({ ...step, changes: [] }), { departures })).toContain('expected no change');
  });
});

it('a trace comes back from its text as it was', () => {
  const steps = readRecorded('protected');
  expect(writeTrace(readTrace(writeTrace(steps)))).toBe(writeTrace(steps));
  expect(readTrace(writeTrace(steps)).at(-1)).toEqual(steps.at(-1));
});
