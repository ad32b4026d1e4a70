/** A machine: processors, memory and devices running a guest program, with everything a debugger asks of it. */

import type { HotSpotOptions } from '../exec/compiler/hot-spots.ts';
import { linearAddressOf } from '../isa/linear-address.ts';
import { Boundaries } from './boundaries.ts';
import { History } from './history.ts';
import { Host } from './host.ts';
import type {
  ExitLogView,
  ExitQuery,
  MachineConfig,
  MachineControl,
  MachineEvent,
  OutputSource,
  RunOptions,
  RunStatistics,
  Stop,
  StopFilter,
  VmcsSummary,
  Watch,
} from './machine-api.ts';
import { Observers } from './observers.ts';
import { MachinePlatform } from './platform.ts';
import { ProcessorSignals } from './processor-signals.ts';
import { ReplayedMachine, type SavedMachine } from './replayed-machine.ts';
import { Scheduler } from './scheduler.ts';
import { Slices } from './slices.ts';
import { StaleTranslations } from './stale-translations.ts';
import { StopConditions } from './stop-conditions.ts';
import { VcpuAccess } from './vcpu-access.ts';
import { Virtualizer } from './virtualizer.ts';
import { Waiting } from './waiting.ts';
import { Watches } from './watches/watches.ts';

/**
 * Exceptions, VM exits and waits for a device that a run goes through: so many at least, and one for so many instructions
 * of its limit. They take far longer than an instruction and need not retire any, so the limit alone would not end a run
 * in reasonable time.
 */
const DETOURS = 2000;
const INSTRUCTIONS_PER_DETOUR = 200;
/** What watches call the work of the built-in hypervisor. */
const HANDLING = "the hypervisor's handling of a VM exit";

/** What tests of the engine set and nobody else: the public door, `createMachine`, does not take it. */
export interface MachineInternals {
  /** When code is compiled, if not as is usual. */
  readonly hotSpots?: HotSpotOptions;
  /** How many handlers of instruction forms are kept, if not as many as there is room for. */
  readonly handlerRoom?: number;
}

