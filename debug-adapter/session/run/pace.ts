/** A slice runs for about this long, so that a request waits no longer for its answer. */
const SLICE_MS = 8;
const SMALLEST_SLICE = 1_000;
const LARGEST_SLICE = 50_000_000;

/** How much the machine runs before the adapter looks for requests again: by the time that slices took. */
export class Pace {
  #size = 100_000;
  #sliceStart = performance.now();

  /** Instructions of the next slice. */
  get instructions(): number {
    return this.#size;
  }

  /** Call when a slice begins. */
  begin(): void {
    this.#sliceStart = performance.now();
  }

  /** True when a slice made of single steps has taken its time. */
  isDue(): boolean {
    return performance.now() - this.#sliceStart >= SLICE_MS;
  }

  /** Call when a slice of `instructions` ended by its limit. */
  end(): void {
    const taken = performance.now() - this.#sliceStart;
    if (taken < SLICE_MS / 2) {
      this.#size = Math.min(LARGEST_SLICE, this.#size * 2);
    } else if (taken > SLICE_MS * 1.5) {
      this.#size = Math.max(SMALLEST_SLICE, Math.floor(this.#size / 2));
    }
  }
}
