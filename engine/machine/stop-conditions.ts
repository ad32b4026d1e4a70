/**
 * What may stop a run. Filters are observed where the event happens; one that was stopped at and then continued from is
 * not stopped at again, although the instruction runs anew.
 */
import type { MachineEvent, Stop, StopFilter } from './machine-api.ts';

/** Filters that stop before anything happened: going on makes the same event again. */
const beforeTheFact: ReadonlySet<StopFilter> = new Set<StopFilter>([
  'sensitive-instruction',
  'privileged-instruction',
  'page-fault',
  'exception',
]);

const isBeforeTheFact = ({ filter, comesAgain }: MachineEvent): boolean =>
  comesAgain === true || beforeTheFact.has(filter);

export type FilterCondition = (event: MachineEvent) => boolean;

export class StopConditions {
  readonly #armed = new Map<StopFilter, FilterCondition | undefined>();
  /** The stop that a condition asked for; taken by the run loop at the next boundary. */
  #pending: Stop | undefined;
  /** The instruction that events stopped before, by its count, and the filters of these events. */
  #stoppedAt: { readonly count: number; readonly filters: Set<StopFilter> } | undefined;
  onEvent: ((event: MachineEvent) => void) | undefined;
  /** Nothing stops, and nobody is told. */
  isQuiet = false;

  setFilter(filter: StopFilter, armed: boolean, condition?: FilterCondition): void {
    if (armed) this.#armed.set(filter, condition);
    else this.#armed.delete(filter);
  }

  /** Whether anybody wants to know: events are only made then. */
  watches(filter: StopFilter): boolean {
    return !this.isQuiet && (this.#armed.has(filter) || this.onEvent !== undefined);
  }

  /** Whether the run may stop at it. */
  mayStopAt(filter: StopFilter): boolean {
    return !this.isQuiet && this.#armed.has(filter);
  }

  /** Reports an event at an instruction count; true if the run is to stop there. */
  report(event: MachineEvent, count: number): boolean {
    if (this.#stoppedAt?.count !== count) this.#stoppedAt = undefined;
    if (this.#stoppedAt?.filters.has(event.filter)) return false;
    this.onEvent?.(event);
    if (!this.#armed.has(event.filter)) return false;
    const condition = this.#armed.get(event.filter);
    if (condition && !condition(event)) return false;
    if (isBeforeTheFact(event)) {
      this.#stoppedAt ??= { count, filters: new Set() };
      this.#stoppedAt.filters.add(event.filter);
    }
    this.request({ kind: 'event', event });
    return true;
  }

  /** What the filters stopped before happens now: another event of this instruction count is a new one. */
  passed(): void {
    this.#stoppedAt = undefined;
  }
  /** The machine was brought to where a stop had been, or to another place. */
  arrivedAt(stop: Stop | undefined, count: number): void {
    this.#pending = undefined;
    const event = stop?.kind === 'event' ? stop.event : undefined;
    this.#stoppedAt = event && isBeforeTheFact(event) ? { count, filters: new Set([event.filter]) } : undefined;
  }

  /** Keeps at which stop the machine stands; returns what puts that back. */
  hold(): () => void {
    const [pending, stoppedAt] = [this.#pending, this.#stoppedAt];
    return () => {
      this.#pending = pending;
      this.#stoppedAt = stoppedAt;
    };
  }

  /** Asks for a stop; the first one asked for wins. */
  request(stop: Stop): void {
    if (!this.isQuiet) this.#pending ??= stop;
  }
  get isRequested(): boolean {
    return this.#pending !== undefined;
  }
  take(): Stop | undefined {
    const stop = this.#pending;
    this.#pending = undefined;
    return stop;
  }
}
