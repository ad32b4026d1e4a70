/** The command line of the benchmark. */
import { parseArgs } from 'node:util';
import { CLOCKS, type Clock } from './clock.ts';
import { guests, type Size } from './guests.ts';

export interface BenchOptions {
  readonly size: Size;
  readonly rounds: number;
  readonly clock: Clock;
  readonly guests: readonly string[];
  /** Names of peers, in small letters. */
  readonly peers: readonly string[];
  readonly sections: readonly Section[];
  readonly check: boolean;
  readonly writeBaseline: boolean;
  readonly json: string | undefined;
}

export const PEERS = ['bochs', 'qemu', 'v86'] as const;

/** What can be measured: guests beside peers, guests armed as in a debug session beside plain ones, what a user waits for. */
export const SECTIONS = ['speed', 'armed', 'latencies'] as const;
export type Section = (typeof SECTIONS)[number];

export const USAGE = `node test/bench/run.mjs [options]
  --quick            small sizes, Ringside alone: does everything compute rightly?
  --rounds N         rounds, of which the medians are printed (3; 1 if --quick)
  --clock NAME       ${CLOCKS.join(' or ')}: time as it passes (default), or processor time, for busy computers (Linux)
  --only GUEST,…     these guests: ${guests.map(({ name }) => name).join(', ')}
  --sections NAME,…  ${SECTIONS.join(', ')} (all; speed if --only; no armed if --quick)
  --peers NAME,…     ${PEERS.join(', ')}, all or none (all; none if --quick)
  --check            fail if ratios are far below those in baseline.json
  --write-baseline   put the ratios into baseline.json
  --json FILE        write all samples as JSON`;

/** @throws Error that says what was expected */
export function parseOptions(args: readonly string[]): BenchOptions | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      clock: { type: 'string', default: 'wall' },
      only: { type: 'string' },
      peers: { type: 'string' },
      sections: { type: 'string' },
      check: { type: 'boolean', default: false },
      'write-baseline': { type: 'boolean', default: false },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  const names = guests.map(({ name }) => name);
  const { check, 'write-baseline': writeBaseline, quick } = values;
  if (quick && (check || writeBaseline)) throw new Error('the baseline is of the full size: expected no --quick');
  const clock = chosenOne('--clock', values.clock, CLOCKS);
  if (quick && clock === 'cpu') throw new Error('processor time is too coarse for small sizes: expected no --quick');
  return {
    size: quick ? 'quick' : 'full',
    rounds: positiveInteger(values.rounds ?? (quick ? '1' : '3')),
    clock,
    guests: values.only === undefined ? names : chosen('--only', values.only, names),
    peers: chosenPeers(values.peers ?? (quick ? 'none' : 'all')),
    sections: chosenSections(values.sections ?? defaultSections(quick, values.only !== undefined)),
    check,
    writeBaseline,
    json: values.json,
  };
}

function chosenPeers(text: string): readonly string[] {
  if (text === 'none') return [];
  return text === 'all' ? PEERS : chosen('--peers', text, PEERS);
}

function defaultSections(quick: boolean, isChosen: boolean): string {
  if (isChosen) return 'speed';
  return quick ? 'speed,latencies' : 'all';
}

function chosenSections(text: string): readonly Section[] {
  return text === 'all' ? SECTIONS : chosen('--sections', text, SECTIONS);
}

function chosen<T extends string>(option: string, text: string, known: readonly T[]): readonly T[] {
  return text.split(',').map((name) => chosenOne(option, name, known));
}

function chosenOne<T extends string>(option: string, name: string, known: readonly T[]): T {
  const found = known.find((one) => one === name);
  if (found === undefined) throw new Error(`${option}: expected names among ${known.join(', ')}, found: ${name}`);
  return found;
}

function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--rounds: expected a number from 1, found: ${text}`);
  return value;
}
