/** The parts of the benchmark that could make its figures wrong. */
import { describe, expect, test } from 'vitest';
import { stopFilters } from '../../engine/index.ts';
import { bootSource } from '../support/source-guests.ts';
import { ArmedRun, armaments, NOTHING_ARMED, readViews } from './armament.ts';
import { compare, describeRegression, ratiosOf } from './baseline.ts';
import { ownMs, processMs } from './clock.ts';
import type { Emulator, GuestRun } from './emulator.ts';
import { type Feature, type Guest, guests } from './guests.ts';
import { measureGuest } from './measure.ts';
import { parseOptions } from './options.ts';
import { armedTable, groupTable, guestTable, memoryTable } from './report.ts';
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
    works: { alu: { full: CHECKSUM, quick: CHECKSUM } },
  };
  const machine = (name: string, ...runs: GuestRun[]): Emulator => ({
    name,
    programs: [],
    lacks: [],
    run: async () => runs.shift() ?? { works: [], failure: 'no more runs', peakMib: undefined },
  });
  const run = (seconds: number, checksum = CHECKSUM, instructions: number | undefined = 1e6): GuestRun => ({
    works: [{ name: 'alu', seconds, iterations: 1, checksum, instructions }],
    failure: undefined,
    peakMib: seconds * 1000,
  });
  const measure = (...emulators: Emulator[]) =>
    measureGuest(guest, { size: 'full', rounds: 3, clock: 'wall', emulators, pathOf: () => '', progress: () => {} });

  test('speeds are medians, and ratios say how many times as fast Ringside is', async () => {
    const measured = await measure(
      machine('Ringside', run(0.01), run(0.02), run(9)),
      machine('Peer', run(0.04), run(0.1), run(0.01)),
    );
    expect(measured.failures).toEqual([]);
    expect(guestTable(measured, ['Peer'])).toContain('| toy · alu    |       1 |       50 |   25 |   2.00 |');
  });

  test('beside Debian’s Bochs, a fast one is told by how much faster it is', async () => {
    const measured = await measure(
      machine('Ringside', run(1), run(1), run(1)),
      machine('Bochs', run(9), run(9), run(9)),
    );
    const asAlu = measured.samples.map((sample) => ({ ...sample, guest: 'alu64' }));
    const [head, , row] = guestTable({ ...measured, samples: asAlu }, ['Bochs']).split('\n');
    expect(head).toMatch(/× Bochs \| × fast Bochs \|$/);
    expect(row).toMatch(/ 9\.00 \| +2\.67 \|$/);
  });

  test('geometric means are told by group, and what is lowest', async () => {
    const { samples } = await measure(
      machine('Ringside', run(1), run(1), run(1)),
      machine('Peer', run(4), run(4), run(4)),
    );
    const [sample] = samples;
    const other = {
      ...sample,
      group: 'rings',
      seconds: new Map([
        ['Ringside', [1]],
        ['Peer', [9]],
      ]),
    } as typeof sample;
    const lines = groupTable([...samples, ...(other ? [other] : [])], ['Peer', 'None']).split('\n');
    const figures = lines.slice(2).map((line) =>
      line
        .split('|')
        .map((cell) => cell.trim())
        .slice(1, -1),
    );
    expect(figures).toEqual([
      ['integer', '4.00', '–'],
      ['rings', '9.00', '–'],
      ['**all works**', '6.00', '–'],
      ['the lowest', '4.00', '–'],
    ]);
  });

  test('peaks of memory are medians', async () => {
    const { memory } = await measure(machine('Ringside', run(0.1), run(0.2), run(0.9)));
    expect(memoryTable(memory, ['Ringside', 'Peer'])).toContain('| toy   |      200 |    – |');
  });

  test('armed runs are told as parts of the plain one', async () => {
    const measured = await measure(
      machine('plain', run(0.01), run(0.01), run(0.01)),
      machine('breakpoint', run(0.02), run(0.02), run(0.02)),
    );
    expect(armedTable(measured, ['plain', 'breakpoint'])).toContain('| toy · alu          |   100 |       0.50 |');
  });

  test('a machine is not asked for what it lacks', async () => {
    const lacking = { ...machine('Peer', run(1)), lacks: ['VMX'] satisfies Feature[] };
    const { samples } = await measureGuest(
      { ...guest, needs: ['VMX'] },
      {
        size: 'full',
        rounds: 1,
        clock: 'wall',
        emulators: [machine('Ringside', run(1)), lacking],
        pathOf: () => '',
        progress() {},
      },
    );
    expect([...(samples[0]?.seconds.keys() ?? [])]).toEqual(['Ringside']);
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
    const { failures } = await measure(machine('Ringside', { works: [], failure: undefined, peakMib: undefined }));
    expect(failures[0]?.message).toBe('alu was not done');
  });
});

