/**
 * What happens between instructions: faults, VM exits, interrupts and waits, each at its place, and which of them the run
 * stops at. The run loop of a processor asks here (exec/executor.ts).
 */
import { isDebugFault } from '../cpu/debug-exceptions.ts';
import { GuestFault, Unimplemented, Vector, VmExit } from '../cpu/events.ts';
import { raiseFault } from '../cpu/interrupts.ts';
import { MONITOR_TRAP } from '../cpu/monitor-trap.ts';
import { endMonitoring, MONITORING } from '../cpu/monitoring.ts';
import { ACTIVITY, RFLAGS } from '../cpu/register-bits.ts';
import type { ExecutorOwner } from '../exec/executor.ts';
import { exceptionEvent } from './event-descriptions.ts';
import type { Host } from './host.ts';
import type { MachineConfig, MachineEvent, Stop, StopFilter } from './machine-api.ts';
import type { MachinePlatform } from './platform.ts';
import type { ProcessorSignals } from './processor-signals.ts';
import type { Turns } from './scheduler.ts';
import type { Slices } from './slices.ts';
import { StopBefore } from './stop-before.ts';
import type { StopConditions } from './stop-conditions.ts';
import type { VcpuAccess } from './vcpu-access.ts';
import type { Virtualizer } from './virtualizer.ts';
import type { Watches } from './watches/watches.ts';

/** The machine as seen from here. */
interface Bounded {
  readonly config: MachineConfig;
  readonly host: Host;
  readonly platform: MachinePlatform;
  readonly virtualizer: Virtualizer;
  readonly signals: ProcessorSignals;
  readonly watches: Watches;
  readonly stops: StopConditions;
  readonly slices: Slices;
  readonly vcpus: readonly VcpuAccess[];
  /** It stands at a stop that nothing leads on from. */
  readonly hasEnded: boolean;
  requestStop(stop: Stop): void;
  /** True if the run is going to stop at the event. */
  report(event: MachineEvent): boolean;
}

export class Boundaries implements ExecutorOwner {
  readonly #of: () => Bounded;
  /** Interrupts and signals taken that are not counted as units yet. */
  #taken = 0;
  /** Events of the slice under way that the run stops at: they will come again. */
  held = 0;

  /** `machine` may be in the making yet. */
  constructor(machine: () => Bounded) {
    this.#of = machine;
  }

