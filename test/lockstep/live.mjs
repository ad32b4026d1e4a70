#!/usr/bin/env node
/** `npm run lockstep -- [--guest NAME] [--steps N] [--record]`, from the project's folder. */
import { parseArgs } from 'node:util';
import { importBundled } from '../support/bundled.mjs';

const { values } = parseArgs({
  options: {
    guest: { type: 'string', multiple: true, default: [] },
    steps: { type: 'string', default: '10000' },
    record: { type: 'boolean', default: false },
  },
});
const limit = Number(values.steps);
if (!Number.isInteger(limit) || limit < 1) {
  console.error(`--steps: expected a number above 0, found ${values.steps}`);
  process.exit(2);
}
const cache = new URL('../../node_modules/.cache/ringside-lockstep/', import.meta.url);
const { runLive } = await importBundled(new URL('live.ts', import.meta.url), cache);
process.exitCode = (await runLive({ guests: values.guest, limit, recorded: values.record })) ? 0 : 1;
