/**
 * Binary search: the number of leading indices below `length` for which `before` holds. `before` must be true up to
 * some index and false from there on.
 */
export function partitionPoint(length: number, before: (index: number) => boolean): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (before(middle)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/** Order of two addresses for `sort`: bigints cannot be subtracted into its result. */
export function compareAddresses(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Math.min of addresses. */
export function lowest(...addresses: readonly [bigint, ...bigint[]]): bigint {
  return [...addresses].sort(compareAddresses)[0] ?? addresses[0];
}
