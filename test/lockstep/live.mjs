#!/usr/bin/env node
/**
 * `npm run lockstep -- [--guest NAME] [--steps N] [--record]`, from the project's folder; with `--seed S [--count C] [--kind K]`, random
 * guests of consecutive seeds instead.
 */
import { parseArgs } from 'node:util';
import { importBundled } from '../support/bundled.mjs';

const { values } = parseArgs({
  options: {
    guest: { type: 'string', multiple: true, default: [] },
    steps: { type: 'string', default: '10000' },
    seed: { type: 'string' },
    kind: { type: 'string', multiple: true, default: [] },
    count: { type: 'string', default: '10' },
    record: { type: 'boolean', default: false },
  },
});
const { seed = '1', steps, count } = values;
for (const [name, value] of Object.entries({ seed, steps, count })) {
  if (Number.isInteger(Number(value)) && Number(value) >= 1) continue;
  console.error(`--${name}: expected a number above 0, found ${value}`);
  process.exit(2);
}
const cache = new URL('../../node_modules/.cache/ringside-lockstep/', import.meta.url);
const { runLive, runRandom } = await importBundled(new URL('live.ts', import.meta.url), cache);
const isWell =
  values.seed === undefined
    ? await runLive({ guests: values.guest, limit: Number(steps), recorded: values.record })
    : await runRandom({ seed: Number(seed), count: Number(count), kinds: values.kind });
process.exitCode = isWell ? 0 : 1;
