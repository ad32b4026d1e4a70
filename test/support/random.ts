/** Whole numbers from 0 to one less than what is asked for, in an order that only the seed decides. */
export type Random = (below: number) => number;

/** xorshift32. */
export function random(seed: number): Random {
  let x = seed;
  return (below) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % below;
  };
}
