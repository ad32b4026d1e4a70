/** A little of `npm run fuzz`: the engine against the CPU that this runs on, which needs gcc on x86-64 Linux. */
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { caseOf, codeOf } from './fuzz-case.ts';
import { fuzz, recorder } from './main.ts';
import { shrink } from './shrink.ts';

const folder = join(tmpdir(), `ringside-fuzz-${process.pid}`);
const judge = recorder(pathToFileURL(`${folder}/`), new URL('../vectors/record/', import.meta.url));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// Vectors were recorded on an AMD processor, and the table of what is not held against another one tells what AMD does.
test.skipIf(judge.modes.length === 0)('instructions and states of fixed seeds do as on the real CPU', () => {
  const { cases, held, findings } = fuzz({ minutes: 1, count: 700, seed: 1, findings: 3, ...judge });
  expect(findings).toEqual([]);
  expect(cases).toBe(700);
  expect(held, 'most of them can be held against it').toBeGreaterThan(350);
});

test('a case that is shrunk keeps what it was kept for, and nothing else', () => {
  const found = Array.from({ length: 100 }, (_, seed) => caseOf(seed)).find((one) => one.instructions.length > 3);
  if (!found) throw new Error('expected a long case among a hundred');
  const wanted = found.instructions[2];
  const small = shrink(found, ({ instructions }) => instructions.some((bytes) => bytes === wanted));
  expect([...codeOf(small)]).toEqual([...(wanted ?? [])]);
  expect(small.input.memory).toEqual([]);
  expect(small.input.flags).toBe(0x202);
});
