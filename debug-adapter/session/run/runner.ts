import type { Outcome } from '../outcome.ts';
import type { Pace } from './pace.ts';
import { yieldToHost } from './yield-to-host.ts';

/** Something that makes the machine run: it yields between slices and returns why it ended. */
export type Activity = Generator<void, Outcome, void>;

export interface RunnerListener {
  /** After each slice: guest output is to be shown. */
  sliced(): void;
  stopped(outcome: Outcome): void;
  /** The engine threw. */
  failed(error: unknown): void;
}

/** Runs one activity at a time, a slice after another, with the host's events in between. */
export class Runner {
  readonly #pace: Pace;
  readonly #listener: RunnerListener;
  #activity: Activity | undefined;
  #pauseOutcome: Outcome | undefined;

  constructor(pace: Pace, listener: RunnerListener) {
    this.#pace = pace;
    this.#listener = listener;
  }

  get isRunning(): boolean {
    return this.#activity !== undefined;
  }

  start(activity: Activity): void {
    if (this.#activity !== undefined) {
      throw new Error('the machine runs already');
    }
    this.#activity = activity;
    this.#pauseOutcome = undefined;
    yieldToHost(() => this.#slice(activity));
  }

  /** Ends the activity at the end of its slice. */
  pause(outcome: Outcome): void {
    this.#pauseOutcome ??= outcome;
  }

  /** Ends the activity without telling anybody. */
  dispose(): void {
    const activity = this.#activity;
    this.#activity = undefined;
    activity?.return({ reason: 'pause', vcpu: 0 });
  }

  #slice(activity: Activity): void {
    if (this.#activity !== activity) {
      return;
    }
    try {
      this.#advance(activity);
    } catch (error) {
      this.#activity = undefined;
      this.#listener.sliced();
      this.#listener.failed(error);
    }
  }

  #advance(activity: Activity): void {
    if (this.#pauseOutcome !== undefined) {
      activity.return(this.#pauseOutcome);
      this.#finish(this.#pauseOutcome);
      return;
    }
    this.#pace.begin();
    const { done, value } = activity.next();
    if (this.#activity !== activity) {
      return;
    }
    if (done) {
      this.#finish(value);
    } else {
      this.#listener.sliced();
      yieldToHost(() => this.#slice(activity));
    }
  }

  #finish(outcome: Outcome): void {
    this.#activity = undefined;
    this.#listener.sliced();
    this.#listener.stopped(outcome);
  }
}
