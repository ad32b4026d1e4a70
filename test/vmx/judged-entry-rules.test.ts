/**
 * VM entry as Bochs has it: for each rule the state that breaks it and the nearest one that does not, and random states that
 * break some, asked by a bare guest on both. What Bochs printed is committed; `-u` writes it down anew.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { available, runSourceUnder } from '../support/judges.ts';
import { bootSourceFile } from '../support/source-guests.ts';
import { type Case, cases, casesInclude, randomCases } from './judged/cases.ts';
import { differences, randomDifferences } from './judged/differences.ts';

const file = (name: string): string => fileURLToPath(new URL(`judged/${name}`, import.meta.url));
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

const guests: readonly (readonly [
  name: string,
  cases: readonly Case[],
  differences: Readonly<Record<string, string>>,
])[] = [
  ['entry-rules', cases, differences],
  ['entry-random', randomCases, randomDifferences],
];

describe.each(guests)('%s', (name, asked, known) => {
  const [guest, judgement] = [file(`${name}.asm`), file(`${name}.txt`)];

  test('the guest asks what the tables say', async () => {
    await expect(casesInclude(asked)).toMatchFileSnapshot(file(`${name}-cases.inc`));
  });

  test('Ringside does what Bochs does, but for differences that have reasons', () => {
    const { machine, output } = bootSourceFile(guest, { mode: 'protected' });
    expect(machine.run({ instructions: INSTRUCTIONS })).toMatchObject({ kind: 'exited', code: 0 });
    const [ours, judged] = [outcomes(output()), outcomes(readFileSync(judgement, 'latin1'))];
    expect([...ours.keys()]).toEqual([...judged.keys()]);
    const differing = [...ours].filter(([one, outcome]) => judged.get(one) !== outcome).map(([one]) => one);
    expect(differing.sort()).toEqual(Object.keys(known).sort());
  });

  test.skipIf(!available('nasm', 'bochs'))('Bochs', async () => {
    const { output } = await runSourceUnder('bochs', guest, PROCESSOR);
    // Its debugger has words of its own about guests without memory.
    await expect(output.replace(/^\(0\)\.\[.*\n/gm, '')).toMatchFileSnapshot(judgement);
  });
});

test('every rule is asked about, unless there is a reason', () => {
  const silent = cases.filter(({ built, name }) => name.endsWith('broken') && built.lines.length === 0);
  expect(silent.filter(({ built }) => built.reason === undefined).map(({ name }) => name)).toEqual([]);
  expect(cases.length - silent.length).toBeGreaterThan(400);
  expect(randomCases.length).toBeGreaterThan(200);
});
