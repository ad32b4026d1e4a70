/**
 * Intel 8254 programmable interval timer: three counters of 1.193182 MHz.
 * Source: Intel 8254 data sheet (231164), "Mode Definitions", "Read Operations".
 */
import {
  type Clock,
  clonePlain,
  type Device,
  type DeviceView,
  type InterruptLine,
  type PortDevice,
  type TimedDevice,
} from './device.ts';
import { Counter, type CounterState, powerOn } from './pit-counter.ts';

export const PIT_HZ = 1_193_182;
const NS_PER_SECOND = 1_000_000_000;

/** Clock pulses of the PIT within the first `ns` nanoseconds; exact for any safe integer. */
export function pitTicksAt(ns: number): number {
  const whole = Math.floor(ns);
  const seconds = Math.floor(whole / NS_PER_SECOND);
  return seconds * PIT_HZ + Math.floor(((whole - seconds * NS_PER_SECOND) * PIT_HZ) / NS_PER_SECOND);
}

/** The first whole nanosecond at which `ticks` clock pulses have passed. */
export function pitTickNs(ticks: number): number {
  const seconds = Math.floor(ticks / PIT_HZ);
  return seconds * NS_PER_SECOND + Math.ceil(((ticks - seconds * PIT_HZ) * NS_PER_SECOND) / PIT_HZ);
}

export interface Pit8254State {
  counters: CounterState[];
  /** The clock pulse up to which the counters have been brought. */
  tick: number;
}

export class Pit8254 implements Device<Pit8254State>, PortDevice, TimedDevice {
  readonly name = 'pit-8254';
  readonly ports = [{ first: 0x40, count: 4 }];
  readonly #clock: Clock;
  readonly #irq0: InterruptLine;
  /** Counters 0 and 1 have their gates tied high; that of 2 comes from port 0x61. */
  readonly #counters = [new Counter(true), new Counter(true), new Counter(false)] as const;
  #tick: number;

  constructor(ports: { clock: Clock; irq0: InterruptLine }) {
    this.#clock = ports.clock;
    this.#irq0 = ports.irq0;
    this.#tick = pitTicksAt(this.#clock());
    this.#irq0.set(this.#counters[0].output());
  }

  /** OUT of counter 2, to port 0x61 and the speaker. */
  output2(): boolean {
    return this.#asOfNow(this.#counters[2]).output();
  }

  /** GATE of counter 2, from port 0x61. */
  setGate2(level: boolean): void {
    this.#synchronize();
    this.#counters[2].setGate(level);
  }

  readPort(port: number): number {
    this.#synchronize();
    return this.#counterAt(port)?.read() ?? 0xff;
  }

  peekPort(port: number): number {
    const counter = this.#counterAt(port);
    return counter ? this.#asOfNow(counter).peek() : 0xff;
  }

  writePort(port: number, _sizeBytes: number, value: number): void {
    this.#synchronize();
    const counter = this.#counterAt(port);
    if (counter) counter.writeCount(value & 0xff);
    else this.#writeControlWord(value & 0xff);
    this.#irq0.set(this.#counters[0].output());
  }

  /** Of counter 0 alone: the others raise no interrupt and are computed when looked at. */
  deadlineNs(): number | undefined {
    const ticks = this.#counters[0].ticksToEdge();
    return ticks === undefined ? undefined : pitTickNs(this.#tick + ticks);
  }

  service(_nowNs: number): void {
    this.#synchronize();
  }

  reset(): void {
    this.#tick = pitTicksAt(this.#clock());
    for (const [index, counter] of this.#counters.entries()) counter.state = powerOn(index < 2);
    this.#irq0.set(this.#counters[0].output());
  }

  saveState(): Pit8254State {
    return clonePlain({ counters: this.#counters.map((counter) => counter.state), tick: this.#tick });
  }

  restoreState(state: Pit8254State): void {
    for (const [index, counter] of this.#counters.entries()) {
      const saved = state.counters[index];
      if (saved) counter.state = clonePlain(saved);
    }
    this.#tick = state.tick;
    this.#irq0.set(this.#counters[0].output());
  }

  describe(): DeviceView {
    return {
      device: this.name,
      registers: this.#counters.flatMap((counter, index) => this.#asOfNow(counter).describe(`Counter ${index}`)),
    };
  }

  /**
   * Brings the counters to now. It has no effect of its own: what a guest sees is a function of virtual time, however
   * often it is called, as long as `service` is called at each deadline.
   */
  #synchronize(): void {
    const tick = pitTicksAt(this.#clock());
    const passed = tick - this.#tick;
    if (passed <= 0) return;
    this.#tick = tick;
    const [counter0, counter1, counter2] = this.#counters;
    const before = counter0.output();
    const fall = counter0.ticksToFall();
    counter0.advance(passed);
    counter1.advance(passed);
    counter2.advance(passed);
    const now = counter0.output();
    const fellAndRose = before && now && fall !== undefined && fall < passed;
    if (fellAndRose) this.#irq0.set(false);
    this.#irq0.set(now);
  }

  /** A copy brought to now, for peeks: interrupts stay with `service`. */
  #asOfNow(counter: Counter): Counter {
    const copy = new Counter(false);
    copy.state = { ...counter.state };
    copy.advance(Math.max(0, pitTicksAt(this.#clock()) - this.#tick));
    return copy;
  }

  #counterAt(port: number): Counter | undefined {
    return this.#counters[port - 0x40];
  }

  #writeControlWord(value: number): void {
    const select = value >> 6;
    if (select === 3) {
      this.#readBack(value);
      return;
    }
    const counter = this.#counters[select];
    const access = (value >> 4) & 3;
    if (access === 0) counter?.latchCount();
    else counter?.writeControl(access, (value >> 1) & 7, (value & 1) !== 0);
  }

  /** Read-back command: D5 low latches counts, D4 low latches status, D3–D1 select counters 2–0. */
  #readBack(value: number): void {
    for (const [index, counter] of this.#counters.entries()) {
      if (!(value & (2 << index))) continue;
      if (!(value & 0x20)) counter.latchCount();
      if (!(value & 0x10)) counter.latchStatus();
    }
  }
}
