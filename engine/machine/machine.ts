/** A machine: processors, memory and devices running a guest program, with everything a debugger asks of it. */
import { GuestFault, Unimplemented, Vector, VmExit } from '../cpu/events.ts';
import { raiseFault } from '../cpu/interrupts.ts';
import { ACTIVITY, RFLAGS } from '../cpu/register-bits.ts';
import type { CpuState } from '../cpu/state.ts';
import type { ExecutorOwner } from '../exec/executor.ts';
import { Access } from '../mmu/access.ts';
import { exceptionEvent, instructionEvent, ringEvent, tripleFaultEvent } from './event-descriptions.ts';
import { Host } from './host.ts';
import type {
  MachineConfig,
  MachineControl,
  MachineEvent,
  OutputSource,
  RunOptions,
  RunStatistics,
  Stop,
  StopFilter,
} from './machine-api.ts';
import { MachinePlatform } from './platform.ts';
import { StopConditions } from './stop-conditions.ts';
import { VcpuAccess } from './vcpu-access.ts';
import { Virtualizer } from './virtualizer.ts';
import { type PhysicalWatch, Watches } from './watches.ts';

/** Instructions a vCPU runs before the next one's turn. */
const QUANTUM = 100_000;
/** Consecutive slices after which scattered handlers are put into one module. */
const SETTLE_AFTER = 1_000_000;

/** Thrown to leave an instruction that has not begun, for a stop that was already requested. */
class StopBefore {}

export class Machine implements MachineControl, ExecutorOwner {
  readonly config: MachineConfig;
  readonly host: Host;
  readonly platform: MachinePlatform;
  readonly vcpus: readonly VcpuAccess[];
  readonly stops = new StopConditions();
  onOutput: (source: OutputSource, bytes: Uint8Array) => void = () => {};
  /** VT-x, and the built-in hypervisor if the guest runs under it. */
  readonly virtualizer: Virtualizer;
  readonly #watches: Watches;
  #final: Stop | undefined;
  #unsettled = 0;

