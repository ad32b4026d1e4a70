/**
 * Latencies inside of one process: assembling the samples, creating a machine, stepping.
 * `node latency-process.mjs ROOT RUNS` prints them as JSON.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { assembleProgram } from '../../debug-adapter/assemble-program.ts';
import { HistoryKeeper } from '../../debug-adapter/session/run/history-keeper.ts';
import { bootGuest } from '../support/guests.ts';
import type { Latency } from './latencies.ts';

const STEPS = 1000;
const STEPS_BACK = 100;
const BACK_FROM = 400_000_000;
const [root = '.', runs = '1'] = process.argv.slice(2);
const samples = path.join(root, 'samples');
const sources = readdirSync(samples).flatMap((name) => {
  const source = path.join(samples, name, `${name}.asm`);
  return existsSync(source) ? [source] : [];
});
const files = { read: async (file: string) => new Uint8Array(readFileSync(file)) };

async function timed(work: () => Promise<unknown> | unknown): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

async function assembleAll(): Promise<void> {
  for (const source of sources) {
    const { diagnostics } = await assembleProgram(source, readFileSync(source, 'utf8'), files);
    const error = diagnostics.find(({ severity }) => severity === 'error');
    if (error !== undefined) throw new Error(`${source}:${error.line}: ${error.message}`);
  }
}

/** Steps through a sample, from its start again when it has ended. */
async function stepLatencies(name: string): Promise<number[]> {
  const boot = async () => (await bootGuest(path.join(samples, name, `${name}.asm`))).machine;
  const ms: number[] = [];
  for (let machine = await boot(); ms.length < STEPS; ) {
    const started = performance.now();
    const stop = machine.step();
    ms.push(performance.now() - started);
    if (stop.kind === 'unimplemented') throw new Error(`${name} asked for ${stop.what}`);
    if (stop.kind !== 'limit') machine = await boot();
  }
  return ms;
}

/** Steps back from behind so many instructions of a benchmark guest, kept as a session keeps them. */
async function stepBackLatencies(elf: string): Promise<number[]> {
  const { machine } = await bootGuest(path.join(root, 'test/bench/guests', elf), { commandLine: 'x=1' });
  const keeper = new HistoryKeeper(machine.history, true);
  keeper.begin();
  while (machine.instructionCount < BACK_FROM) {
    const stop = machine.run({ instructions: 5_000_000 });
    if (stop.kind !== 'limit') throw new Error(`${elf} ended: ${stop.kind}`);
    keeper.sliced();
  }
  const ms: number[] = [];
  for (let step = 0; step < STEPS_BACK; step++) ms.push(await timed(() => machine.history.stepBack()));
  return ms;
}

async function repeated(work: () => Promise<unknown>): Promise<number[]> {
  const ms: number[] = [];
  for (let run = 0; run < Number(runs); run++) ms.push(await timed(work));
  return ms;
}

async function latency(what: string, measure: () => Promise<number[]>): Promise<Latency> {
  try {
    return { what, ms: await measure() };
  } catch (error) {
    return { what, ms: [], failure: error instanceof Error ? error.message : String(error) };
  }
}

const rings = path.join(samples, 'rings', 'rings.asm');
const results = [
  await latency('assembling all samples, the first time', async () => [await timed(assembleAll)]),
  await latency('assembling all samples, again', () => repeated(assembleAll)),
  await latency('loading rings and creating its machine, the first time', async () => [
    await timed(() => bootGuest(rings)),
  ]),
  await latency('loading rings and creating its machine, again', () => repeated(() => bootGuest(rings))),
  await latency('a step in rings', () => stepLatencies('rings')),
  await latency('a step in tiny-hypervisor', () => stepLatencies('tiny-hypervisor')),
  await latency('the first step back after 400 M instructions of alu64', async () =>
    (await stepBackLatencies('alu64.elf')).slice(0, 1),
  ),
  await latency('the steps back after it', async () => (await stepBackLatencies('alu64.elf')).slice(1)),
];
process.stdout.write(JSON.stringify(results));
