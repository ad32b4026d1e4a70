/**
 * Some of the random programs that `test/long` has in their thousands: calls, returns, loops, jump tables, code that
 * changes, faults, devices, interrupts. Both executions must be in the same state at every stop.
 */
import { describe, expect, test } from 'vitest';
import { emptyTally, tryProgram } from './random-programs/fuzz.ts';

const EXTENT = { instructions: 12_000, stops: 40 };

describe('a compiled program stops as an interpreted one does', () => {
  test.each([
    ['64-bit code', 5],
    ['32-bit code', 2],
    ['16-bit code', 3],
  ])('%s', async (_code, seed) => {
    const tally = emptyTally();
    await tryProgram(seed, tally, EXTENT);
    expect(tally.instructions).toBeGreaterThan(2000);
    expect(tally.regions, 'regions were compiled').toBeGreaterThan(2);
  });

  test.each([
    ['where it comes back to a repeated instruction while DR7 is armed', 61, 23_000],
    ['where it leaves with all vector registers written', 136, 8000],
  ])('%s', async (_what, seed, instructions) => {
    const tally = emptyTally();
    await tryProgram(seed, tally, { instructions, stops: 80 });
    expect(tally.instructions).toBeGreaterThan(instructions - 3000);
  });
});
