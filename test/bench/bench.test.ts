/** The parts of the benchmark that could make its figures wrong. */
import { describe, expect, test } from 'vitest';
import type { Emulator, GuestRun } from './emulator.ts';
import { type Guest, guests } from './guests.ts';
import { measureGuest } from './measure.ts';
import { parseOptions } from './options.ts';
import { guestTable } from './report.ts';
import { geometricMean, median, quantile } from './statistics.ts';
import { WorkMarks } from './work-marks.ts';

const CHECKSUM = '4cfb3991587af0ef';

describe('work marks', () => {
  test('the time and instructions between the end of @B and the start of @E count, however the text is cut', () => {
    const marks = new WorkMarks();
    const at = (ms: number) => ({ ms, instructions: ms * 10 });
    marks.feed('@B a', at(1));
    marks.feed('lu\n', at(100));
    marks.feed('@', at(350));
    marks.feed(`E alu iters=5 tsc=1 ck=${CHECKSUM}\n@X exit 0\n`, at(400));
    const work = { name: 'alu', seconds: 0.25, iterations: 5, checksum: CHECKSUM, instructions: 2500 };
    expect(marks.works).toEqual([work]);
    expect(marks.failure('ended')).toBeUndefined();
  });

  test('a guest that does not exit failed, and its last words are told', () => {
    const marks = new WorkMarks();
    marks.feed('FAIL no VMX\n@B walk\n', { ms: 0, instructions: undefined });
    expect(marks.failure('stopped')).toBe("stopped during walk; the guest's last words: FAIL no VMX");
  });

  test('an end without its beginning is an error', () => {
    expect(() => new WorkMarks().feed('@E alu iters=1 ck=0\n', { ms: 0, instructions: 0 })).toThrow('without its @B');
  });
});

describe('measuring', () => {
  const guest: Guest = {
    name: 'toy',
    group: 'integer',
    needs: [],
    commandLine: { full: '', quick: '' },
    works: { alu: [CHECKSUM, CHECKSUM] },
  };
  const machine = (name: string, ...runs: GuestRun[]): Emulator => ({
    name,
    programs: [],
    lacks: [],
    run: async () => runs.shift() ?? { works: [], failure: 'no more runs' },
  });
  const run = (seconds: number, checksum = CHECKSUM, instructions: number | undefined = 1e6): GuestRun => ({
    works: [{ name: 'alu', seconds, iterations: 1, checksum, instructions }],
    failure: undefined,
  });
  const measure = (...emulators: Emulator[]) =>
    measureGuest(guest, { size: 'full', rounds: 3, emulators, pathOf: () => '', progress: () => {} });

  test('speeds are medians, and ratios say how many times as fast Ringside is', async () => {
    const measured = await measure(
      machine('Ringside', run(0.01), run(0.02), run(9)),
      machine('Peer', run(0.04), run(0.1), run(0.01)),
    );
    expect(measured.failures).toEqual([]);
    expect(guestTable(measured, ['Peer'])).toContain('| toy · alu          |       1 |       50 |   25 |     2.00 |');
  });

  test('a wrong checksum is a failure, and says both', async () => {
    const { failures } = await measure(machine('Ringside', run(1, '0000000000000bad')));
    expect(failures[0]?.message).toBe(`alu computed 0000000000000bad, expected ${CHECKSUM}`);
  });

  test('the instructions of a work must be the same in every run', async () => {
    const { failures } = await measure(machine('Ringside', run(1), run(1, CHECKSUM, 5)));
    expect(failures[0]?.message).toContain('5 instructions, in an earlier run 1000000');
  });

  test('work that is left out is a failure', async () => {
    const { failures } = await measure(machine('Ringside', { works: [], failure: undefined }));
    expect(failures[0]?.message).toBe('alu was not done');
  });
});

describe('options', () => {
  test('by default all guests are measured beside all peers', () => {
    const options = parseOptions([]);
    expect(options).toMatchObject({ size: 'full', rounds: 3, peers: ['bochs', 'qemu', 'v86'], latencies: true });
    expect(options === 'help' ? [] : options.guests).toEqual(guests.map(({ name }) => name));
  });

  test('names that do not exist are told', () => {
    expect(() => parseOptions(['--only', 'alu64,pdp11'])).toThrow('found: pdp11');
    expect(() => parseOptions(['--rounds', '0'])).toThrow('expected a number from 1');
  });
});

test('statistics', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([1, 2])).toBe(1.5);
  expect(quantile([0, 10], 0.9)).toBe(9);
  expect(geometricMean([1, 4])).toBeCloseTo(2);
});
