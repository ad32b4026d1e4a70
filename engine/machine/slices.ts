/**
 * The runs of the loaded vCPU without a look at anything else: how long they may be, what is counted in them, and what time
 * it is for the exits that compiled code logs. Devices work in between.
 */

import { earlier } from '../devices/device.ts';
import type { LinearAddress } from '../isa/linear-address.ts';
import { worldSwitchPlace } from '../vmx/world-switch-layout.ts';
import type { Boundaries } from './boundaries.ts';
import type { Host } from './host.ts';
import type { MachinePlatform } from './platform.ts';
import type { Scheduler } from './scheduler.ts';

/** The machine as seen from here. */
interface Sliced {
  readonly host: Host;
  readonly platform: MachinePlatform;
  readonly scheduler: Scheduler;
  readonly history: { readonly nextBoundary: number };
}

export class Slices {
  readonly #of: () => Sliced;
  readonly #boundaries: Boundaries;
  /** Instructions retired and events dealt with, in slices that ended. */
  units = 0;
  /** Where a vCPU stopped before a marked instruction, by its index: RIP. */
  readonly marks = new Map<number, LinearAddress>();
  /** The slice is over before what it was given: a device will be due earlier than it looked. */
  isOver = false;
  /** When the slice that runs ends for a device. */
  #endNs = Number.POSITIVE_INFINITY;
  /** Events of the executor's run, the last one between slices, that are among the units. */
  #eventsCounted = 0;

  /** `machine` may be in the making yet. */
  constructor(machine: () => Sliced, boundaries: Boundaries) {
    this.#of = machine;
    this.#boundaries = boundaries;
  }

  get #machine(): Sliced {
    return this.#of();
  }

  /** Runs the loaded vCPU for a slice; returns how many events were dealt with in it. */
  run(limit: number, isTurn: boolean): number {
    const { host, scheduler } = this.#machine;
    const { executor, loaded, state } = host;
    const { budget } = executor;
    const mark = this.marks.get(loaded);
    this.marks.delete(loaded);
    this.#eventsCounted = 0;
    this.#tellTime();
    executor.run(Math.min(limit, this.#length()), mark);
    const { consumed } = budget;
    this.units += consumed - this.#boundaries.held;
    this.#boundaries.held = 0;
    this.#eventsCounted = budget.events;
    if (isTurn) scheduler.used(consumed);
    const executed = budget.takeExecuted();
    if (executed === 0 && mark === state.rip) this.marks.set(loaded, mark);
    host.clock.retired += executed;
    return consumed - executed;
  }

  /** How many instructions there may be until a device is due, the history wants a checkpoint, or it is another's turn. */
  #length(): number {
    const { host, platform, history, scheduler } = this.#machine;
    this.isOver = false;
    this.#endNs = earlier(platform.nextDeadlineNs(), host.preemptionDeadline()) ?? Number.POSITIVE_INFINITY;
    const untilDeadline = Math.max(1, Math.ceil(this.#endNs - host.clock.nowNs));
    return Math.min(untilDeadline, history.nextBoundary - this.units, scheduler.sliceInstructions);
  }

  /** What the exits that compiled code makes in this slice are logged with. */
  #tellTime(): void {
    const { clock, state, loaded } = this.#machine.host;
    const set = (part: keyof typeof worldSwitchPlace, value: number) =>
      state.view.setFloat64(worldSwitchPlace[part], value, true);
    set('retired', clock.retired);
    set('own', clock.ownOf(0));
    set('idleNs', clock.idleNs);
    set('units', this.units - clock.retired - this.#boundaries.held);
    state.view.setUint32(worldSwitchPlace.vcpu, loaded, true);
  }

  /** Devices work between slices, and after a stop: what they were asked for is still to be seen there. */
  serviceDue(): void {
    const { platform, host } = this.#machine;
    const deadline = platform.nextDeadlineNs();
    if (deadline !== undefined && deadline <= host.clock.nowNs) platform.service();
  }

  /** Units when so many instructions have been retired in this slice, or before it: their events have been dealt with. */
  unitsAfter(instructions: number): number {
    const { clock, executor } = this.#machine.host;
    const events = executor.budget.events - this.#eventsCounted;
    return this.units + instructions - clock.retired + events - this.#boundaries.held;
  }

  /** Ends the slice where a device is due earlier than when it began. */
  deviceAccessed(): void {
    this.endBefore(this.#machine.platform.nextDeadlineNs());
  }
  /** Ends the slice if a deadline comes before its end; whether it does. */
  endBefore(deadline: number | undefined): boolean {
    if (deadline === undefined || deadline >= this.#endNs) return false;
    this.isOver = true;
    this.#machine.host.runtime.stopRequested = true;
    return true;
  }
}
