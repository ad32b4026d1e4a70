/**
 * Random VMCSs against the rules of VM entry, and random guests of a hypervisor in both executions. RINGSIDE_FUZZ_SEED is the
 * first seed, RINGSIDE_FUZZ_MINUTES how long to go on: `npm run fuzz:vmcs -- --minutes 10 --seed 1` sets them.
 */
import { expect, test } from 'vitest';
import { emptyTally, tryVmcs } from '../vmx/fuzz/fuzz.ts';
import { tryGuest } from '../vmx/fuzz/guest-agreement.ts';

const FIRST_SEED = Number(process.env.RINGSIDE_FUZZ_SEED ?? 1_000_000);
const MINUTES = Number(process.env.RINGSIDE_FUZZ_MINUTES ?? 1);
/** VMCSs for each guest, which takes as long as they. */
const VMCSS = 50;
const SPARE_MS = 60_000;

function withSeed<Result>(seed: number, attempt: () => Result): Result {
  try {
    return attempt();
  } catch (cause) {
    throw new Error(`seed ${seed}`, { cause });
  }
}

test('VM entries, exits and guests are as they have to be', { timeout: MINUTES * 60_000 + SPARE_MS }, () => {
  const tally = emptyTally();
  const end = performance.now() + MINUTES * 60_000;
  let regions = 0;
  let seed = FIRST_SEED;
  for (; performance.now() < end; seed++) {
    if (seed % VMCSS === 0) regions += withSeed(seed, () => tryGuest(seed)).regions;
    withSeed(seed, () => tryVmcs(seed, tally));
  }
  const reasons = [...tally.reasons].sort((a, b) => a - b).join(', ');
  console.log(`from seed ${FIRST_SEED} to ${seed}, ${regions} regions; exit reasons ${reasons}:`, {
    ...tally,
    reasons: undefined,
  });
  expect(tally.entered, 'many are entered').toBeGreaterThan(tally.cases / 2);
});
