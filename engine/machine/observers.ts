/** Who is told of what the guest does: the hooks and functions through which filters hear of it, armed only while wanted. */
import type { Hooks } from '../cpu/processor.ts';
import { instructionEvent, ringEvent, tripleFaultEvent } from './event-descriptions.ts';
import type { Host } from './host.ts';
import type { MachineEvent } from './machine-api.ts';
import type { StopConditions } from './stop-conditions.ts';
import type { Virtualizer } from './virtualizer.ts';

/** Filters that want to be told of what the fast ring transitions do. */
const TRANSITION_FILTERS = ['ring-change', 'page-fault', 'exception'] as const;

/** Thrown to leave an instruction that has not begun, for a stop that was already requested. */
export class StopBefore {}

export class Observers {
  readonly #stops: StopConditions;
  readonly #machine: () => { readonly host: Host; readonly virtualizer: Virtualizer };
  readonly #report: (event: MachineEvent) => boolean;

  /** `machine` may be in the making yet; `report` says whether the run stops. */
  constructor(
    stops: StopConditions,
    machine: () => { readonly host: Host; readonly virtualizer: Virtualizer },
    report: (event: MachineEvent) => boolean,
  ) {
    this.#stops = stops;
    this.#machine = machine;
    this.#report = report;
  }

  /** To be called when it changed which filters somebody wants to know about. */
  changed(): void {
    const { host, virtualizer } = this.#machine();
    const stops = this.#stops;
    virtualizer.filtersChanged();
    const wanted = stops.watches('sensitive-instruction') || stops.watches('privileged-instruction');
    const transitions = TRANSITION_FILTERS.some((filter) => stops.watches(filter));
    host.watch({ transitions, instructions: wanted });
    host.runtime.beforeSystem = wanted
      ? (instruction) => {
          for (const event of instructionEvent(instruction, host)) {
            if (stops.watches(event.filter) && this.#report(event)) throw new StopBefore();
          }
        }
      : undefined;
  }

  readonly hooks: Hooks = {
    ringChanged: (from, to) => {
      if (this.#stops.watches('ring-change')) this.#report(ringEvent(from, to, this.#machine().host));
    },
    modeChanged: () => {},
    eventDelivered: () => {},
    controlRegisterWritten: () => {},
    msrAccessed: () => {},
    tripleFault: () => {
      if (this.#stops.watches('triple-fault')) this.#report(tripleFaultEvent(this.#machine().host));
    },
  };
}
