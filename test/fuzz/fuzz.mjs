// npm run fuzz -- [--minutes N] [--count C] [--seed S]: instructions and states of consecutive seeds against this CPU.
import { parseArgs } from 'node:util';
import { importBundled } from '../support/bundled.mjs';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    count: { type: 'string', default: 'Infinity' },
    seed: { type: 'string', default: '1' },
  },
});
for (const [name, value] of Object.entries(values)) {
  if (Number(value) > 0) continue;
  console.error(`--${name}: expected a number above 0, found ${value}`);
  process.exit(2);
}
const cache = new URL('../../node_modules/.cache/ringside-vectors/', import.meta.url);
const { fuzz, recorder } = await importBundled(new URL('main.ts', import.meta.url), cache);
const judge = recorder(cache, new URL('../vectors/record/', import.meta.url));
if (judge.modes.length === 0)
  console.log('no gcc on x86-64 Linux: the executions of the engine are held against one another only');
const numbers = { minutes: Number(values.minutes), count: Number(values.count), seed: Number(values.seed) };
const { cases, held, ends, findings } = fuzz({ ...numbers, ...judge, findings: 20 });
for (const finding of findings) console.log(finding);
console.log(`${cases} cases from seed ${values.seed}, ${held} held against this CPU, ${findings.length} differ:`, ends);
process.exitCode = findings.length > 0 ? 1 : 0;
