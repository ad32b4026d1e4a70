/** Some of what `npm run fuzz:vmcs` tries for as long as wanted. */
import { expect, test } from 'vitest';
import { emptyTally, tryVmcs } from './fuzz/fuzz.ts';
import { tryGuest } from './fuzz/guest-agreement.ts';

const SEEDS = 80;

test('random VMCSs are entered or refused as the rules predict, and exit as exits do', () => {
  const tally = emptyTally();
  for (let seed = 1; seed <= SEEDS; seed++) tryVmcs(seed, tally);
  expect(tally.entered, 'many are entered').toBeGreaterThan(SEEDS / 2);
  expect(tally.refused, 'many are refused').toBeGreaterThan(SEEDS / 10);
  expect(tally.failed, 'many fail').toBeGreaterThan(SEEDS / 10);
  expect(tally.reasons.size, 'exit reasons').toBeGreaterThan(12);
});

test.each([5, 29])('random guest %i is the same interpreted, compiled, and in other slices', (seed) => {
  const { instructions, regions, code } = tryGuest(seed);
  expect(instructions).toBeGreaterThan(20_000);
  expect(regions, 'regions were compiled').toBeGreaterThan(0);
  expect(code, 'VMCALL at the end of the guest').toBe(18);
});
