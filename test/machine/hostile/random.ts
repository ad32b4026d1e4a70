/** A reproducible source of choices (xorshift32): the same seed gives the same program on every machine. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.imul(seed + 1, 0x9e37_79b1) | 1;
    for (let i = 0; i < 4; i++) this.below(2);
  }

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return (x >>> 0) % limit;
  }
  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }
  /** True once in `times`. */
  once(times: number): boolean {
    return this.below(times) === 0;
  }
  bytes(count: number): number[] {
    return Array.from({ length: count }, () => this.below(256));
  }
  /** A 32-bit value that is more often telling than not: small, a power of two, near a limit, or anything. */
  value(): number {
    const bit = 2 ** this.below(32);
    return this.pick([0, 1, this.below(256), bit, bit - 1, 0xffff_ffff - this.below(16), this.below(2 ** 32)]);
  }
  /** The same for 64 bits, as a literal of the assembler. */
  value64(): string {
    const high = this.pick([0, 0, 0xffff_ffff, this.value()]);
    return `0x${high.toString(16)}${this.value().toString(16).padStart(8, '0')}`;
  }
}
