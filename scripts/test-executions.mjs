/**
 * Runs the tests of guests twice: with the interpreter alone, and with everything compiled that is met. What is named after
 * it is run in place of all of them: `npm run test:executions -- test/vmx`.
 */
import { spawnSync } from 'node:child_process';

/** The tests that run guests, but for those of the executions themselves, which choose by themselves. */
const GUESTS = ['cpu', 'devices', 'machine', 'mmu', 'samples', 'svm', 'system', 'vmm', 'vmx'].map(
  (folder) => `test/${folder}/`,
);

const chosen = process.argv.slice(2);
let status = 0;
for (const execution of ['interpreter', 'compiler']) {
  console.log(`\n${execution}:`);
  const files = chosen.length > 0 ? chosen : GUESTS;
  const { status: ended } = spawnSync('npx', ['vitest', 'run', '--project', 'unit', ...files], {
    env: { ...process.env, RINGSIDE_EXECUTION: execution },
    stdio: 'inherit',
  });
  status ||= ended ?? 1;
}
process.exit(status);
