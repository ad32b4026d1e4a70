/** The command line of the benchmark. */
import { parseArgs } from 'node:util';
import { guests, type Size } from './guests.ts';

export interface BenchOptions {
  readonly size: Size;
  readonly rounds: number;
  readonly guests: readonly string[];
  /** Names of peers, in small letters. */
  readonly peers: readonly string[];
  readonly latencies: boolean;
  readonly json: string | undefined;
}

export const PEERS = ['bochs', 'qemu', 'v86'] as const;

export const USAGE = `node test/bench/run.mjs [options]
  --quick            small sizes, Ringside alone: does everything compute rightly?
  --rounds N         rounds, of which the medians are printed (3; 1 if --quick)
  --only GUEST,…     these guests and no latencies: ${guests.map(({ name }) => name).join(', ')}
  --peers NAME,…     ${PEERS.join(', ')}, all or none (all; none if --quick)
  --json FILE        write all samples as JSON`;

/** @throws Error that says what was expected */
export function parseOptions(args: readonly string[]): BenchOptions | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      only: { type: 'string' },
      peers: { type: 'string' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  const names = guests.map(({ name }) => name);
  return {
    size: values.quick ? 'quick' : 'full',
    rounds: positiveInteger(values.rounds ?? (values.quick ? '1' : '3')),
    guests: values.only === undefined ? names : chosen('--only', values.only, names),
    peers: chosenPeers(values.peers ?? (values.quick ? 'none' : 'all')),
    latencies: values.only === undefined,
    json: values.json,
  };
}

function chosenPeers(text: string): readonly string[] {
  if (text === 'none') return [];
  return text === 'all' ? PEERS : chosen('--peers', text, PEERS);
}

function chosen(option: string, text: string, known: readonly string[]): readonly string[] {
  const names = text.split(',');
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new Error(`${option}: expected names among ${known.join(', ')}, found: ${unknown}`);
  }
  return names;
}

function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--rounds: expected a number from 1, found: ${text}`);
  return value;
}
