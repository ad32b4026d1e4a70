/**
 * The timer of the local APIC: a count that falls at the rate of the input clock divided by the divide configuration,
 * once or periodically. It is computed from virtual time when somebody looks; nothing ticks.
 * Source: SDM volume 3, "APIC Timer".
 */
import type { Clock } from './device.ts';

export interface ApicTimerState {
  initialCount: number;
  divideConfiguration: number;
  /** The count at `sinceNs`; 0 if the timer stands. */
  count: number;
  sinceNs: number;
}

/** By bits 3, 1 and 0 of the divide configuration register. */
const divisors: readonly number[] = [2, 4, 8, 16, 32, 64, 128, 1];
const DIVIDE_WRITABLE = 0xb;

const powerOn = (): ApicTimerState => ({ initialCount: 0, divideConfiguration: 0, count: 0, sinceNs: 0 });

export class ApicTimer {
  readonly #clock: Clock;
  readonly #tickNs: number;
  #state = powerOn();

  /** @param tickNs nanoseconds of a cycle of the input clock */
  constructor(clock: Clock, tickNs: number) {
    this.#clock = clock;
    this.#tickNs = tickNs;
  }

  get initialCount(): number {
    return this.#state.initialCount;
  }
  get divideConfiguration(): number {
    return this.#state.divideConfiguration;
  }
  get divisor(): number {
    const { divideConfiguration: bits } = this.#state;
    return divisors[(bits & 3) | ((bits >> 1) & 4)] ?? 1;
  }
  get #stepNs(): number {
    return this.divisor * this.#tickNs;
  }

  /** When the count reaches 0 next, if it runs. */
  expiryNs(): number | undefined {
    const { count, sinceNs } = this.#state;
    return count > 0 ? sinceNs + count * this.#stepNs : undefined;
  }

  /** Brings the count up to date; true if it has reached 0 since the last time. */
  advance(periodic: boolean): boolean {
    const now = this.#clock();
    const expiry = this.expiryNs();
    if (expiry === undefined || now < expiry) return false;
    const s = this.#state;
    s.count = periodic ? s.initialCount : 0;
    const periodNs = s.initialCount * this.#stepNs;
    s.sinceNs = periodic ? expiry + Math.floor((now - expiry) / periodNs) * periodNs : expiry;
    return true;
  }

  /** Current count register, without bringing anything up to date. */
  peekCount(periodic: boolean): number {
    const { count, sinceNs, initialCount } = this.#state;
    if (count === 0) return 0;
    const passed = Math.floor((this.#clock() - sinceNs) / this.#stepNs);
    if (passed < count) return count - passed;
    return periodic ? initialCount - ((passed - count) % initialCount) : 0;
  }

  /** Starts the count anew; 0 stops it. */
  start(initialCount: number): void {
    Object.assign(this.#state, { initialCount, count: initialCount, sinceNs: this.#clock() });
  }

  /** The count goes on from where it is, at the new rate. To be brought up to date before. */
  divideBy(configuration: number): void {
    const count = this.peekCount(false);
    Object.assign(this.#state, { divideConfiguration: configuration & DIVIDE_WRITABLE, count, sinceNs: this.#clock() });
  }

  reset(): void {
    this.#state = powerOn();
  }
  save(): ApicTimerState {
    return { ...this.#state };
  }
  restore(state: ApicTimerState): void {
    this.#state = { ...state };
  }
}
