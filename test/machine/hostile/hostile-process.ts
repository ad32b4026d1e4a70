/**
 * The process that checks hostile guests, so that one that hangs the engine can be killed: `node hostile-process.mjs
 * FIRST COUNT SECONDS`. Before each guest its seed is written to stdout; the last line is a JSON summary. Status 1: a finding.
 */
import { checkGuest } from './check-guest.ts';
import { hostileGuest } from './hostile-guest.ts';

const [first = 0, count = 1, seconds = 60] = process.argv.slice(2).map(Number);
const keepGoing = process.env.RINGSIDE_HOSTILE_ALL === '1';
const begun = performance.now();
const stops: Record<string, number> = {};
let instructions = 0;
let guests = 0;
for (let seed = first; seed < first + count && performance.now() - begun < seconds * 1000; seed++) {
  process.stdout.write(`${seed}\n`);
  try {
    const outcome = checkGuest(await hostileGuest(seed));
    const { kind, what } = outcome.stop.startsWith('{') ? JSON.parse(outcome.stop) : { kind: outcome.stop };
    const name = what === undefined ? kind : `${kind}: ${what}`;
    stops[name] = (stops[name] ?? 0) + 1;
    instructions += outcome.instructions;
    guests++;
  } catch (error) {
    process.stderr.write(`seed ${seed}: ${error instanceof Error ? (error.stack ?? error.message) : error}\n`);
    process.exitCode = 1;
    if (!keepGoing) break;
  }
}
process.stdout.write(`${JSON.stringify({ guests, instructions, stops })}\n`);
