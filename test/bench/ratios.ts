/** Speeds, and how many times as fast Ringside is as another machine, or an armed run as a plain one. */
import type { WorkSamples } from './measure.ts';
import { geometricMean, median } from './statistics.ts';

export const RINGSIDE = 'Ringside';

export const titleOf = ({ guest, work }: Pick<WorkSamples, 'guest' | 'work'>): string => `${guest} · ${work}`;

/** Millions of guest instructions a second, in the median; undefined where there is no sample. */
export function speed({ instructions, seconds }: WorkSamples, emulator: string): number | undefined {
  const samples = seconds.get(emulator);
  return samples === undefined || instructions === undefined ? undefined : instructions / median(samples) / 1e6;
}

/** How many times as fast the one is as the other. */
export function ratio(sample: WorkSamples, one: string, other: string): number | undefined {
  const [a, b] = [speed(sample, one), speed(sample, other)];
  return a === undefined || b === undefined ? undefined : a / b;
}

export interface Mean {
  readonly mean: number;
  readonly lowest: number;
  readonly works: number;
}

/** Over the works that both have done; undefined if there is none. */
export function meanRatio(samples: readonly WorkSamples[], one: string, other: string): Mean | undefined {
  const ratios = samples.map((sample) => ratio(sample, one, other)).filter((value) => value !== undefined);
  if (ratios.length === 0) return undefined;
  return { mean: geometricMean(ratios), lowest: Math.min(...ratios), works: ratios.length };
}
