/** What jump-cache entries are valid for: one of these for root operation, and one for non-root operation. */

/** Limit of a flat segment; 64-bit code has none. */
export const WHOLE_LIMIT = 0xffff_ffff;

const GENERATIONS = 2 ** 25;

export class CodeWorld {
  generation = 1;
  /** Base and limit of the code segment. */
  #base = 0;
  #limit = WHOLE_LIMIT;

  /** All entries made so far are void. */
  begin(): void {
    this.generation = (this.generation + 1) % GENERATIONS;
  }

  /** A RIP is another address in another segment, and may be beyond its limit. */
  follow(base: number, limit: number): void {
    if (base === this.#base && limit === this.#limit) return;
    this.#base = base;
    this.#limit = limit;
    this.begin();
  }
}
