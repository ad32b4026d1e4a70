/** Times that a user waits for, in milliseconds. */
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { DebugClient } from '@vscode/debugadapter-testsupport';
import { readExpected } from '../samples/judges.ts';
import type { BenchFiles } from './bench.ts';
import { number, table } from './report.ts';
import { quantile } from './statistics.ts';

export interface Latency {
  readonly what: string;
  /** Empty if it could not be measured. */
  readonly ms: readonly number[];
  readonly failure?: string;
}

const SAMPLE = 'rings';
/** The sample runs for longer. */
const STEPS = 100;
const TIME_LIMIT_MS = 30_000;

/** What is shipped is measured as it is shipped, so it must have been built before. */
export async function measureLatencies(files: BenchFiles, runs: number): Promise<Latency[]> {
  const program = path.join(files.root, `samples/${SAMPLE}/${SAMPLE}.asm`);
  const processes = [
    { file: 'dist/ringside.js', what: `cold start: ringside run ${SAMPLE}, to its end`, once: coldRun },
    { file: 'dist/debug-adapter.js', what: `F5 on ${SAMPLE} to the first stop, with a new adapter`, once: firstStop },
  ];
  const latencies: Latency[] = [];
  for (const { file, what, once } of processes) {
    const script = path.join(files.root, file);
    if (existsSync(script)) latencies.push(await repeat(what, runs, () => once(script, program)));
    else console.error(`left out, as ${file} has not been built: ${what}`);
  }
  const adapter = path.join(files.root, 'dist/debug-adapter.js');
  if (existsSync(adapter)) latencies.push(...(await stepLatencies(adapter, program)));
  return [...latencies, ...(await inProcess(files, runs))];
}

export function latencyTable(latencies: readonly Latency[]): string {
  const rows = latencies.map(({ what, ms, failure }) =>
    failure !== undefined || ms.length === 0
      ? [what, 'failed', '', '']
      : [what, `${ms.length}`, number(quantile(ms, 0.5)), number(quantile(ms, 0.99))],
  );
  const failed = latencies.filter(({ failure }) => failure !== undefined);
  const lines = failed.map(({ what, failure }) => `\n${what}: ${failure}`);
  return [table(['what', 'samples', 'median', '99 %'], rows), ...lines].join('\n');
}

/** From the request to step to the `stopped` event, in a session that VS Code could drive; forth, and the same back. */
async function stepLatencies(script: string, program: string): Promise<Latency[]> {
  const forth = { what: `a step in ${SAMPLE} by the adapter, from the request to the stop`, ms: [] as number[] };
  const back = { what: `a step back in ${SAMPLE} by the adapter`, ms: [] as number[] };
  const granularity = 'instruction';
  try {
    await inSession(script, program, async (client) => {
      for (const { latency, command } of [
        { latency: forth, command: 'stepIn' },
        { latency: back, command: 'stepBack' },
      ]) {
        for (let step = 0; step < STEPS; step++) {
          const started = performance.now();
          const stopped = client.waitForEvent('stopped');
          await client.send(command, { threadId: 1, granularity });
          await stopped;
          latency.ms.push(performance.now() - started);
        }
      }
    });
    return [forth, back];
  } catch (error) {
    return [forth, { ...back, failure: messageOf(error) }];
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function repeat(what: string, runs: number, once: () => Promise<number>): Promise<Latency> {
  const ms: number[] = [];
  try {
    for (let run = 0; run < runs; run++) ms.push(await once());
    return { what, ms };
  } catch (error) {
    return { what, ms, failure: messageOf(error) };
  }
}

/** From the start of the process to its end, which is that of the guest. */
function coldRun(script: string, program: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(process.execPath, [script, 'run', program], { stdio: 'ignore', timeout: TIME_LIMIT_MS });
    child.on('error', reject);
    child.on('close', (status) => {
      const { exitCode } = readExpected(SAMPLE);
      if (status === exitCode) resolve(performance.now() - started);
      else reject(new Error(`expected exit status ${exitCode}, found ${status}`));
    });
  });
}

/** From the start of the adapter's process to its `stopped` event, as VS Code drives it. */
async function firstStop(script: string, program: string): Promise<number> {
  const started = performance.now();
  return await inSession(script, program, async () => performance.now() - started);
}

/** Launches the program in a new adapter, and does something at the first stop. */
async function inSession<T>(script: string, program: string, work: (client: DebugClient) => Promise<T>): Promise<T> {
  const client = new DebugClient('node', script, 'ringside');
  client.defaultTimeout = TIME_LIMIT_MS;
  await client.start();
  try {
    await Promise.all([
      client.waitForEvent('stopped'),
      client.configurationSequence(),
      client.launch(launchArguments(program)),
    ]);
    return await work(client);
  } finally {
    await client.stop();
  }
}

function launchArguments(program: string) {
  return { type: 'ringside', request: 'launch', name: 'bench', program, stopOnEntry: true, noDebug: false };
}

/** What is measured inside of a process of its own, where nothing has been warmed up. */
async function inProcess({ root, latencyProcess }: BenchFiles, runs: number): Promise<Latency[]> {
  const options = { timeout: TIME_LIMIT_MS * 10, maxBuffer: 64 * 1024 * 1024 };
  const { stdout } = await promisify(execFile)(process.execPath, [latencyProcess, root, `${runs}`], options);
  return JSON.parse(stdout);
}
