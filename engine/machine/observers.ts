/** Who is told of what the guest does: the hooks and functions through which filters hear of it, armed only while wanted. */
import { WATCHED } from '../cpu/memory-map.ts';
import type { Hooks } from '../cpu/processor.ts';
import type { DecodedInstruction } from '../isa/decode.ts';
import { instructionEvent, ringEvent, tripleFaultEvent } from './event-descriptions.ts';
import type { Host } from './host.ts';
import type { MachineEvent } from './machine-api.ts';
import type { StaleTranslations } from './stale-translations.ts';
import { StopBefore } from './stop-before.ts';
import type { StopConditions } from './stop-conditions.ts';
import type { Virtualizer } from './virtualizer.ts';
import type { Watches } from './watches/watches.ts';

const EXCEPTION_FILTERS = ['page-fault', 'exception'] as const;
const INSTRUCTION_FILTERS = ['sensitive-instruction', 'privileged-instruction'] as const;

interface Observed {
  readonly host: Host;
  readonly virtualizer: Virtualizer;
  /** Undefined while the machine is made. */
  readonly watches: Watches | undefined;
  readonly staleTranslations: StaleTranslations | undefined;
}

export class Observers {
  readonly #stops: StopConditions;
  readonly #machine: () => Observed;
  readonly #report: (event: MachineEvent) => boolean;

  /** `machine` may be in the making yet; `report` says whether the run stops. */
  constructor(stops: StopConditions, machine: () => Observed, report: (event: MachineEvent) => boolean) {
    this.#stops = stops;
    this.#machine = machine;
    this.#report = report;
  }

  /** To be called when it changed which filters somebody wants to know about. */
  changed(): void {
    const { host, virtualizer, watches, staleTranslations } = this.#machine();
    const stops = this.#stops;
    virtualizer.filtersChanged();
    staleTranslations?.arm(stops.mayStopAt('stale-translation'));
    const filtersInstructions = INSTRUCTION_FILTERS.some((filter) => stops.watches(filter));
    const filtersExceptions = EXCEPTION_FILTERS.some((filter) => stops.watches(filter));
    const ofWatches = watches?.watched ?? 0;
    host.watch(
      ofWatches |
        (stops.watches('ring-change') ? WATCHED.ringChanges : 0) |
        (filtersExceptions ? WATCHED.exceptions : 0) |
        (filtersInstructions ? WATCHED.instructions : 0),
    );
    const watchesInstructions = (ofWatches & (WATCHED.instructions | WATCHED.registers)) !== 0;
    host.runtime.beforeSystem =
      filtersInstructions || watchesInstructions
        ? (instruction) => {
            if (filtersInstructions) this.#filter(instruction, host);
            if (watchesInstructions) watches?.beforeSystem(instruction);
          }
        : undefined;
  }

  #filter(instruction: DecodedInstruction, host: Host): void {
    for (const event of instructionEvent(instruction, host)) {
      if (this.#stops.watches(event.filter) && this.#report(event)) throw new StopBefore();
    }
  }

  readonly hooks: Hooks = {
    ringChanged: (from, to) => {
      if (this.#stops.watches('ring-change')) this.#report(ringEvent(from, to, this.#machine().host));
    },
    modeChanged: () => {},
    eventDelivered: () => {},
    controlRegisterWritten: (...written) => this.#machine().watches?.controlRegisterWritten(...written),
    msrAccessed: (...accessed) => this.#machine().watches?.msrAccessed(...accessed),
    tripleFault: () => {
      if (this.#stops.watches('triple-fault')) this.#report(tripleFaultEvent(this.#machine().host));
    },
  };
}
