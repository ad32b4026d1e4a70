/**
 * VM entry as Bochs has it: for each rule the state that breaks it and the nearest one that does not, asked by a bare guest
 * on both. What Bochs printed is committed; `-u` writes it down anew.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { available, runSourceUnder } from '../support/judges.ts';
import { bootSourceFile } from '../support/source-guests.ts';
import { cases, casesInclude } from './judged/cases.ts';
import { differences } from './judged/differences.ts';

const file = (name: string): string => fileURLToPath(new URL(`judged/${name}`, import.meta.url));
const GUEST = file('entry-rules.asm');
const JUDGEMENT = file('entry-rules.txt');
/** Of Bochs's processors, one with much of VMX. */
const PROCESSOR = 'corei7_skylake_x';
const INSTRUCTIONS = 20_000_000;

const outcomes = (output: string): Map<string, string> =>
  new Map(
    output
      .trim()
      .split('\n')
      .map((line) => line.split(': ') as [string, string]),
  );

test('the guest asks what the tables of rules say', async () => {
  await expect(casesInclude()).toMatchFileSnapshot(file('entry-rules-cases.inc'));
});

test('every rule is asked about, unless there is a reason', () => {
  const silent = cases.filter(({ built, name }) => name.endsWith('broken') && built.lines.length === 0);
  expect(silent.filter(({ built }) => built.reason === undefined).map(({ name }) => name)).toEqual([]);
  expect(cases.length - silent.length).toBeGreaterThan(400);
});

test('Ringside does what Bochs does, but for differences that have reasons', () => {
  const { machine, output } = bootSourceFile(GUEST, { mode: 'protected' });
  expect(machine.run({ instructions: INSTRUCTIONS })).toMatchObject({ kind: 'exited', code: 0 });
  const [ours, judged] = [outcomes(output()), outcomes(readFileSync(JUDGEMENT, 'latin1'))];
  expect([...ours.keys()]).toEqual([...judged.keys()]);
  const differing = [...ours].filter(([name, outcome]) => judged.get(name) !== outcome).map(([name]) => name);
  expect(differing.sort()).toEqual(Object.keys(differences).sort());
});

test.skipIf(!available('nasm', 'bochs'))('Bochs', async () => {
  const { output } = await runSourceUnder('bochs', GUEST, PROCESSOR);
  // Its debugger has words of its own about guests without memory.
  await expect(output.replace(/^\(0\)\.\[.*\n/gm, '')).toMatchFileSnapshot(JUDGEMENT);
});
