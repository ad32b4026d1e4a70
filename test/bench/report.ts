/** The benchmark's results as Markdown. */
import { fastBochsFactor } from './fast-bochs.ts';
import type { Failure, Measurements, MemorySamples, WorkSamples } from './measure.ts';
import { type Mean, meanRatio, RINGSIDE, ratio, speed, titleOf } from './ratios.ts';
import { median } from './statistics.ts';

const NONE = '–';
const DEBIAN_BOCHS = 'Bochs';

/** A table of all works, and the failures in full. */
export function guestTable({ samples, failures }: Measurements, peers: readonly string[]): string {
  const scaled = peers.includes(DEBIAN_BOCHS) ? ['× fast Bochs'] : [];
  const head = ['guest · work', 'M instr', RINGSIDE, ...peers, ...peers.map((peer) => `× ${peer}`), ...scaled];
  const rows = samples.map((sample) => guestRow(sample, peers, failures));
  return [table(head, rows), ...failures.map(failureLine)].join('\n');
}

function guestRow(sample: WorkSamples, peers: readonly string[], failures: readonly Failure[]): string[] {
  const speedOf = (emulator: string) => {
    const value = speed(sample, emulator);
    const failed = failures.some((failure) => failure.guest === sample.guest && failure.emulator === emulator);
    return failed && !sample.seconds.has(emulator) ? 'failed' : number(value);
  };
  return [
    titleOf(sample),
    number(sample.instructions === undefined ? undefined : sample.instructions / 1e6),
    ...[RINGSIDE, ...peers].map(speedOf),
    ...peers.map((peer) => factor(ratio(sample, RINGSIDE, peer))),
    ...(peers.includes(DEBIAN_BOCHS) ? [factor(ratioToFastBochs(sample))] : []),
  ];
}

/** How many times as fast as a Bochs that is built for speed; see fast-bochs.ts. */
function ratioToFastBochs(sample: WorkSamples): number | undefined {
  const toDebians = ratio(sample, RINGSIDE, DEBIAN_BOCHS);
  const scale = fastBochsFactor(titleOf(sample));
  return toDebians === undefined || scale === undefined ? undefined : toDebians / scale;
}

/** Geometric means of the ratios to each peer by group of works, and the lowest ratio of all. */
export function groupTable(samples: readonly WorkSamples[], peers: readonly string[]): string {
  const groups = [...new Set(samples.map(({ group }) => group))];
  const row = (title: string, of: readonly WorkSamples[], pick: (mean: Mean) => number) => [
    title,
    ...peers.map((peer) => {
      const mean = meanRatio(of, RINGSIDE, peer);
      return factor(mean && pick(mean));
    }),
  ];
  const rows = groups.map((group) =>
    row(
      group,
      samples.filter((sample) => sample.group === group),
      ({ mean }) => mean,
    ),
  );
  const all = [row('**all works**', samples, ({ mean }) => mean), row('the lowest', samples, ({ lowest }) => lowest)];
  return table(['geometric mean', ...peers.map((peer) => `× ${peer}`)], [...rows, ...all]);
}

/** Peaks of the processes, in the median. */
export function memoryTable(memory: readonly MemorySamples[], emulators: readonly string[]): string {
  const rows = memory.map(({ guest, peakMib }) => [
    guest,
    ...emulators.map((emulator) => {
      const samples = peakMib.get(emulator);
      return samples === undefined ? NONE : median(samples).toFixed(0);
    }),
  ]);
  return table(['guest', ...emulators], rows);
}

/** Speeds of armed runs as parts of the plain one's. The first armament is the plain one. */
export function armedTable({ samples, failures }: Measurements, armaments: readonly string[]): string {
  const [plain = '', ...others] = armaments;
  const rows = samples.map((sample) => [
    titleOf(sample),
    number(speed(sample, plain)),
    ...others.map((armament) => factor(ratio(sample, armament, plain))),
  ]);
  const means = others.map((armament) => factor(meanRatio(samples, armament, plain)?.mean));
  const head = ['guest · work', plain, ...others];
  return [table(head, [...rows, ['**geometric mean**', '', ...means]]), ...failures.map(failureLine)].join('\n');
}

function failureLine({ guest, emulator, message }: Failure): string {
  return `\n${guest} failed on ${emulator}: ${message}`;
}

/** A Markdown table, padded to be read as it is; the first column is text, all others are numbers. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((_, column) => Math.max(3, ...[head, ...rows].map((row) => (row[column] ?? '').length)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join(' | ')} |`;
  const rule = widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}

/** Two significant digits below a hundred, whole numbers above. */
export function number(value: number | undefined): string {
  return value === undefined ? NONE : value >= 100 ? value.toFixed(0) : `${Number(value.toPrecision(2))}`;
}

function factor(value: number | undefined): string {
  return value === undefined ? NONE : value.toFixed(2);
}
