/**
 * Going back in time: a run is a function of what it starts from and of its inputs, so any state is that of a checkpoint
 * before it, run on to the same place with the same inputs.
 *
 * A place in a run is counted in units: instructions retired, and events dealt with (exceptions, interrupts, VM exits).
 * Where no vCPU can run, time passes within one unit; and the handling of a VM exit by the built-in hypervisor has stages.
 */
import { Checkpoints } from './checkpoints.ts';
import type { MachineHistory, Position, Stop } from './machine-api.ts';

/** The machine as its history runs it. `S` is everything but memory. */
export interface Replayed<S> {
  readonly position: Position;
  /** Nothing is half done that a checkpoint could not keep. */
  readonly canSave: boolean;
  /** VM exits of the run so far. */
  readonly exits: number;
  /** Units of the run at a VM exit that is kept, or a few less. */
  unitsOfExit(number: number): number | undefined;
  save(): S;
  restore(saved: S): void;
  /** Runs on to a number of units without any stop. */
  runQuietly(units: number): void;
  /** Runs a unit, but a VM exit only to the first stage of its handling. */
  stepQuietly(): void;
  /** Does the work of one stage. */
  advanceQuietly(): void;
  /** Lets time pass while nothing runs. */
  passTimeQuietly(idleNs: number): void;
  /** Runs to a number of units, or to a stop on the way; `fresh`: it has not been stopped where it is now. */
  runToStop(units: number, fresh: boolean): Stop;
  /** Does some work elsewhere in the run, after which the machine stands at the stop at which it stood. */
  away(work: () => void): void;
  /** The machine stands where a stop had been before. */
  arrivedAt(stop: Stop | undefined): void;
}

/** What came from outside, to come again. */
interface Entry {
  readonly position: Position;
  readonly apply: () => void;
}

/** A checkpoint this many units before the place that was gone back to makes the next steps back quick. */
const NEARBY_UNITS = 2_000;

/** A VM exit is at most so many units behind where the log places it. */
const EXIT_MARGIN = 4;

/** So far is looked for stops at a time. */
const SCAN_UNITS = 2_000_000;
/** The last stop is mostly near: it is looked for in so many units first. */
const WINDOWS = [2_000, 32_000, 512_000];
/** After these the machine does not come further. */
const ends: ReadonlySet<Stop['kind']> = new Set<Stop['kind']>(['exited', 'halted', 'shutdown', 'unimplemented']);

const isSame = (a: Position, b: Position): boolean =>
  a.units === b.units && a.idleNs === b.idleNs && a.stage === b.stage;
const isBefore = (a: Position, b: Position): boolean => {
  if (a.units !== b.units) return a.units < b.units;
  return a.idleNs !== b.idleNs ? a.idleNs < b.idleNs : orderOf(a.stage) < orderOf(b.stage);
};
/** The guest runs on once all stages are done. */
const orderOf = (stage: number): number => (stage < 0 ? Number.POSITIVE_INFINITY : stage);

/** What a checkpoint keeps beside memory. */
interface Kept<S> {
  readonly machine: S;
  /** Entries of the log that had happened. */
  readonly replayed: number;
}

export class History<S> implements MachineHistory {
  readonly #machine: Replayed<S>;
  readonly #checkpoints: Checkpoints<Kept<S>>;
  readonly #log: Entry[] = [];
  /** How many entries of the log have happened. */
  #replayed = 0;
  /** How far the run has come; what is before has been seen already. */
  #furthest: Position;
  #isReplaying = false;

  constructor(machine: Replayed<S>, physical: ConstructorParameters<typeof Checkpoints>[0]) {
    this.#machine = machine;
    this.#checkpoints = new Checkpoints(physical);
    this.#furthest = machine.position;
  }