  get #machine(): Bounded {
    return this.#of();
  }

  // ---- what the run loop asks --------------------------------------------------------------------------------------

  handleEvent(event: unknown): void {
    const { watches } = this.#machine;
    const isWatched = watches.isArmed && (event instanceof GuestFault || event instanceof VmExit);
    if (isWatched) watches.duringEvent(event, () => this.#handle(event));
    else this.#handle(event);
  }

  #handle(event: unknown): void {
    if (event instanceof StopBefore) this.held++;
    else if (event instanceof GuestFault) this.#fault(event);
    else if (event instanceof VmExit) this.#exit(event);
    else if (event instanceof Unimplemented) {
      this.held++;
      this.#machine.requestStop({ kind: 'unimplemented', vcpu: this.#machine.host.loaded, what: event.what });
    } else throw this.#internal(event);
  }

  #exit(event: VmExit): void {
    const { virtualizer, stops, config, slices } = this.#machine;
    const fault = virtualizer.asException(event);
    if (fault && this.#stopsBefore('exception', fault)) return this.#hold(fault);
    stops.passed();
    virtualizer.exit(event);
    // Only the built-in hypervisor reaches devices while it handles the exit.
    if (config.virtualization !== 'none') slices.deviceAccessed();
  }

  takeInterruptions(): number {
    const taken = this.#taken;
    this.#taken = 0;
    return taken;
  }

  interrupted(): boolean {
    const { watches, stops } = this.#machine;
    if (!watches.isArmed) return this.#interrupt();
    watches.settle();
    const isOver = watches.during('an event before the instruction', () => this.#interrupt());
    watches.settle();
    return isOver || stops.isRequested;
  }

  #interrupt(): boolean {
    const { stops, slices, host, virtualizer, hasEnded } = this.#machine;
    if (stops.isRequested || hasEnded || slices.isOver) return true;
    this.#takeBeforeTraps();
    if (host.executor.trapIsPending) return virtualizer.handling;
    this.#takeUpToNmis();
    if (host.state.activityState !== ACTIVITY.ACTIVE || virtualizer.handling) return true;
    if (virtualizer.offerInterrupt()) this.#taken++;
    return stops.isRequested || host.state.activityState !== ACTIVITY.ACTIVE || virtualizer.handling;
  }

  /** What comes before traps of the last instruction (SDM volume 3, "Priority Among Concurrent Events"). */
  #takeBeforeTraps(): void {
    const { virtualizer, signals } = this.#machine;
    virtualizer.completeInstruction();
    if (signals.deliverStarts()) this.#taken++;
    if (virtualizer.offerExitBeforeTraps()) this.#taken++;
  }
  /** What comes after those traps and before external interrupts. */
  #takeUpToNmis(): void {
    const { virtualizer, signals } = this.#machine;
    if (virtualizer.offerTimerOrNmiWindow()) this.#taken++;
    if (signals.deliverNmi()) this.#taken++;
  }

  stopAtMark(): boolean {
    const { stops, host, vcpus, slices } = this.#machine;
    if (stops.isQuiet) return false;
    const { instructionAddress } = vcpus[host.loaded] as VcpuAccess;
    this.#machine.requestStop({ kind: 'breakpoint', vcpu: host.loaded, address: instructionAddress });
    slices.marks.set(host.loaded, host.state.rip);
    return true;
  }

  #fault(fault: GuestFault): void {
    if (fault.vector === Vector.PF && this.#stopsBefore('page-fault', fault)) return this.#hold(fault);
    if (this.#stopsBefore('exception', fault)) return this.#hold(fault);
    const { stops, host } = this.#machine;
    stops.passed();
    if (host.deliverFast(fault)) return;
    try {
      raiseFault(host.processor, fault);
    } catch (event) {
      this.handleEvent(event);
    }
  }

  #stopsBefore(filter: StopFilter, fault: GuestFault): boolean {
    const { stops, host } = this.#machine;
    return stops.watches(filter) && this.#machine.report(exceptionEvent(filter, fault, host));
  }

  /** A fault that the run stops at comes again with its instruction; the instruction of a trap is over. */
  #hold(fault: GuestFault): void {
    this.held++;
    if (isDebugFault(fault) && fault.trap) this.#machine.host.state.pendingDebug |= fault.dr6;
  }

  /** After each system instruction and each event that was dealt with in place: whether the run loop has to look. */
  afterSystem(): boolean {
    const { host, watches, stops, slices, virtualizer } = this.#machine;
    const { state, executor } = host;
    executor.refreshJumpKey();
    watches.afterSystem();
    return (
      stops.isRequested ||
      watches.isUnsettled ||
      state.activityState !== ACTIVITY.ACTIVE ||
      state.interruptibility !== 0 ||
      state.pendingDebug !== 0 ||
      state.monitorTrap !== MONITOR_TRAP.OFF ||
      state.apicEvent !== 0 ||
      slices.endBefore(state.preemptionDeadline || undefined) ||
      (state.flagsOther & (RFLAGS.TF | RFLAGS.RF)) !== 0 ||
      virtualizer.handling ||
      this.interruptWanted()
    );
  }
  /** Whether an interrupt or signal is to be taken before the next instruction. */
  interruptWanted(): boolean {
    const { signals, host, virtualizer } = this.#machine;
    return signals.isPending(host.loaded) || virtualizer.wantsInterrupt();
  }

  /** An internal bug carries where it happened. */
  #internal(cause: unknown): Error {
    const { state, clock } = this.#machine.host;
    const at = `RIP 0x${BigInt.asUintN(64, BigInt(state.rip)).toString(16)}, instruction ${clock.instructions}`;
    return new Error(`internal error at ${at}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }

  // ---- what the scheduler asks -------------------------------------------------------------------------------------

  turns(): Turns {
    const { host, config } = this.#machine;
    return {
      count: config.cpus,
      get loaded() {
        return host.loaded;
      },
      load: (vcpu) => host.load(vcpu),
      mayRun: (vcpu) => this.#mayRun(vcpu),
      wake: () => {
        const { signals, watches } = this.#machine;
        if (host.state.activityState === ACTIVITY.ACTIVE && !signals.isPending(host.loaded)) return true;
        return watches.during('an event that ends the wait', () => this.#wake());
      },
    };
  }

  /** Whether the loaded vCPU, which waits, goes on. */
  #wake(): boolean {
    const { host, virtualizer } = this.#machine;
    this.#takeBeforeTraps();
    if (host.executor.trapIsPending && host.state.activityState === ACTIVITY.ACTIVE) return true;
    this.#takeUpToNmis();
    const { activityState } = host.state;
    if (activityState !== ACTIVITY.HLT) return activityState === ACTIVITY.ACTIVE;
    if (virtualizer.wake()) this.#taken++;
    else if (!this.#endsWait()) return false;
    return true;
  }

  /** Whether an interrupt that the loaded vCPU does not take yet ends its MWAIT. */
  #endsWait(): boolean {
    const { host, platform } = this.#machine;
    const { state } = host;
    if (state.monitorArmed !== MONITORING.WAITS_FOR_MASKED_TOO || !platform.interruptPending) return false;
    endMonitoring(state);
    return true;
  }

  /** False if the vCPU certainly cannot run now. */
  #mayRun(vcpu: number): boolean {
    const { host, platform, virtualizer, signals } = this.#machine;
    const isActive = host.activityState(vcpu) === ACTIVITY.ACTIVE;
    const isSignalled = signals.isPending(vcpu) || platform.interruptPendingFor(vcpu);
    return isActive || isSignalled || virtualizer.mayLeaveGuest(vcpu);
  }
}
