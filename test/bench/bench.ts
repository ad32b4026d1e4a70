/** `npm run bench`: speed of the guest programs beside other emulators, what debugging costs, and what a user waits for. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { available } from '../support/judges.ts';
import { armaments, NOTHING_ARMED } from './armament.ts';
import { compare, describeRegression, type Ratios, ratiosOf, readBaseline, writeBaseline } from './baseline.ts';
import type { Emulator } from './emulator.ts';
import { type Guest, guests } from './guests.ts';
import { type Latency, latencyTable, measureLatencies } from './latencies.ts';
import { joined, type Measurements, measureGuest } from './measure.ts';
import { type BenchOptions, parseOptions, USAGE } from './options.ts';
import { bochs, qemu, v86 } from './peers.ts';
import { RINGSIDE } from './ratios.ts';
import { armedTable, groupTable, guestTable, memoryTable } from './report.ts';
import { ringside } from './ringside.ts';

/** Where the repository is, and the bundles that run as processes of their own. */
export interface BenchFiles {
  readonly root: string;
  readonly ringsideProcess: string;
  readonly latencyProcess: string;
}

interface Results {
  readonly peers: readonly string[];
  readonly speed: Measurements;
  readonly armed: Measurements;
  readonly latencies: readonly Latency[];
}

/** How often each latency is measured. */
const LATENCIES = 9;
const QUICK_LATENCIES = 3;

const ARMAMENTS = [...armaments([]).keys()];
const [PLAIN = '', ...ARMED] = ARMAMENTS;

/** Returns the exit status: 1 if a guest failed or computed wrongly, or is too slow; 2 for a wrong command line. */
export async function main(args: readonly string[], files: BenchFiles): Promise<number> {
  let options: BenchOptions | 'help';
  try {
    options = parseOptions(args);
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${USAGE}`);
    return 2;
  }
  if (options === 'help') {
    console.log(USAGE);
    return 0;
  }
  return await run(options, files);
}

async function run(options: BenchOptions, files: BenchFiles): Promise<number> {
  const results = await measure(options, files);
  report(results, options);
  if (options.json !== undefined) writeFileSync(options.json, toJson(results));
  const tooSlow = holdAgainstBaseline(results, options, path.join(files.root, 'test/bench/baseline.json'));
  const { speed, armed, latencies } = results;
  const failed = [...speed.failures, ...armed.failures, ...latencies.filter(({ failure }) => failure !== undefined)];
  return failed.length > 0 || tooSlow ? 1 : 0;
}

async function measure(options: BenchOptions, files: BenchFiles): Promise<Results> {
  const { sections } = options;
  const peers = installedPeers(options.peers, files.root);
  const wanted = guests.filter(({ name }) => options.guests.includes(name));
  const beside = () => [ringside(files.ringsideProcess, RINGSIDE, NOTHING_ARMED), ...peers];
  const armed = ({ events = [] }: Guest) =>
    [...armaments(events)].map(([name, armament]) => ringside(files.ringsideProcess, name, armament));
  const armable = wanted.filter(({ events }) => events !== undefined);
  return {
    peers: peers.map(({ name }) => name),
    speed: await measureGuests(sections.includes('speed') ? wanted : [], beside, options, files),
    armed: await measureGuests(sections.includes('armed') ? armable : [], armed, ofArmed(options), files),
    latencies: sections.includes('latencies')
      ? await measureLatencies(files, options.size === 'quick' ? QUICK_LATENCIES : LATENCIES)
      : [],
  };
}

/** What starting costs is no matter of what is armed. */
const ofArmed = (options: BenchOptions): BenchOptions => ({
  ...options,
  size: options.size === 'quick' ? 'quick' : 'long',
});

function installedPeers(wanted: readonly string[], root: string): Emulator[] {
  const folder = path.join(root, 'test/bench');
  const known: Readonly<Record<string, Emulator>> = { bochs: bochs(folder), qemu, v86: v86(folder) };
  return wanted.flatMap((name) => {
    const peer = known[name];
    if (peer === undefined) return [];
    if (available(...peer.programs)) return [peer];
    console.error(`${peer.name} is left out: ${peer.programs.join(' and ')} must be installed`);
    return [];
  });
}

async function measureGuests(
  wanted: readonly Guest[],
  emulatorsOf: (guest: Guest) => Emulator[],
  { size, rounds, clock }: BenchOptions,
  { root }: BenchFiles,
): Promise<Measurements> {
  const all: Measurements[] = [];
  for (const guest of wanted) {
    const measured = await measureGuest(guest, {
      size,
      rounds,
      clock,
      emulators: emulatorsOf(guest),
      pathOf: ({ name }) => path.join(root, `test/bench/guests/${name}.elf`),
      progress: (text) => console.error(`… ${text}`),
    });
    all.push(measured);
  }
  return joined(all);
}

function report({ peers, speed, armed, latencies }: Results, options: BenchOptions): void {
  const how = howMeasured(options);
  const section = (title: string, table: string) => console.log(`${title}\n\n${table}\n`);
  const { samples, memory } = speed;
  if (samples.length > 0) section(`Millions of guest instructions a second (${how})`, guestTable(speed, peers));
  if (samples.length > 0 && peers.length > 0) section('How many times as fast', groupTable(samples, peers));
  if (samples.length > 0) section('Peak memory of the process in MiB', memoryTable(memory, [RINGSIDE, ...peers]));
  if (armed.samples.length > 0)
    section(`Armed runs as parts of a plain one (${howMeasured(ofArmed(options))})`, armedTable(armed, ARMAMENTS));
  if (latencies.length > 0) section('Latencies in milliseconds', latencyTable(latencies));
}

function howMeasured({ size, rounds, clock }: BenchOptions): string {
  const time = clock === 'cpu' ? ', processor time' : '';
  const turns = rounds === 1 ? 'one round' : `medians of ${rounds} rounds, taken in turn`;
  return `${size} size, ${turns}${time}`;
}

/** Returns whether something is far below the baseline, or nothing can be said. */
function holdAgainstBaseline(results: Results, options: BenchOptions, file: string): boolean {
  const ratios = allRatios(results);
  if (options.writeBaseline) writeBaseline(file, readBaseline(file), ratios);
  if (!options.check) return false;
  const { compared, regressions } = compare(readBaseline(file), ratios);
  console.log(`${compared} ratios held against the baseline: ${regressions.length} far below it`);
  for (const regression of regressions) console.log(`  ${describeRegression(regression)}`);
  return compared === 0 || regressions.length > 0;
}

function allRatios({ peers, speed, armed }: Results): Ratios {
  const ofArmed = ARMED.map((armament) => ratiosOf(armed.samples, armament, [PLAIN], `, ${armament}`));
  return Object.assign({}, ratiosOf(speed.samples, RINGSIDE, peers), ...ofArmed);
}

function toJson({ speed, armed, latencies }: Results): string {
  const plain = ({ samples, memory, failures }: Measurements) => ({
    works: samples.map((sample) => ({ ...sample, seconds: Object.fromEntries(sample.seconds) })),
    memory: memory.map(({ guest, peakMib }) => ({ guest, peakMib: Object.fromEntries(peakMib) })),
    failures,
  });
  return `${JSON.stringify({ speed: plain(speed), armed: plain(armed), latencies }, undefined, 2)}\n`;
}
