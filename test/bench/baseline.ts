/**
 * The ratios that were once measured, committed in baseline.json, and what is now far below them. Ratios, because they
 * hold on any computer; only large regressions, because they hold there by and large.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import type { WorkSamples } from './measure.ts';
import { ratio, titleOf } from './ratios.ts';

/** By what was measured, then by what it was held against. */
export type Ratios = Readonly<Record<string, Readonly<Record<string, number>>>>;

export interface Regression {
  readonly what: string;
  readonly against: string;
  readonly expected: number;
  readonly found: number;
}

/** A ratio below this part of the baseline's is a regression. */
export const TOLERATED = 0.6;

/** The ratios of one machine, or armament, to others, by work; `suffix` tells them from those of other comparisons. */
export function ratiosOf(samples: readonly WorkSamples[], one: string, others: readonly string[], suffix = ''): Ratios {
  const rows = samples.map((sample) => {
    const ratios = others.map((other) => [other, ratio(sample, one, other)] as const);
    const known = ratios.flatMap(([other, value]) => (value === undefined ? [] : [[other, rounded(value)] as const]));
    return [`${titleOf(sample)}${suffix}`, Object.fromEntries(known)] as const;
  });
  return Object.fromEntries(rows.filter(([, ratios]) => Object.keys(ratios).length > 0));
}

const rounded = (value: number): number => Number(value.toPrecision(3));

/** How many ratios the two have in common, and which of them are far below the baseline. */
export function compare(baseline: Ratios, measured: Ratios): { compared: number; regressions: readonly Regression[] } {
  const pairs = Object.entries(measured).flatMap(([what, ratios]) =>
    Object.entries(ratios).flatMap(([against, found]) => {
      const expected = baseline[what]?.[against];
      return expected === undefined ? [] : [{ what, against, expected, found }];
    }),
  );
  return { compared: pairs.length, regressions: pairs.filter(({ expected, found }) => found < expected * TOLERATED) };
}

export function describeRegression({ what, against, expected, found }: Regression): string {
  return `${what}: ${found} times as fast as ${against}, in the baseline ${expected}`;
}

export function readBaseline(path: string): Ratios {
  return JSON.parse(readFileSync(path, 'utf8')) as Ratios;
}

/** What was not measured keeps its figures. */
export function writeBaseline(path: string, old: Ratios, measured: Ratios): void {
  const whats = [...new Set([...Object.keys(old), ...Object.keys(measured)])];
  const merged = Object.fromEntries(whats.map((what) => [what, { ...old[what], ...measured[what] }]));
  writeFileSync(path, `${JSON.stringify(merged, undefined, 2)}\n`);
}
