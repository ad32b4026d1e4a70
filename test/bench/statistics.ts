/** The few figures that a benchmark needs of its samples. */

/** @throws Error if there are no samples */
export function median(samples: readonly number[]): number {
  return quantile(samples, 0.5);
}

/** The value that the given part (0 to 1) of the samples does not exceed, interpolated between two of them. */
export function quantile(samples: readonly number[], part: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const position = (sorted.length - 1) * part;
  const low = sorted[Math.floor(position)];
  const high = sorted[Math.ceil(position)];
  if (low === undefined || high === undefined) throw new Error('a quantile needs at least one sample');
  return low + (high - low) * (position - Math.floor(position));
}

export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((total, value) => total + Math.log(value), 0) / values.length);
}
