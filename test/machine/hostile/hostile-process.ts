/**
 * The process that checks hostile guests, so that one that hangs the engine can be killed: `node hostile-process.js
 * FIRST-SEED SECONDS [COUNT]`. Before each guest its seed is written to stdout; the last line is a summary in JSON. A
 * finding goes to stderr and ends the process with status 1.
 */
import { checkGuest } from './check-guest.ts';
import { hostileGuest } from './hostile-guest.ts';

export interface HostileSummary {
  readonly guests: number;
  readonly instructions: number;
  /** How many guests ended in which way. */
  readonly stops: Readonly<Record<string, number>>;
}

async function checkGuests(first: number, seconds: number, count: number): Promise<HostileSummary> {
  const stops: Record<string, number> = {};
  let instructions = 0;
  let guests = 0;
  const begun = performance.now();
  for (; guests < count && performance.now() - begun < seconds * 1000; guests++) {
    process.stdout.write(`${first + guests}\n`);
    const outcome = checkGuest(await hostileGuest(first + guests));
    const { kind } = outcome.stop.startsWith('{') ? JSON.parse(outcome.stop) : { kind: outcome.stop };
    stops[kind] = (stops[kind] ?? 0) + 1;
    instructions += outcome.instructions;
  }
  return { guests, instructions, stops };
}

const [first = 1, seconds = 60, count = Number.POSITIVE_INFINITY] = process.argv.slice(2).map(Number);
checkGuests(first, seconds, count).then(
  (summary) => process.stdout.write(`${JSON.stringify(summary)}\n`),
  (error) => {
    process.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
    process.exitCode = 1;
  },
);