  get isKept(): boolean {
    return this.#checkpoints.all.length > 0;
  }
  get isInPast(): boolean {
    return isBefore(this.#machine.position, this.#furthest);
  }
  /** Whether what is done now has been seen before: within a slice, as it was when the slice began. */
  get isRepeating(): boolean {
    return this.#isReplaying || this.#machine.position.units < this.#furthest.units;
  }

  checkpoint(): void {
    const { position, canSave } = this.#machine;
    if (!canSave || this.#checkpoints.before(position.units)?.units === position.units) return;
    this.#checkpoints.add(position.units, { machine: this.#machine.save(), replayed: this.#replayed });
  }

  // ---- what the machine tells --------------------------------------------------------------------------------------

  /** Something came from outside and has been done. The past, once changed, leads to another future. */
  happened(apply: () => void): void {
    if (this.#isReplaying || !this.isKept) return;
    const { position } = this.#machine;
    if (this.isInPast) {
      this.#log.length = this.#replayed;
      this.#checkpoints.dropAfter(position.units);
      this.#furthest = position;
    }
    this.#log.push({ position, apply });
    this.#replayed = this.#log.length;
  }

  /** The run has come to a boundary: what came from outside here comes again. */
  replay(): void {
    for (let entry = this.#log[this.#replayed]; entry; entry = this.#log[this.#replayed]) {
      const { position } = this.#machine;
      const { units, stage } = entry.position;
      if (stage >= 0 && position.stage < 0 && position.units === units - 1) this.#toStage(entry.position);
      else if (isBefore(position, entry.position)) return;
      this.#replayed++;
      entry.apply();
    }
    if (isBefore(this.#furthest, this.#machine.position)) this.#furthest = this.#machine.position;
  }

  /** Units at which the run has to come to a boundary next. */
  get nextBoundary(): number {
    const { units } = this.#machine.position;
    const entry = this.#log[this.#replayed]?.position;
    const atEntry = entry ? entry.units - (entry.stage >= 0 ? 1 : 0) : Number.POSITIVE_INFINITY;
    const atEnd = this.#furthest.units > units ? this.#furthest.units : Number.POSITIVE_INFINITY;
    return Math.max(units + 1, Math.min(atEntry, atEnd));
  }

  // ---- going back --------------------------------------------------------------------------------------------------

  get position(): Position {
    return this.#machine.position;
  }

  goTo(position: Position): boolean {
    const origin = this.#checkpoints.all[0];
    this.#leave();
    const isSeen = !isBefore(this.#furthest, position);
    if (!origin || !isSeen || position.units < origin.units) return false;
    this.#goTo(position);
    this.#machine.arrivedAt(undefined);
    return true;
  }

  goToExit(number: number): boolean {
    if (!this.isKept) return false;
    const start = this.#leave();
    const found = this.#goToExit(number, start);
    if (!found) this.#goTo(start);
    this.#machine.arrivedAt(undefined);
    return found;
  }

  lookAtExit<T>(number: number, look: () => T): T | undefined {
    if (!this.isKept) return undefined;
    const start = this.#leave();
    let seen: T | undefined;
    this.#machine.away(() => {
      if (this.#goToExit(number, start)) seen = look();
      this.#goTo(start);
    });
    return seen;
  }

  #goToExit(number: number, start: Position): boolean {
    const units = this.#machine.unitsOfExit(number);
    if (units === undefined) return false;
    const origin = this.#checkpoints.all[0]?.units ?? 0;
    this.#goTo({ units: Math.max(origin, units - EXIT_MARGIN), idleNs: 0, stage: -1 });
    return this.#machine.exits <= number && this.#toExit(number, start);
  }

  /** Unit by unit until so many exits more than a number have taken place. */
  #toExit(number: number, start: Position): boolean {
    const machine = this.#machine;
    this.#quietly(() => {
      while (machine.exits <= number && isBefore(machine.position, start) && this.#comesOn());
      this.replay();
    });
    return machine.exits > number;
  }

  /** A stage further, or a unit where no exit is being handled or its handling waits; false if there is no way on. */
  #comesOn(): boolean {
    const machine = this.#machine;
    const before = machine.position;
    if (before.stage >= 0) machine.advanceQuietly();
    if (isSame(before, machine.position)) machine.stepQuietly();
    return !isSame(before, machine.position);
  }

  stepBack(): boolean {
    const origin = this.#checkpoints.all[0];
    const { units, stage } = this.#leave();
    if (!origin || (units <= origin.units && stage <= 0)) return false;
    if (stage > 0) this.#goTo({ units, idleNs: 0, stage: stage - 1 });
    else this.#goToEndOf({ units: units - 1, wasHandling: stage === 0 });
    this.#machine.arrivedAt(undefined);
    return true;
  }

  /** The state before a unit; if that is a VM exit whose handling was passed by, the last stage of that. */
  #goToEndOf({ units, wasHandling }: { units: number; wasHandling: boolean }): void {
    this.#goTo({ units, idleNs: 0, stage: -1 });
    if (wasHandling) return;
    this.#quietly(() => this.#machine.stepQuietly());
    if (this.#machine.position.stage < 0) return this.#goTo({ units, idleNs: 0, stage: -1 });
    let last = 0;
    this.#quietly(() => {
      for (; this.#machine.position.stage >= 0; last = Math.max(last, this.#machine.position.stage)) {
        this.#machine.advanceQuietly();
      }
    });
    this.#goTo({ units: units + 1, idleNs: 0, stage: last });
  }

  *reverse(accepts: (stop: Stop) => boolean): Generator<void, Stop | undefined, void> {
    const start = this.#leave();
    // Before the start; but what stopped where a checkpoint is counts.
    let isWithin = (position: Position) => isBefore(position, start);
    let { units } = start;
    for (const from of this.#placesBack(start.units)) {
      const found = yield* this.#lastStop(from, units, (stop) => isWithin(this.#machine.position) && accepts(stop));
      if (found) {
        this.#goTo(found.position);
        this.#machine.arrivedAt(found.stop);
        return found.stop;
      }
      units = from;
      isWithin = () => true;
    }
    const origin = this.#checkpoints.all[0];
    if (origin) this.#goTo({ units: origin.units, idleNs: 0, stage: -1 });
    this.#machine.arrivedAt(undefined);
    return undefined;
  }

  lastInstruction(units: number, accepts: () => boolean): boolean {
    const start = this.#leave();
    const first = Math.max(start.units - units, this.#checkpoints.all[0]?.units ?? start.units);
    let found: Position | undefined;
    this.#goTo({ units: first, idleNs: 0, stage: -1 });
    this.#quietly(() => {
      while (this.#machine.position.units < start.units) {
        const { position } = this.#machine;
        if (accepts()) found = position;
        this.#machine.runQuietly(position.units + 1);
        if (this.#machine.position.units === position.units) return;
      }
    });
    this.#goTo(found ?? start);
    this.#machine.arrivedAt(undefined);
    return found !== undefined;
  }

  /** Where to look for stops from: a little before a place, then the checkpoints before it. */
  #placesBack(units: number): number[] {
    const checkpoints = this.#checkpoints.all.filter((checkpoint) => checkpoint.units < units).map((one) => one.units);
    const last = checkpoints.at(-1) ?? units;
    return [...WINDOWS.map((window) => units - window).filter((from) => from > last), ...checkpoints.reverse()];
  }

  /** The last stop that is accepted from a place on, in a run to a number of units. */
  *#lastStop(
    from: number,
    until: number,
    accepts: (stop: Stop) => boolean,
  ): Generator<void, { readonly position: Position; readonly stop: Stop } | undefined, void> {
    this.#restore(from);
    this.#quietly(() => this.#machine.runQuietly(from));
    let found: { readonly position: Position; readonly stop: Stop } | undefined;
    let fresh = true;
    while (this.#machine.position.units < until) {
      const next = Math.min(until, this.#machine.position.units + SCAN_UNITS);
      const stop = this.#machine.runToStop(next, fresh);
      const { position } = this.#machine;
      fresh = stop.kind === 'limit';
      if (fresh) yield;
      else if (accepts(stop)) found = { position, stop };
      if (ends.has(stop.kind)) break;
    }
    return found;
  }

  /** The place that is left. What comes behind it was seen already. */
  #leave(): Position {
    const { position } = this.#machine;
    if (isBefore(this.#furthest, position)) this.#furthest = position;
    return position;
  }

  /** Goes to a place before the furthest one, by the checkpoint before it. */
  #goTo(target: Position): void {
    const last = target.stage >= 0 ? target.units - 1 : target.units;
    this.#restore(last);
    this.#quietly(() => {
      const machine = this.#machine;
      if (last - machine.position.units > 2 * NEARBY_UNITS) {
        machine.runQuietly(last - NEARBY_UNITS);
        this.checkpoint();
      }
      machine.runQuietly(last);
      if (target.stage >= 0) this.#toStage(target);
      else machine.passTimeQuietly(target.idleNs);
      this.replay();
    });
  }

  /** From before the unit whose VM exit is handled. */
  #toStage({ stage }: Position): void {
    this.#machine.stepQuietly();
    while (this.#machine.position.stage >= 0 && this.#machine.position.stage < stage) this.#machine.advanceQuietly();
  }

  #restore(units: number): void {
    const checkpoint = this.#checkpoints.before(units);
    if (!checkpoint) throw new Error(`no checkpoint at or before unit ${units}`);
    this.#checkpoints.restoreMemory(checkpoint);
    this.#machine.restore(checkpoint.rest.machine);
    this.#replayed = checkpoint.rest.replayed;
  }

  #quietly(work: () => void): void {
    const outer = this.#isReplaying;
    this.#isReplaying = true;
    try {
      work();
    } finally {
      this.#isReplaying = outer;
    }
  }
}
