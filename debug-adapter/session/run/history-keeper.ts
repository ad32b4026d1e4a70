import type { MachineHistory } from '../../engine-target.ts';

/** A run is kept about this often, so that going back takes no longer than a fraction of a second. */
const INTERVAL_MS = 100;
/** But keeping may not take more than this part of the time. */
const SHARE = 0.1;

/** Keeps checkpoints of a run, to go back to. */
export class HistoryKeeper {
  readonly #history: MachineHistory;
  readonly #isWanted: boolean;
  #due = 0;

  constructor(history: MachineHistory, isWanted: boolean) {
    this.#history = history;
    this.#isWanted = isWanted;
  }

  /** Keeps the beginning. */
  begin(): void {
    if (this.#isWanted) {
      this.#keep();
    }
  }

  /** Call after each slice of a run. */
  sliced(): void {
    if (this.#history.isKept && !this.#history.isInPast && performance.now() >= this.#due) {
      this.#keep();
    }
  }

  #keep(): void {
    const start = performance.now();
    this.#history.checkpoint();
    const end = performance.now();
    this.#due = end + Math.max(INTERVAL_MS, (end - start) / SHARE);
  }
}
