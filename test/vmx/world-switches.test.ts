/**
 * VM entries and exits that compiled code makes by the plan of an earlier entry, held against those made step by step; with
 * many more changes in test/long.
 */
import { describe, expect, test } from 'vitest';
import { compareAfterChange, observed, pairOf, rings, rounds, withStaleEpt } from './world-switch-pair.ts';

describe('the run is the same', () => {
  test.each([1, 7, 50, 1000])('in slices of %i instructions', async (limit) => {
    const { planned, stepwise, switches } = await pairOf(rounds(40));
    for (const machine of [planned, stepwise]) machine.run({ instructions: 300 });
    for (let slice = 0; slice < 40; slice++) {
      expect(planned.run({ instructions: limit })).toEqual(stepwise.run({ instructions: limit }));
      expect(observed(planned)).toEqual(observed(stepwise));
    }
    expect(switches()).toBeGreaterThan(limit === 1 ? -1 : 3);
  });

  test.each([
    ['ring 0', rounds(1000), 3000],
    ['both rings', rings(1000), 3900],
  ])('to its end, from %s', async (_, program, atLeast) => {
    const { planned, stepwise, switches } = await pairOf(program);
    expect(planned.run()).toEqual(stepwise.run());
    expect(observed(planned)).toEqual(observed(stepwise));
    expect(planned.exitLog().total).toBeGreaterThan(atLeast);
    expect(switches()).toBeGreaterThan(atLeast / 2);
  });

  test.each([
    ['ring-change', 'ring 0', rounds(1000), 0],
    ['ring-change', 'both rings', rings(1000), 6000],
    ['stale-translation', 'ring 0', rounds(1000), 0],
    ['stale-translation', 'ring 0, with no INVEPT after a change', withStaleEpt(1000), 1],
  ] as const)('while somebody wants to be told of each %s, from %s', async (filter, _, program, atLeast) => {
    const { planned, stepwise, switches } = await pairOf(program);
    const [told, expected] = [planned, stepwise].map((machine) => {
      const events: unknown[] = [];
      machine.setFilter(filter, true, (values) => {
        events.push([machine.instructionCount, values]);
        return false;
      });
      machine.run();
      return events;
    });
    expect(observed(planned)).toEqual(observed(stepwise));
    expect(told).toEqual(expected);
    expect(told?.length).toBeGreaterThanOrEqual(atLeast);
    expect(switches()).toBeGreaterThan(1500);
  });
});

test.each(Array.from({ length: 30 }, (_, seed) => seed))('whatever has changed: %i', compareAfterChange);