  constructor(config: MachineConfig) {
    this.config = config;
    this.host = new Host({
      ramBytes: Virtualizer.ramBytes(config),
      cpus: config.cpus,
      ports: {
        read: (port, size) => this.platform.readPort(port, size),
        write: (p, s, v) => this.platform.writePort(p, s, v),
      },
      hooks: this.#hooks(),
      owner: this,
    });
    this.platform = new MachinePlatform(config, {
      host: this.host,
      guestBase: Virtualizer.guestBase(config),
      output: (source, bytes) => this.onOutput(source, bytes),
      ended: (stop) => this.#end(stop),
      report: (event) => void this.report(event),
      isWatched: (filter) => this.stops.watches(filter),
    });
    this.virtualizer = new Virtualizer(config, this.host, this.platform, {
      report: (event) => this.report(event),
      watches: (filter) => this.stops.watches(filter),
      requestStop: (stop) => this.requestStop(stop),
      stopRequested: () => this.stops.isRequested,
    });
    this.vcpus = Array.from({ length: config.cpus }, (_, index) => new VcpuAccess(index, this.host, this.virtualizer));
    this.#watches = new Watches(this.host.mmu, (address, access) =>
      this.requestStop({
        kind: 'watch',
        vcpu: this.currentVcpu,
        address: BigInt(address),
        access: access === Access.Write ? 'write' : 'read',
      }),
    );
    this.host.runtime.afterSystem = () => this.#afterSystem();
    this.virtualizer.start(config.program);
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
    this.#filtersChanged();
  }

  // ---- control -----------------------------------------------------------------------------------------------------

  run(options: RunOptions = {}): Stop {
    let left = options.instructions ?? Number.POSITIVE_INFINITY;
    let skip = (options.skipFirstBreakpoint ?? true) ? this.host.state.rip : undefined;
    for (;;) {
      const stop = this.#final ?? this.stops.take();
      if (stop) return stop;
      if (left <= 0) return { kind: 'limit' };
      if (this.virtualizer.handling) {
        if (this.virtualizer.isStepping) return { kind: 'limit' };
        this.virtualizer.finishHandling();
        continue;
      }
      const idle = this.#pickVcpu(options.vcpu);
      if (idle) return idle;
      if (this.virtualizer.handling) continue;
      left -= this.#slice(Math.min(left, QUANTUM), skip);
      skip = undefined;
    }
  }

  step(vcpu?: number): Stop {
    if (vcpu !== undefined && vcpu !== this.currentVcpu) this.host.load(vcpu);
    if (this.#final) return this.#final;
    if (this.virtualizer.handling) {
      this.virtualizer.advanceStage();
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
    this.platform.input(source, bytes);
  }

  setBreakpoints(addresses: readonly bigint[]): void {
    this.host.codeCache.setMarks(new Set(addresses.map((address) => Number(BigInt.asIntN(64, address)))));
  }

  setWatches(watches: readonly { address: bigint; lengthBytes: number; read: boolean; write: boolean }[]): void {
    this.#watches.set(watches.map((w): PhysicalWatch => ({ ...w, address: Number(w.address) })));
  }

  setFilter(filter: StopFilter, armed: boolean, condition?: (event: MachineEvent) => boolean): void {
    this.stops.setFilter(filter, armed, condition);
    this.#filtersChanged();
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

  stateHash(): string {
    return this.platform.stateHash();
  }

  // ---- what the run loop asks --------------------------------------------------------------------------------------

  handleEvent(event: unknown): void {
    if (event instanceof StopBefore) return;
    if (event instanceof GuestFault) this.#fault(event);
    else if (event instanceof VmExit) this.virtualizer.exit(event);
    else if (event instanceof Unimplemented) {
      this.requestStop({ kind: 'unimplemented', vcpu: this.currentVcpu, what: event.what });
    } else throw this.#internal(event);
  }

  interrupted(): boolean {
    if (this.stops.isRequested || this.#final) return true;
    if (this.host.state.activityState !== ACTIVITY.ACTIVE || this.virtualizer.handling) return true;
    this.virtualizer.offerInterrupt();
    return this.stops.isRequested || this.host.state.activityState !== ACTIVITY.ACTIVE || this.virtualizer.handling;
  }

  stopAtMark(): boolean {
    const { instructionAddress } = this.vcpus[this.currentVcpu] as VcpuAccess;
    this.requestStop({ kind: 'breakpoint', vcpu: this.currentVcpu, address: instructionAddress });
    return true;
  }

  #fault(fault: GuestFault): void {
    const filter: StopFilter = fault.vector === Vector.PF ? 'page-fault' : 'exception';
    for (const name of new Set<StopFilter>([filter, 'exception'])) {
      if (this.stops.watches(name) && this.report(exceptionEvent(name, fault, this.host))) return;
    }
    try {
      raiseFault(this.host.processor, fault);
    } catch (event) {
      this.handleEvent(event);
    }
  }

  #afterSystem(): boolean {
    const { state, executor } = this.host;
    executor.refreshJumpKey();
    return (
      this.stops.isRequested ||
      state.activityState !== ACTIVITY.ACTIVE ||
      state.interruptibility !== 0 ||
      (state.flagsOther & RFLAGS.TF) !== 0 ||
      this.virtualizer.handling ||
      this.virtualizer.wantsInterrupt()
    );
  }

  // ---- running -----------------------------------------------------------------------------------------------------

  /** Loads a vCPU that can run, letting time pass if none can; a Stop if none ever will. */
  #pickVcpu(only: number | undefined): Stop | undefined {
    for (;;) {
      const count = this.vcpus.length;
      for (let turn = 0; turn < count; turn++) {
        const index = only ?? (this.currentVcpu + turn) % count;
        this.host.load(index);
        if (this.#isRunnable(this.host.state)) return undefined;
        if (only !== undefined) break;
      }
      const idle = this.#passTime();
      if (idle) return idle;
    }
  }

  #isRunnable(state: CpuState): boolean {
    if (state.activityState === ACTIVITY.ACTIVE) return true;
    return state.activityState === ACTIVITY.HLT && this.virtualizer.wake();
  }

  #passTime(): Stop | undefined {
    const vcpu = this.currentVcpu;
    if (this.host.state.activityState === ACTIVITY.SHUTDOWN) {
      const explanation = 'A fault occurred while a double fault was delivered. The processor waits for a reset.';
      return { kind: 'shutdown', vcpu, explanation };
    }
    const deadline = this.platform.nextDeadlineNs();
    const enabled = this.virtualizer.canWake;
    if (deadline === undefined || !enabled) {
      const why = enabled ? 'no device is going to raise an interrupt' : 'interrupts are disabled (RFLAGS.IF = 0)';
      return { kind: 'halted', vcpu, explanation: `The processor executed HLT and ${why}.` };
    }
    this.host.clock.skipTo(deadline);
    this.platform.service();
    return undefined;
  }

  /** Runs the loaded vCPU for a slice; returns what it took from the limit (at least 1, so that runs end). */
  #slice(limit: number, skipMarkAt: number | undefined): number {
    const { executor, clock, library } = this.host;
    const deadline = this.platform.nextDeadlineNs();
    const untilDeadline = deadline === undefined ? limit : Math.max(1, Math.ceil(deadline - clock.nowNs));
    executor.run(Math.min(limit, untilDeadline), skipMarkAt);
    const executed = executor.takeExecuted();
    clock.retired += executed;
    if (deadline !== undefined && deadline <= clock.nowNs) this.platform.service();
    if (library.isScattered && (this.#unsettled += executed) > SETTLE_AFTER) {
      library.settle();
      this.#unsettled = 0;
    }
    if (this.vcpus.length > 1 && !this.stops.isRequested) this.host.load((this.currentVcpu + 1) % this.vcpus.length);
    return Math.max(1, executed);
  }

  #end(stop: Stop): void {
    this.#final ??= stop;
    this.requestStop(stop);
  }

  #filtersChanged(): void {
    this.virtualizer.filtersChanged();
    const wanted = this.stops.watches('sensitive-instruction') || this.stops.watches('privileged-instruction');
    this.host.runtime.beforeSystem = wanted
      ? (instruction) => {
          for (const event of instructionEvent(instruction, this.host)) {
            if (this.stops.watches(event.filter) && this.report(event)) throw new StopBefore();
          }
        }
      : undefined;
  }

  #hooks() {
    return {
      ringChanged: (from: number, to: number) => {
        if (this.stops.watches('ring-change')) this.report(ringEvent(from, to, this.host));
      },
      modeChanged: () => {},
      eventDelivered: () => {},
      controlRegisterWritten: () => {},
      msrAccessed: () => {},
      tripleFault: () => {
        if (this.stops.watches('triple-fault')) this.report(tripleFaultEvent(this.host));
      },
    };
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
