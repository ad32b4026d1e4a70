/** A machine: processors, memory and devices running a guest program, with everything a debugger asks of it. */

import { isDebugFault } from '../cpu/debug-exceptions.ts';
import { GuestFault, Unimplemented, Vector, VmExit } from '../cpu/events.ts';
import { raiseFault } from '../cpu/interrupts.ts';
import { MONITOR_TRAP } from '../cpu/monitor-trap.ts';
import { endMonitoring, MONITORING } from '../cpu/monitoring.ts';
import { ACTIVITY, RFLAGS } from '../cpu/register-bits.ts';
import { earlier } from '../devices/device.ts';
import type { HotSpotOptions } from '../exec/compiler/hot-spots.ts';
import type { ExecutorOwner } from '../exec/executor.ts';
import { worldSwitchPlace } from '../vmx/world-switch-layout.ts';
import { exceptionEvent } from './event-descriptions.ts';
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
import { Scheduler, type Turns } from './scheduler.ts';
import { StaleTranslations } from './stale-translations.ts';
import { StopBefore } from './stop-before.ts';
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
/** Consecutive slices after which scattered handlers are put into one module. */
const SETTLE_AFTER = 1_000_000;

/** What tests of the engine set and nobody else: the public door, `createMachine`, does not take it. */
export interface MachineInternals {
  /** When code is compiled, if not as is usual. */
  readonly hotSpots?: HotSpotOptions;
  /** How many handlers of instruction forms are kept, if not as many as there is room for. */
  readonly handlerRoom?: number;
}

