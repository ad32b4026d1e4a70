/**
 * Set up where RINGSIDE_EXECUTION asks for one of the two executions in all tests: machines that are not told when to compile
 * never do, or compile whatever they meet. `npm run test:executions` runs the tests of guests so.
 */
import { vi } from 'vitest';
import type { HotSpotOptions } from '../../engine/exec/compiler/hot-spots.ts';

const EXECUTIONS: Readonly<Record<string, HotSpotOptions>> = {
  interpreter: { hotAfter: Number.POSITIVE_INFINITY, watchedBlocks: 1 },
  compiler: { hotAfter: 1, watchedBlocks: 2 },
};

vi.mock('../../engine/exec/compiler/hot-spots.ts', async (original) => {
  const { RINGSIDE_EXECUTION: name = '' } = process.env;
  const DEFAULT_HOT_SPOTS = EXECUTIONS[name];
  if (!DEFAULT_HOT_SPOTS)
    throw new Error(`RINGSIDE_EXECUTION: expected ${Object.keys(EXECUTIONS).join(' or ')}, found "${name}"`);
  return { ...(await original<object>()), DEFAULT_HOT_SPOTS };
});
