/** The machine as its history sees it: state to keep, and runs in which nothing stops and nobody is told. */
import type { Replayed } from './history.ts';
import type { Host, SavedHost } from './host.ts';
import type { Position, Stop } from './machine-api.ts';
import type { MachinePlatform } from './platform.ts';
import type { ProcessorSignals } from './processor-signals.ts';
import type { Scheduler } from './scheduler.ts';
import type { Virtualizer } from './virtualizer.ts';

/** Everything of a machine but memory. */
export interface SavedMachine {
  readonly units: number;
  readonly host: SavedHost;
  readonly platform: ReturnType<MachinePlatform['saveState']>;
  readonly virtualizer: ReturnType<Virtualizer['saveState']>;
  readonly signals: ReturnType<ProcessorSignals['saveState']>;
  readonly scheduler: ReturnType<Scheduler['saveState']>;
}

export interface ReplayParts {
  readonly host: Host;
  readonly platform: MachinePlatform;
  readonly virtualizer: Virtualizer;
  readonly signals: ProcessorSignals;
  readonly scheduler: Scheduler;
  /** Units of the run so far. */
  units: number;
  /** Runs until so many units, with the stops that are armed. */
  readonly run: (units: number, fresh?: boolean) => Stop;
  /** Does some work in which nothing stops and nobody is told. */
  readonly quietly: (work: () => void) => void;
  /** Lets time pass once, if nothing runs now. */
  readonly passTime: () => boolean;
  /** The machine was brought to another place. */
  readonly arrivedAt: (stop: Stop | undefined) => void;
  /** Does some work elsewhere in the run, after which the machine stands at the stop at which it stood. */
  readonly away: (work: () => void) => void;
}

export class ReplayedMachine implements Replayed<SavedMachine> {
  readonly #parts: ReplayParts;

  constructor(parts: ReplayParts) {
    this.#parts = parts;
  }

  get position(): Position {
    const { units, host, virtualizer } = this.#parts;
    return { units, idleNs: host.clock.idleNs, stage: virtualizer.stage };
  }
  get exits(): number {
    return this.#parts.virtualizer.exits;
  }
  unitsOfExit(number: number): number | undefined {
    return this.#parts.virtualizer.unitsOfExit(number);
  }
  get canSave(): boolean {
    return this.#parts.virtualizer.canSave;
  }

  save(): SavedMachine {
    const { units, host, platform, virtualizer, signals, scheduler } = this.#parts;
    const saved = {
      units,
      host: host.save(),
      platform: platform.saveState(),
      virtualizer: virtualizer.saveState(),
      signals: signals.saveState(),
      scheduler: scheduler.saveState(),
    };
    host.mmu.dropWriteTags();
    return saved;
  }

  restore(saved: SavedMachine): void {
    const { host, platform, virtualizer, signals, scheduler } = this.#parts;
    this.#parts.units = saved.units;
    host.restore(saved.host);
    platform.restoreState(saved.platform);
    signals.restoreState(saved.signals);
    scheduler.restoreState(saved.scheduler);
    virtualizer.restoreState(saved.virtualizer);
    this.#parts.arrivedAt(undefined);
  }

  runQuietly(units: number): void {
    const { quietly, run } = this.#parts;
    quietly(() => {
      // A machine that has ended, or waits for ever, does not come further.
      while (this.#parts.units < units && run(units).kind === 'limit');
    });
  }

  stepQuietly(): void {
    const { virtualizer, quietly, run } = this.#parts;
    quietly(() => {
      virtualizer.isStepping = true;
      try {
        run(this.#parts.units + 1);
      } finally {
        virtualizer.isStepping = false;
      }
    });
  }

  advanceQuietly(): void {
    this.#parts.quietly(() => this.#parts.virtualizer.advanceStage());
  }

  passTimeQuietly(idleNs: number): void {
    const { quietly, host, passTime } = this.#parts;
    quietly(() => {
      while (host.clock.idleNs < idleNs && passTime());
    });
  }

  runToStop(units: number, fresh: boolean): Stop {
    return this.#parts.run(units, fresh);
  }

  away(work: () => void): void {
    this.#parts.away(work);
  }

  arrivedAt(stop: Stop | undefined): void {
    this.#parts.arrivedAt(stop);
  }
}
