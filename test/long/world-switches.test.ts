/** As test/vmx/world-switches.test.ts, with many more changes. */
import { test } from 'vitest';
import { compareAfterChange } from '../vmx/world-switch-pair.ts';

const SEEDS = 400;
const GROUP = 20;
test.each(Array.from({ length: SEEDS / GROUP }, (_, group) => 100 + group * GROUP))(
  'changes from %i on',
  async (first) => {
    for (let seed = first; seed < first + GROUP; seed++) await compareAfterChange(seed);
  },
);
