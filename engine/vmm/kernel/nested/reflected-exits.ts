/** Which VM exits were given to the guest's own hypervisor, by their numbers in the exit log. */

/** As many as the log keeps, and more. */
const REMEMBERED = 4096;

export class ReflectedExits {
  readonly #exits: () => number;
  /** In rising order. */
  readonly #numbers = new Set<number>();

  /** `exits` counts the VM exits of the run so far. */
  constructor(exits: () => number) {
    this.#exits = exits;
  }

  /** The exit that is being handled, the last one, has become one of L1's. */
  reflected(): void {
    this.#numbers.add(this.#exits() - 1);
    const [oldest] = this.#numbers;
    if (this.#numbers.size > REMEMBERED && oldest !== undefined) this.#numbers.delete(oldest);
  }
  has(number: number): boolean {
    return this.#numbers.has(number);
  }

  saveState(): readonly number[] {
    return [...this.#numbers];
  }
  restoreState(numbers: readonly number[]): void {
    this.#numbers.clear();
    for (const number of numbers) this.#numbers.add(number);
  }
}
