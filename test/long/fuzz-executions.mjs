#!/usr/bin/env node
/**
 * `npm run fuzz:executions -- [--minutes N] [--seed S]`: executions-agree.test.ts for as long as wanted; `fuzz:vmcs` names another
 * test of this folder.
 */
import { spawn } from 'node:child_process';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    test: { type: 'string', default: 'executions-agree' },
  },
});
const { test, ...numbers } = values;
for (const [name, value] of Object.entries(numbers)) {
  if (Number.isFinite(Number(value)) && Number(value) > 0) continue;
  console.error(`--${name}: expected a number above 0, found ${value}`);
  process.exit(2);
}
const env = {
  ...process.env,
  RINGSIDE_LONG: '1',
  RINGSIDE_FUZZ_MINUTES: values.minutes,
  RINGSIDE_FUZZ_SEED: values.seed,
};
const vitest = ['vitest', 'run', '--project', 'long', `test/long/${test}.test.ts`];
spawn('npx', vitest, { stdio: 'inherit', env }).on('close', (status) => {
  process.exitCode = status ?? 1;
});
