/**
 * The compiler against the interpreter on random programs. RINGSIDE_FUZZ_SEED is the first one's seed,
 * RINGSIDE_FUZZ_MINUTES how long to go on: `npm run fuzz:executions -- --minutes 10 --seed 1` sets them.
 */
import { expect, test } from 'vitest';
import { emptyTally, tryProgram } from '../exec/random-programs/fuzz.ts';

const FIRST_SEED = Number(process.env.RINGSIDE_FUZZ_SEED ?? 1_000_000);
const MINUTES = Number(process.env.RINGSIDE_FUZZ_MINUTES ?? 1);
/** For the last program, and for shrinking it. */
const SPARE_MS = 200_000;

test('compiled programs stop as interpreted ones do', { timeout: MINUTES * 60_000 + SPARE_MS }, async () => {
  const tally = emptyTally();
  const end = performance.now() + MINUTES * 60_000;
  for (let seed = FIRST_SEED; performance.now() < end; seed++) await tryProgram(seed, tally);
  const { programs, instructions, regions, ends } = tally;
  console.log(`${programs} programs from seed ${FIRST_SEED}, ${instructions} instructions, ${regions} regions:`, ends);
  expect(instructions, 'most programs run for a while').toBeGreaterThan(programs * 10_000);
  expect(regions, 'regions were compiled').toBeGreaterThan(programs * 3);
});
