/**
 * How often the transcendental instructions agree with the recorded CPU in every bit, C1 included. Its trigonometric functions
 * but FPTAN are those of the argument reduced with 66 bits of π, rounded correctly.
 */
import { describe, expect, test } from 'vitest';
import { VectorMachine } from '../support/vector-machine.ts';
import { x87Differences } from '../support/x87-state.ts';
import { readVectors } from '../vectors/read-vectors.ts';

const machine = new VectorMachine(64);
const counts = new Map<string, { all: number; same: number }>();
for (const vector of readVectors('64-x87-transcendental')) {
  const { extended, x87 } = machine.run(vector);
  const count = counts.get(vector.name) ?? { all: 0, same: 0 };
  counts.set(vector.name, count);
  count.all++;
  const { output } = vector;
  const isSame = output.extended.fpr.every((value, n) => value === extended.x87[n]);
  if (isSame && x87Differences(output.extended, x87).length === 0) count.same++;
}

describe('the transcendental instructions agree with silicon', () => {
  test.each(['Fsin', 'Fcos', 'Fsincos', 'Fpatan'])('%s in every bit', (name) => {
    const count = counts.get(name);
    expect(count?.all).toBeGreaterThan(100);
    expect(count?.same).toBe(count?.all);
  });

  test.each([
    ['F2xm1', 0.97],
    ['Fyl2x', 0.99],
    ['Fyl2xp1', 0.98],
    ['Fptan', 0.9],
  ])('%s mostly', (name, share) => {
    const { all, same } = counts.get(name) ?? { all: 0, same: 0 };
    expect(all).toBeGreaterThan(100);
    expect(same / all).toBeGreaterThan(share);
  });
});
