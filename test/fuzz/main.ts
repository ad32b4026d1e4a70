/** The fuzzer of instruction bytes and states; see CONTRIBUTING.md. Run by fuzz.mjs. */
import { fileURLToPath } from 'node:url';
import type { Mode } from '../vectors/read-vectors.ts';
import { canExecute, canRecord, compileRecorder } from '../vectors/record/harness.ts';
import { caseOf, type FuzzCase } from './fuzz-case.ts';
import { FuzzMachines, type Run } from './fuzz-machine.ts';
import { compare, recordCases, rowOf } from './judge.ts';
import { shrink } from './shrink.ts';

export interface FuzzOptions {
  readonly minutes: number;
  readonly count: number;
  readonly seed: number;
  /** The recorder, and the modes that it runs in; no mode where there is none. */
  readonly program: string;
  readonly modes: readonly Mode[];
  /** After how many findings to give up. */
  readonly findings: number;
}

export interface Tally {
  cases: number;
  held: number;
  readonly ends: Record<string, number>;
  readonly findings: string[];
}

const BATCH = 1000;

export function fuzz({ minutes, count, seed, program, modes, findings }: FuzzOptions): Tally {
  const tally: Tally = { cases: 0, held: 0, ends: {}, findings: [] };
  const machines = new FuzzMachines();
  const end = performance.now() + minutes * 60_000;
  while (tally.cases < count && performance.now() < end && tally.findings.length < findings) {
    const size = Math.min(BATCH, count - tally.cases);
    const batch = Array.from({ length: size }, (_, n) => caseOf(seed + tally.cases + n));
    const runs = batch.map((one) => runOf(machines, one));
    for (const [n, { end: how, what, disagreements }] of runs.entries()) {
      const name = what ?? how;
      tally.ends[name] = (tally.ends[name] ?? 0) + 1;
      if (disagreements.length > 0) tally.findings.push(tellDisagreement(machines, batch[n] as FuzzCase));
    }
    for (const mode of modes) holdBatch({ program, machines, tally }, mode, batch, runs);
    tally.cases += size;
  }
  return tally;
}

function runOf(machines: FuzzMachines, one: FuzzCase): Run {
  try {
    return machines.run(one);
  } catch (error) {
    throw new Error(`seed ${one.seed}: the engine failed`, { cause: error });
  }
}

interface Judge {
  readonly program: string;
  readonly machines: FuzzMachines;
  readonly tally: Tally;
}

function holdBatch({ program, machines, tally }: Judge, mode: Mode, batch: readonly FuzzCase[], runs: Run[]): void {
  const chosen = batch.flatMap((one, n) => {
    const run = runs[n];
    return run && one.mode === mode && isHeld(run) ? [{ one, run }] : [];
  });
  const outcomes = recordCases(
    program,
    mode,
    chosen.map(({ one }) => one),
  );
  tally.held += chosen.length;
  for (const [n, { one, run }] of chosen.entries()) {
    const outcome = outcomes[n];
    const found = outcome ? compare(one, run, outcome) : [];
    if (found.length > 0) tally.findings.push(tell(program, machines, one, found.join('; ')));
  }
}

export const isHeld = ({ end, notHeld }: Run): boolean => end === 'ended' && notHeld === undefined;

/** A case that the engine's executions end in different ways, shrunk, as text. */
function tellDisagreement(machines: FuzzMachines, one: FuzzCase): string {
  const small = shrink(one, (candidate) => machines.run(candidate).disagreements.length > 0);
  const { executed, disagreements, outcome, flagsMask } = machines.run(small);
  const what = disagreements.length > 0 ? disagreements : ['differs in company only'];
  const row = rowOf(small, { ...small.input, rip: outcome.rip }, flagsMask);
  return [`seed ${one.seed}, ${one.mode}-bit, ${executed.join('; ')}:`, ...what, row].join('\n');
}

/** The case shrunk, as text. */
function tell(program: string, machines: FuzzMachines, one: FuzzCase, first: string): string {
  const differing = (candidate: FuzzCase) => {
    const run = machines.run(candidate);
    if (!isHeld(run)) return undefined;
    const [outcome] = recordCases(program, candidate.mode, [candidate]);
    const found = outcome ? compare(candidate, run, outcome) : [];
    return outcome && found.length > 0 ? { run, outcome, found } : undefined;
  };
  const small = shrink(one, (candidate) => differing(candidate) !== undefined);
  const last = differing(small);
  if (!last) return `seed ${one.seed}: differs in company only: ${first}`;
  const { run, outcome, found } = last;
  return `seed ${one.seed}, ${one.mode}-bit, ${run.executed.join('; ')}: ${found.join('; ')}\n${rowOf(small, outcome, run.flagsMask)}`;
}

/** The recorder, where it can be had. */
export function recorder(cache: URL, sources: URL): Pick<FuzzOptions, 'program' | 'modes'> {
  if (!canRecord()) return { program: '', modes: [] };
  const program = compileRecorder(fileURLToPath(cache), sources);
  return { program, modes: ([64, 32, 16] as const).filter((mode) => canExecute(program, mode)) };
}
