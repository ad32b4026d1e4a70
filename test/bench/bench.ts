/** `npm run bench`: speed of the guest programs beside other emulators, and the latencies that a user feels. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { available } from '../samples/judges.ts';
import type { Emulator } from './emulator.ts';
import { guests } from './guests.ts';
import { type Latency, latencyTable, measureLatencies } from './latencies.ts';
import { type Measurements, measureGuest } from './measure.ts';
import { type BenchOptions, parseOptions, USAGE } from './options.ts';
import { bochs, qemu, v86 } from './peers.ts';
import { guestTable } from './report.ts';
import { ringside } from './ringside.ts';

/** Where the repository is, and the bundles that run as processes of their own. */
export interface BenchFiles {
  readonly root: string;
  readonly ringsideProcess: string;
  readonly latencyProcess: string;
}

/** Returns the exit status: 1 if a guest failed or computed wrongly, 2 for a wrong command line. */
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
  const peers = installedPeers(options.peers, files.root);
  const measured = await measureGuests(options, files, peers);
  const names = peers.map(({ name }) => name);
  const rounds = options.rounds === 1 ? 'one round' : `medians of ${options.rounds} rounds, emulators in turn`;
  console.log(`Millions of guest instructions a second (${options.size} size, ${rounds})\n`);
  console.log(guestTable(measured, names));
  const latencies = options.latencies ? await measureLatencies(files, options.size) : [];
  if (latencies.length > 0) console.log(`\nLatencies in milliseconds\n\n${latencyTable(latencies)}`);
  if (options.json !== undefined) writeFileSync(options.json, toJson(measured, latencies));
  return measured.failures.length > 0 || latencies.some(({ failure }) => failure !== undefined) ? 1 : 0;
}

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

async function measureGuests(options: BenchOptions, files: BenchFiles, peers: readonly Emulator[]) {
  const all: Measurements[] = [];
  for (const guest of guests.filter(({ name }) => options.guests.includes(name))) {
    const measured = await measureGuest(guest, {
      size: options.size,
      rounds: options.rounds,
      emulators: [ringside(files.ringsideProcess), ...peers],
      pathOf: ({ name }) => path.join(files.root, `test/bench/guests/${name}.elf`),
      progress: (text) => console.error(`… ${text}`),
    });
    all.push(measured);
  }
  return { samples: all.flatMap(({ samples }) => samples), failures: all.flatMap(({ failures }) => failures) };
}

function toJson({ samples, failures }: Measurements, latencies: readonly Latency[]): string {
  const works = samples.map((sample) => ({ ...sample, seconds: Object.fromEntries(sample.seconds) }));
  return `${JSON.stringify({ works, failures, latencies }, undefined, 2)}\n`;
}