export class Machine implements MachineControl {
  readonly config: MachineConfig;
  readonly host: Host;
  readonly platform: MachinePlatform;
  readonly vcpus: readonly VcpuAccess[];
  readonly stops = new StopConditions();
  readonly #observers = new Observers(
    this.stops,
    () => this,
    (event) => this.report(event),
  );
  onOutput: (source: OutputSource, bytes: Uint8Array) => void = () => {};
  /** VT-x, and the built-in hypervisor if the guest runs under it. */
  readonly virtualizer: Virtualizer;
  readonly watches: Watches;
  readonly staleTranslations: StaleTranslations;
  readonly signals: ProcessorSignals;
  readonly scheduler: Scheduler;
  readonly #boundaries = new Boundaries(() => this);
  readonly slices = new Slices(() => this, this.#boundaries);
  #final: Stop | undefined;
  readonly #waiting: Waiting;
  readonly history: History<SavedMachine>;
  /** The one vCPU that runs, if not all take turns. */
  #only: number | undefined;

  constructor(config: MachineConfig, internals: MachineInternals = {}) {
    this.config = config;
    this.host = new Host({
      ramBytes: Virtualizer.ramBytes(config),
      cpus: config.cpus,
      ports: {
        read: (port, size) => this.platform.readPort(port, size),
        write: (p, s, v) => this.platform.writePort(p, s, v),
      },
      hooks: this.#observers.hooks,
      owner: this.#boundaries,
      localApic: config.virtualization === 'none',
      cpu: config.cpu,
      ...internals,
    });
    this.platform = new MachinePlatform(config, {
      host: this.host,
      guestBase: Virtualizer.guestBase(config),
      output: (source, bytes) => {
        if (!this.history.isRepeating) this.onOutput(source, bytes);
      },
      ended: (stop) => this.#end(stop),
      report: (event) => void this.report(event),
      isWatched: (filter) => this.stops.watches(filter),
      accessed: () => this.slices.deviceAccessed(),
      apic: {
        init: (vcpu) => this.signals.init(vcpu),
        startUp: (vcpu, vector) => this.signals.startUp(vcpu, vector),
        nmi: (vcpu) => this.signals.nmi(vcpu),
      },
    });
    this.virtualizer = new Virtualizer(config, this.host, this.platform, {
      report: (event) => this.report(event),
      watches: (filter) => this.stops.watches(filter),
      requestStop: (stop) => this.requestStop(stop),
      stopRequested: () => this.stops.isRequested || this.watches.isUnsettled,
    });
    this.signals = new ProcessorSignals(this.host, config.cpus, {
      resetApic: () => this.platform.apics?.loaded.reset(),
      bootstrapReset: () => this.#end({ kind: 'exited', code: 0, how: 'reset requested by INIT' }),
    });
    this.scheduler = new Scheduler(this.#boundaries.turns());
    this.vcpus = Array.from(
      { length: config.cpus },
      (_, index) => new VcpuAccess(index, this.host, this.virtualizer, (edit) => this.history.happened(edit)),
    );
    this.watches = new Watches(
      this.host,
      (stop) => this.requestStop(stop),
      () => this.stops.isQuiet,
    );
    this.staleTranslations = new StaleTranslations(this.host, this.watches, (event) => this.report(event));
    this.host.runtime.afterSystem = () => this.#boundaries.afterSystem();
    this.host.runtime.interruptWanted = () => this.#boundaries.interruptWanted();
    this.host.runtime.isUnsettled = () => this.watches.isUnsettled;
    this.#observers.changed();
    this.virtualizer.keepExitLog((instructions) => this.slices.unitsAfter(instructions));
    this.#waiting = new Waiting({ ...this, cpus: config.cpus });
    this.virtualizer.start(config.program);
    this.history = new History(this.#replayed(), this.host.physical);
  }

  get currentVcpu(): number {
    return this.host.loaded;
  }
  /** Whether it stands at a stop that nothing leads on from. */
  get hasEnded(): boolean {
    return this.#final !== undefined;
  }
  get instructionCount(): number {
    return this.host.clock.instructions;
  }
  get onEvent(): ((event: MachineEvent) => void) | undefined {
    return this.stops.onEvent;
  }
  set onEvent(listener: ((event: MachineEvent) => void) | undefined) {
    this.stops.onEvent = listener;
    this.#observers.changed();
  }

  // ---- control -----------------------------------------------------------------------------------------------------

  run(options: RunOptions = {}): Stop {
    this.#select(options.vcpu);
    const { regions } = this.host.executor;
    regions.runBegins();
    const stop = this.#run(options);
    regions.runEnds();
    return stop;
  }

  /** The one vCPU that runs from now on; undefined for all. */
  #select(vcpu: number | undefined): void {
    if (this.config.cpus === 1) return;
    if (vcpu === this.#only && (vcpu === undefined || vcpu === this.currentVcpu)) return;
    this.#fromOutside(() => {
      this.#only = vcpu;
      if (vcpu !== undefined) this.host.load(vcpu);
    });
  }

  #run(options: RunOptions & { readonly untilUnits?: number }): Stop {
    const { instructions: limit = Number.POSITIVE_INFINITY, skipFirstBreakpoint = true } = options;
    const { untilUnits = Number.POSITIVE_INFINITY } = options;
    if (skipFirstBreakpoint) this.slices.marks.set(this.currentVcpu, this.host.state.rip);
    else this.slices.marks.delete(this.currentVcpu);
    let left = limit;
    let detours = Math.max(DETOURS, limit / INSTRUCTIONS_PER_DETOUR);
    this.watches.discard();
    this.staleTranslations.begin();
    for (;;) {
      this.watches.settle();
      const stop = this.#final ?? this.stops.take() ?? this.#waiting.shutdown();
      if (stop) return stop;
      this.history.replay();
      this.watches.discard();
      if (left <= 0 || detours <= 0 || this.slices.units >= untilUnits) return { kind: 'limit' };
      this.slices.serviceDue();
      const before = this.instructionCount;
      if (this.virtualizer.handling) {
        if (this.virtualizer.isStepping) return { kind: 'limit' };
        this.watches.during(HANDLING, () => this.virtualizer.finishHandling());
        left -= this.instructionCount - before;
      } else if (!this.scheduler.next(this.#only)) {
        const end = this.#waiting.passTime(this.#only);
        if (end) return end;
        detours--;
      } else if (this.#boundaries.takeInterruptions() > 0) {
        // The wait of a vCPU was ended by an interrupt: that is a step.
        left--;
        this.slices.units++;
      } else if (!this.virtualizer.handling) {
        detours -= this.slices.run(Math.min(left, untilUnits - this.slices.units), this.#only === undefined);
        // A slice in which only an event was dealt with counts as one instruction: that is a step.
        left -= Math.max(1, this.instructionCount - before);
      }
    }
  }

  step(vcpu?: number): Stop {
    if (vcpu !== undefined) this.#select(vcpu);
    if (this.#final) return this.#final;
    if (this.virtualizer.handling) {
      this.watches.discard();
      this.watches.during(HANDLING, () => this.virtualizer.advanceStage());
      this.watches.settle();
      return this.#final ?? this.stops.take() ?? { kind: 'limit' };
    }
    this.virtualizer.isStepping = true;
    try {
      return this.run({ instructions: 1, ...(vcpu === undefined ? {} : { vcpu }) });
    } finally {
      this.virtualizer.isStepping = false;
    }
  }

  /** Asks a run to stop at the next instruction boundary. */
  requestStop(stop: Stop): void {
    this.stops.request(stop);
    this.host.runtime.stopRequested = true;
  }

  /** Reports an event; true if the run is going to stop at it. */
  report(event: MachineEvent): boolean {
    const stops = this.stops.report(event, this.instructionCount);
    if (stops) this.host.runtime.stopRequested = true;
    return stops;
  }

  input(source: OutputSource, bytes: Uint8Array): void {
    this.#fromOutside(() => this.platform.input(source, bytes));
  }

  /** Does what comes from outside of the machine; it comes again whenever the run is repeated. */
  #fromOutside(apply: () => void): void {
    this.history.happened(apply);
    apply();
  }

  setBreakpoints(addresses: readonly bigint[]): void {
    this.host.codeCache.setMarks(new Set(addresses.map((address) => linearAddressOf(address))));
  }

  setWatches(watches: readonly Watch[]): void {
    this.watches.set(watches, this.platform);
    this.#observers.changed();
  }

  setFilter(filter: StopFilter, armed: boolean, condition?: (event: MachineEvent) => boolean): void {
    this.stops.setFilter(filter, armed, condition);
    this.#observers.changed();
  }

  virtqueues() {
    return this.platform.pc.describe().virtio;
  }

  statistics(): RunStatistics {
    const { statistics } = this.host.mmu;
    return {
      instructions: this.instructionCount,
      exitsByReason: this.virtualizer.exitsByReason(),
      tlbHits: statistics.hits,
      tlbMisses: statistics.misses,
    };
  }

  exitLog(query?: ExitQuery): ExitLogView {
    return this.virtualizer.exitLog(query);
  }

  vmcss(): readonly VmcsSummary[] {
    return this.virtualizer.vmcss();
  }

  lastExit(): MachineEvent | undefined {
    return this.virtualizer.lastExit();
  }

  stateHash(): string {
    return this.platform.stateHash();
  }

  // ---- history -----------------------------------------------------------------------------------------------------

  #replayed(): ReplayedMachine {
    const { host, platform, virtualizer } = this;
    const machine = this;
    return new ReplayedMachine({
      ...{ host, platform, virtualizer, signals: this.signals, scheduler: this.scheduler },
      get units() {
        return machine.slices.units;
      },
      set units(units) {
        machine.slices.units = units;
      },
      run: (units, fresh = false) => this.#run({ untilUnits: units, skipFirstBreakpoint: !fresh }),
      quietly: (work) => this.#quietly(work),
      passTime: () => !this.scheduler.next(this.#only) && !this.#waiting.passTime(this.#only),
      arrivedAt: (stop) => this.#arrivedAt(stop),
      away: (work) => this.#away(work),
    });
  }

  #quietly(work: () => void): void {
    const { isQuiet } = this.stops;
    this.stops.isQuiet = true;
    this.#observers.changed();
    try {
      work();
    } finally {
      this.stops.isQuiet = isQuiet;
      this.#observers.changed();
    }
  }

  /** Does some work elsewhere in the run; afterwards the stop that the machine stands at is as it was. */
  #away(work: () => void): void {
    const final = this.#final;
    const marks = [...this.slices.marks];
    const putBack = this.stops.hold();
    work();
    this.#final = final;
    for (const [vcpu, rip] of marks) this.slices.marks.set(vcpu, rip);
    putBack();
  }

  #arrivedAt(stop: Stop | undefined): void {
    this.stops.arrivedAt(stop, this.instructionCount);
    this.#final = undefined;
    this.slices.marks.clear();
  }

  #end(stop: Stop): void {
    this.#final ??= stop;
    this.requestStop(stop);
  }
}

export function createMachine(config: MachineConfig): Machine {
  return new Machine(config);
}