describe('clocks', () => {
  const spin = (ms: number): void => {
    for (const end = ownMs('wall') + ms; ownMs('wall') < end; );
  };
  /** Uses at least so many milliseconds of the processor. */
  const use = (ms: number): void => {
    for (const before = ownMs('cpu'); ownMs('cpu') < before + ms; ) spin(2);
  };

  test('processor time goes on as it is used', () => {
    const before = ownMs('cpu');
    use(10);
    expect(ownMs('cpu')).toBeGreaterThanOrEqual(before + 10);
  });

  test.runIf(process.platform === 'linux')('that of another process is told by the system', () => {
    const [own, told] = [ownMs('cpu'), processMs('cpu', process.pid)];
    use(100);
    const part = (processMs('cpu', process.pid) - told) / (ownMs('cpu') - own);
    // Threads that have ended are in the one figure only.
    expect(part).toBeGreaterThan(0.25);
    expect(part).toBeLessThan(4);
  });
});

describe('options', () => {
  test('by default all guests are measured beside all peers', () => {
    const options = parseOptions([]);
    expect(options).toMatchObject({ size: 'full', rounds: 3, peers: ['bochs', 'qemu', 'v86'], check: false });
    expect(options === 'help' ? [] : options.guests).toEqual(guests.map(({ name }) => name));
  });

  test('chosen guests are measured for their speed, unless sections are chosen', () => {
    expect(parseOptions([])).toMatchObject({ sections: ['speed', 'armed', 'latencies'] });
    expect(parseOptions(['--quick'])).toMatchObject({ sections: ['speed', 'latencies'] });
    expect(parseOptions(['--only', 'alu64'])).toMatchObject({ sections: ['speed'] });
    expect(parseOptions(['--only', 'alu64', '--sections', 'armed'])).toMatchObject({ sections: ['armed'] });
  });

  test('quick runs are not held against the baseline, nor timed in processor time', () => {
    expect(() => parseOptions(['--quick', '--check'])).toThrow('expected no --quick');
    expect(() => parseOptions(['--quick', '--clock', 'cpu'])).toThrow('expected no --quick');
  });

  test('names that do not exist are told', () => {
    expect(() => parseOptions(['--only', 'alu64,pdp11'])).toThrow('found: pdp11');
    expect(() => parseOptions(['--sections', 'speed,lunch'])).toThrow('found: lunch');
    expect(() => parseOptions(['--clock', 'sun'])).toThrow('found: sun');
    expect(() => parseOptions(['--rounds', '0'])).toThrow('expected a number from 1');
  });
});

describe('the baseline', () => {
  const sample = (seconds: Record<string, number>) => ({
    guest: 'toy',
    group: 'integer' as const,
    work: 'alu',
    instructions: 1e6,
    seconds: new Map(Object.entries(seconds).map(([name, value]) => [name, [value]])),
  });
  const measured = ratiosOf([sample({ Ringside: 1, Peer: 5, Other: 2 })], 'Ringside', ['Peer', 'Other', 'Absent']);

  test('holds the ratios to the peers that were there', () => {
    expect(measured).toEqual({ 'toy · alu': { Peer: 5, Other: 2 } });
  });

  test('reports what is far below it, and says both', () => {
    const { compared, regressions } = compare({ 'toy · alu': { Peer: 9, Other: 3 }, gone: { Peer: 1 } }, measured);
    expect(compared).toBe(2);
    expect(regressions.map(describeRegression)).toEqual(['toy · alu: 5 times as fast as Peer, in the baseline 9']);
  });

  test('is for what is measured in it', () => {
    expect(compare({}, measured)).toEqual({ compared: 0, regressions: [] });
  });
});

describe('armed runs', () => {
  const LOOP = 'bits 64\norg 0x100000\nmov ecx, 300000\nspin: dec ecx\njnz spin\nud2\ntimes 600 nop\n';
  const boot = () => bootSource(`${LOOP}hlt`, { mode: 'long' }).machine;

  test('an armament arms what it says, and leaves out the events of the work', () => {
    const all = armaments(['ring-change']);
    expect(all.get('plain')).toEqual(NOTHING_ARMED);
    const others = stopFilters.filter((filter) => filter !== 'ring-change' && filter !== 'stale-translation');
    expect(all.get('filters')?.filters).toEqual(others);
  });

  test.each([...armaments([])])('%s: the guest ends as it does in a plain run', (_name, armament) => {
    const [plain, armed] = [boot(), boot()];
    const expected = plain.run();
    const run = new ArmedRun(armed, armament);
    expect(run.run()).toEqual(expected);
    expect(armed.stateHash()).toBe(plain.stateHash());
    expect([...run.asked.keys()].includes('exception')).toBe(armament.filters.includes('exception'));
  });

  test('reading the views reads something of each, and changes nothing', () => {
    const machine = boot();
    machine.run({ instructions: 1000 });
    const before = machine.stateHash();
    expect(readViews(machine)).toBeGreaterThan(256);
    expect(machine.stateHash()).toBe(before);
  });
});

test('statistics', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([1, 2])).toBe(1.5);
  expect(quantile([0, 10], 0.9)).toBe(9);
  expect(geometricMean([1, 4])).toBeCloseTo(2);
});
