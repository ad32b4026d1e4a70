/** The benchmark's results as Markdown. */
import type { Failure, Measurements, WorkSamples } from './measure.ts';
import { geometricMean, median } from './statistics.ts';

const RINGSIDE = 'Ringside';
const NONE = '–';

/** Millions of guest instructions a second, in the median; undefined where there is no sample. */
export function speed({ instructions, seconds }: WorkSamples, emulator: string): number | undefined {
  const samples = seconds.get(emulator);
  return samples === undefined || instructions === undefined ? undefined : instructions / median(samples) / 1e6;
}

/** How many times as fast as the peer Ringside is. */
function ratio(sample: WorkSamples, peer: string): number | undefined {
  const [own, other] = [speed(sample, RINGSIDE), speed(sample, peer)];
  return own === undefined || other === undefined ? undefined : own / other;
}

/** A table of all works, the geometric means of the ratios, and the failures in full. */
export function guestTable({ samples, failures }: Measurements, peers: readonly string[]): string {
  const head = ['guest · work', 'M instr', RINGSIDE, ...peers, ...peers.map((peer) => `× ${peer}`)];
  const rows = samples.map((sample) => guestRow(sample, peers, failures));
  const means = peers.length === 0 ? [] : [meanRow(samples, peers)];
  return [table(head, [...rows, ...means]), ...failures.map(failureLine)].join('\n');
}

function guestRow(sample: WorkSamples, peers: readonly string[], failures: readonly Failure[]): string[] {
  const speedOf = (emulator: string) => {
    const value = speed(sample, emulator);
    const failed = failures.some((failure) => failure.guest === sample.guest && failure.emulator === emulator);
    return failed && !sample.seconds.has(emulator) ? 'failed' : number(value);
  };
  return [
    `${sample.guest} · ${sample.work}`,
    number(sample.instructions === undefined ? undefined : sample.instructions / 1e6),
    ...[RINGSIDE, ...peers].map(speedOf),
    ...peers.map((peer) => factor(ratio(sample, peer))),
  ];
}

function meanRow(samples: readonly WorkSamples[], peers: readonly string[]): string[] {
  const means = peers.map((peer) => {
    const ratios = samples.map((sample) => ratio(sample, peer)).filter((value) => value !== undefined);
    return ratios.length === 0 ? NONE : `**${factor(geometricMean(ratios))}**`;
  });
  return ['**geometric mean**', '', '', ...peers.map(() => ''), ...means];
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
