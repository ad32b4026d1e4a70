/** A seeded generator (mulberry32), and the values that arithmetic tests want. */
export class Random {
  #state: number;

  /** The seed is text, so that every form has a sequence of its own and a new form moves no other. */
  constructor(seed: string) {
    let hash = 0x811c9dc5;
    for (const character of seed) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193);
    this.#state = hash >>> 0;
  }

  u32(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  /** An integer of 0 to limit - 1. */
  below(limit: number): number {
    return this.u32() % limit;
  }

  /** True once in `n` times. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  pick<T>(from: readonly T[]): T {
    const value = from[this.below(from.length)];
    if (value === undefined) throw new Error('Random.pick: expected a list that is not empty');
    return value;
  }

  bits(width: number): bigint {
    const value =
      (BigInt(this.u32()) << 96n) | (BigInt(this.u32()) << 64n) | (BigInt(this.u32()) << 32n) | BigInt(this.u32());
    return BigInt.asUintN(width, value);
  }

  /** 0, ±1, the extremes, single bits, small numbers and plain random ones, `width` bits wide. */
  interesting(width: number): bigint {
    const bit = 1n << BigInt(this.below(width));
    const top = 1n << BigInt(width - 1);
    const candidates = [
      0n,
      1n,
      -1n,
      -2n,
      top,
      top - 1n,
      top + 1n,
      bit,
      ~bit,
      bit - 1n,
      -bit,
      0x0fn,
      0x80n,
      BigInt(this.below(256)),
    ];
    const value = this.oneIn(3) ? this.bits(width) : this.pick(candidates);
    return BigInt.asUintN(width, value);
  }
}