export class Machine implements MachineControl, ExecutorOwner {
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
  readonly #signals: ProcessorSignals;
  readonly #scheduler: Scheduler;
  /** Where a vCPU stopped before a marked instruction, by its index: RIP. */
  readonly #marks = new Map<number, number>();
  #final: Stop | undefined;
  readonly #waiting: Waiting;
  readonly history: History<SavedMachine>;
  /** Instructions retired and events dealt with, in slices that ended. */
  #units = 0;
  /** Events of the executor's run, the last one between slices, that are among these units. */
  #eventsCounted = 0;
  /** Interrupts and signals taken that are not counted as units yet. */
  #taken = 0;
  /** Events of the slice under way that the run stops at: they will come again. */
  #held = 0;
  /** When the slice that runs ends for a device. */
  #sliceEndNs = Number.POSITIVE_INFINITY;
  /** The slice is over before what it was given: a device will be due earlier than it looked. */
  #sliceIsOver = false;
  #unsettled = 0;
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
      owner: this,
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
      accessed: () => this.#deviceAccessed(),
      apic: {
        init: (vcpu) => this.#signals.init(vcpu),
        startUp: (vcpu, vector) => this.#signals.startUp(vcpu, vector),
        nmi: (vcpu) => this.#signals.nmi(vcpu),
      },
    });
    this.virtualizer = new Virtualizer(config, this.host, this.platform, {
      report: (event) => this.report(event),
      watches: (filter) => this.stops.watches(filter),
      requestStop: (stop) => this.requestStop(stop),
      stopRequested: () => this.stops.isRequested || this.watches.isUnsettled,
    });
    this.#signals = new ProcessorSignals(this.host, config.cpus, {
      resetApic: () => this.platform.apics?.loaded.reset(),
      bootstrapReset: () => this.#end({ kind: 'exited', code: 0, how: 'reset requested by INIT' }),
    });
    this.#scheduler = new Scheduler(this.#turns());
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
    this.host.runtime.afterSystem = () => this.#afterSystem();
    this.host.runtime.interruptWanted = () =>
      this.#signals.isPending(this.currentVcpu) || this.virtualizer.wantsInterrupt();
    this.host.runtime.isUnsettled = () => this.watches.isUnsettled;
    this.#observers.changed();
    this.virtualizer.keepExitLog((instructions) => this.#unitsAfter(instructions));
    this.#waiting = new Waiting({ ...this, cpus: config.cpus });
    this.virtualizer.start(config.program);
    this.history = new History(this.#replayed(), this.host.physical);
  }

  get currentVcpu(): number {
    return this.host.loaded;
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
    return this.#run(options);
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
    if (skipFirstBreakpoint) this.#marks.set(this.currentVcpu, this.host.state.rip);
    else this.#marks.delete(this.currentVcpu);
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
      if (left <= 0 || detours <= 0 || this.#units >= untilUnits) return { kind: 'limit' };
      this.#serviceDue();
      const before = this.instructionCount;
      if (this.virtualizer.handling) {
        if (this.virtualizer.isStepping) return { kind: 'limit' };
        this.watches.during(HANDLING, () => this.virtualizer.finishHandling());
        left -= this.instructionCount - before;
      } else if (!this.#scheduler.next(this.#only)) {
        const end = this.#waiting.passTime(this.#only);
        if (end) return end;
        detours--;
      } else if (this.#taken > 0) {
        // The wait of a vCPU was ended by an interrupt: that is a step.
        left--;
        this.#units++;
        this.#taken = 0;
      } else if (!this.virtualizer.handling) {
        detours -= this.#slice(Math.min(left, untilUnits - this.#units), this.#only === undefined);
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
    this.host.codeCache.setMarks(new Set(addresses.map((address) => Number(BigInt.asIntN(64, address)))));
  }

  setWatches(watches: readonly Watch[]): void {
    this.watches.set(watches, this.platform.pc.portBus);
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
      ...{ host, platform, virtualizer, signals: this.#signals, scheduler: this.#scheduler },
      get units() {
        return machine.#units;
      },
      set units(units) {
        machine.#units = units;
      },
      run: (units, fresh = false) => this.#run({ untilUnits: units, skipFirstBreakpoint: !fresh }),
      quietly: (work) => this.#quietly(work),
      passTime: () => !this.#scheduler.next(this.#only) && !this.#waiting.passTime(this.#only),
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
    const marks = [...this.#marks];
    const putBack = this.stops.hold();
    work();
    this.#final = final;
    for (const [vcpu, rip] of marks) this.#marks.set(vcpu, rip);
    putBack();
  }

  #arrivedAt(stop: Stop | undefined): void {
    this.stops.arrivedAt(stop, this.instructionCount);
    this.#final = undefined;
    this.#marks.clear();
  }

  // ---- what the run loop asks --------------------------------------------------------------------------------------

  handleEvent(event: unknown): void {
    const isWatched = this.watches.isArmed && (event instanceof GuestFault || event instanceof VmExit);
    if (isWatched) this.watches.duringEvent(event, () => this.#handle(event));
    else this.#handle(event);
  }

  #handle(event: unknown): void {
    if (event instanceof StopBefore) this.#held++;
    else if (event instanceof GuestFault) this.#fault(event);
    else if (event instanceof VmExit) {
      const fault = this.virtualizer.asException(event);
      if (fault && this.#stopsBefore('exception', fault)) return this.#hold(fault);
      this.stops.passed();
      this.virtualizer.exit(event);
      // Only the built-in hypervisor reaches devices while it handles the exit.
      if (this.config.virtualization !== 'none') this.#deviceAccessed();
    } else if (event instanceof Unimplemented) {
      this.#held++;
      this.requestStop({ kind: 'unimplemented', vcpu: this.currentVcpu, what: event.what });
    } else throw this.#internal(event);
  }

  takeInterruptions(): number {
    const taken = this.#taken;
    this.#taken = 0;
    return taken;
  }

  interrupted(): boolean {
    if (!this.watches.isArmed) return this.#interrupt();
    this.watches.settle();
    const isOver = this.watches.during('an event before the instruction', () => this.#interrupt());
    this.watches.settle();
    return isOver || this.stops.isRequested;
  }

  #interrupt(): boolean {
    if (this.stops.isRequested || this.#final || this.#sliceIsOver) return true;
    this.#takeBeforeTraps();
    if (this.host.executor.trapIsPending) return this.virtualizer.handling;
    this.#takeUpToNmis();
    if (this.host.state.activityState !== ACTIVITY.ACTIVE || this.virtualizer.handling) return true;
    if (this.virtualizer.offerInterrupt()) this.#taken++;
    return this.stops.isRequested || this.host.state.activityState !== ACTIVITY.ACTIVE || this.virtualizer.handling;
  }

  /** What comes before traps of the last instruction (SDM volume 3, "Priority Among Concurrent Events"). */
  #takeBeforeTraps(): void {
    this.virtualizer.completeInstruction();
    if (this.#signals.deliverStarts()) this.#taken++;
    if (this.virtualizer.offerExitBeforeTraps()) this.#taken++;
  }
  /** What comes after those traps and before external interrupts. */
  #takeUpToNmis(): void {
    if (this.virtualizer.offerTimerOrNmiWindow()) this.#taken++;
    if (this.#signals.deliverNmi()) this.#taken++;
  }

  stopAtMark(): boolean {
    if (this.stops.isQuiet) return false;
    const { instructionAddress } = this.vcpus[this.currentVcpu] as VcpuAccess;
    this.requestStop({ kind: 'breakpoint', vcpu: this.currentVcpu, address: instructionAddress });
    this.#marks.set(this.currentVcpu, this.host.state.rip);
    return true;
  }

  #fault(fault: GuestFault): void {
    if (fault.vector === Vector.PF && this.#stopsBefore('page-fault', fault)) return this.#hold(fault);
    if (this.#stopsBefore('exception', fault)) return this.#hold(fault);
    this.stops.passed();
    if (this.host.deliverFast(fault)) return;
    try {
      raiseFault(this.host.processor, fault);
    } catch (event) {
      this.handleEvent(event);
    }
  }

  #stopsBefore(filter: StopFilter, fault: GuestFault): boolean {
    return this.stops.watches(filter) && this.report(exceptionEvent(filter, fault, this.host));
  }

  /** A fault that the run stops at comes again with its instruction; the instruction of a trap is over. */
  #hold(fault: GuestFault): void {
    this.#held++;
    if (isDebugFault(fault) && fault.trap) this.host.state.pendingDebug |= fault.dr6;
  }

  #afterSystem(): boolean {
    const { state, executor } = this.host;
    executor.refreshJumpKey();
    this.watches.afterSystem();
    return (
      this.stops.isRequested ||
      this.watches.isUnsettled ||
      state.activityState !== ACTIVITY.ACTIVE ||
      state.interruptibility !== 0 ||
      state.pendingDebug !== 0 ||
      state.monitorTrap !== MONITOR_TRAP.OFF ||
      state.apicEvent !== 0 ||
      this.#endSliceBefore(state.preemptionDeadline || undefined) ||
      (state.flagsOther & (RFLAGS.TF | RFLAGS.RF)) !== 0 ||
      this.virtualizer.handling ||
      this.#signals.isPending(this.currentVcpu) ||
      this.virtualizer.wantsInterrupt()
    );
  }

  // ---- running -----------------------------------------------------------------------------------------------------

  #turns(): Turns {
    const { host } = this;
    return {
      count: this.config.cpus,
      get loaded() {
        return host.loaded;
      },
      load: (vcpu) => host.load(vcpu),
      mayRun: (vcpu) => this.#mayRun(vcpu),
      wake: () => {
        if (host.state.activityState === ACTIVITY.ACTIVE && !this.#signals.isPending(host.loaded)) return true;
        return this.watches.during('an event that ends the wait', () => this.#wake());
      },
    };
  }

  /** Whether the loaded vCPU, which waits, goes on. */
  #wake(): boolean {
    this.#takeBeforeTraps();
    if (this.host.executor.trapIsPending && this.host.state.activityState === ACTIVITY.ACTIVE) return true;
    this.#takeUpToNmis();
    const { activityState } = this.host.state;
    if (activityState !== ACTIVITY.HLT) return activityState === ACTIVITY.ACTIVE;
    if (this.virtualizer.wake()) this.#taken++;
    else if (!this.#endsWait()) return false;
    return true;
  }

  /** Whether an interrupt that the loaded vCPU does not take yet ends its MWAIT. */
  #endsWait(): boolean {
    const { state } = this.host;
    if (state.monitorArmed !== MONITORING.WAITS_FOR_MASKED_TOO || !this.platform.interruptPending) return false;
    endMonitoring(state);
    return true;
  }

  /** False if the vCPU certainly cannot run now. */
  #mayRun(vcpu: number): boolean {
    const { host, platform, virtualizer } = this;
    const isActive = host.activityState(vcpu) === ACTIVITY.ACTIVE;
    const isSignalled = this.#signals.isPending(vcpu) || platform.interruptPendingFor(vcpu);
    return isActive || isSignalled || virtualizer.mayLeaveGuest(vcpu);
  }

  /** Runs the loaded vCPU for a slice; returns how many events were dealt with in it. */
  #slice(limit: number, isTurn: boolean): number {
    const { host } = this;
    const { executor, clock, library } = host;
    const deadline = earlier(this.platform.nextDeadlineNs(), host.preemptionDeadline()) ?? Number.POSITIVE_INFINITY;
    const untilDeadline = Math.max(1, Math.ceil(deadline - clock.nowNs));
    this.#sliceEndNs = deadline;
    this.#sliceIsOver = false;
    const mark = this.#marks.get(this.currentVcpu);
    this.#marks.delete(this.currentVcpu);
    const untilBoundary = this.history.nextBoundary - this.#units;
    this.#eventsCounted = 0;
    this.#tellTime();
    executor.run(Math.min(limit, untilDeadline, untilBoundary, this.#scheduler.sliceInstructions), mark);
    const { consumed } = executor;
    this.#units += consumed - this.#held;
    this.#held = 0;
    this.#eventsCounted = executor.events;
    if (isTurn) this.#scheduler.used(consumed);
    const executed = executor.takeExecuted();
    if (executed === 0 && mark === this.host.state.rip) this.#marks.set(this.currentVcpu, mark);
    clock.retired += executed;
    if (library.isScattered && (this.#unsettled += executed) > SETTLE_AFTER) {
      library.settle();
      this.#unsettled = 0;
    }
    return consumed - executed;
  }

  /** What the exits that compiled code makes in this slice are logged with. */
  #tellTime(): void {
    const { clock, state } = this.host;
    const set = (part: keyof typeof worldSwitchPlace, value: number) =>
      state.view.setFloat64(worldSwitchPlace[part], value, true);
    set('retired', clock.retired);
    set('own', clock.ownOf(0));
    set('idleNs', clock.idleNs);
    set('units', this.#units - clock.retired - this.#held);
    state.view.setUint32(worldSwitchPlace.vcpu, this.host.loaded, true);
  }

  /** Devices work between slices, and after a stop: what they were asked for is still to be seen there. */
  #serviceDue(): void {
    const deadline = this.platform.nextDeadlineNs();
    if (deadline !== undefined && deadline <= this.host.clock.nowNs) this.platform.service();
  }

  /** Units when so many instructions have been retired in this slice, or before it: their events have been dealt with. */
  #unitsAfter(instructions: number): number {
    const { clock, executor } = this.host;
    return this.#units + instructions - clock.retired + executor.events - this.#eventsCounted - this.#held;
  }

  /** Ends the slice where a device is due earlier than when it began. */
  #deviceAccessed(): void {
    this.#endSliceBefore(this.platform.nextDeadlineNs());
  }
  /** Ends the slice if a deadline comes before its end; whether it does. */
  #endSliceBefore(deadline: number | undefined): boolean {
    if (deadline === undefined || deadline >= this.#sliceEndNs) return false;
    this.#sliceIsOver = true;
    this.host.runtime.stopRequested = true;
    return true;
  }

  #end(stop: Stop): void {
    this.#final ??= stop;
    this.requestStop(stop);
  }

  /** An internal bug carries where it happened. */
  #internal(cause: unknown): Error {
    const at = `RIP 0x${BigInt.asUintN(64, BigInt(this.host.state.rip)).toString(16)}, instruction ${this.instructionCount}`;
    return new Error(`internal error at ${at}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

export function createMachine(config: MachineConfig): Machine {
  return new Machine(config);
}
