/**
 * VT-x of the loaded vCPU, and the built-in hypervisor if the guest runs under it: what the machine asks about exits,
 * interrupts and handler stages, the same for a bare machine and for a guest.
 */

import type { VmExit } from '../cpu/events.ts';
import { EventType } from '../cpu/processor.ts';
import { ACTIVITY, RFLAGS } from '../cpu/register-bits.ts';
import type { VmcsView } from '../inspect/views.ts';
import { findVmcsField, peekVmcsField, pokeVmcsField, vmcsView } from '../inspect/vmcs.ts';
import { GUEST_BASE, Hypervisor } from '../vmm/hypervisor.ts';
import { PRIMARY } from '../vmx/controls.ts';
import { ExitReason, exitReason } from '../vmx/exit-reasons.ts';
import type { Vmx } from '../vmx/vmx.ts';
import { hasPrimary } from '../vmx/vmx-parts.ts';
import { enterProgram, loadSegments, waitForStartUp } from './boot.ts';
import type { Host } from './host.ts';
import type { GuestProgram, HandlerFrame, MachineConfig, MachineEvent, Stop, StopFilter } from './machine-api.ts';
import type { MachinePlatform } from './platform.ts';
import { entryEvent, entryFailureEvent, exitEvents, exitFilterOf } from './vmx-events.ts';

/** Filters that only VM exits report. */
const EXIT_FILTERS: readonly StopFilter[] = ['vm-exit', 'ept-violation', 'hypercall', 'triple-fault'];
/** Access type in the exit qualification of APIC accesses: reads and writes of data, then others. */
const APIC_ACCESS_TYPE = 12n;
const WINDOWS = PRIMARY['Interrupt-window exiting'] | PRIMARY['NMI-window exiting'];

export interface VirtualizerReports {
  /** True if the run is going to stop at the event. */
  readonly report: (event: MachineEvent) => boolean;
  readonly watches: (filter: StopFilter) => boolean;
  readonly requestStop: (stop: Stop) => void;
  readonly stopRequested: () => boolean;
}

export class Virtualizer {
  readonly #config: MachineConfig;
  readonly #host: Host;
  readonly #platform: MachinePlatform;
  readonly #reports: VirtualizerReports;
  readonly #vmx: Vmx;
  /** Only where the program is its guest. */
  readonly #hypervisor: Hypervisor | undefined;
  /** Set while somebody steps: exits are not handled at once, but stage by stage. */
  isStepping = false;

  constructor(config: MachineConfig, host: Host, platform: MachinePlatform, reports: VirtualizerReports) {
    this.#config = config;
    this.#host = host;
    this.#platform = platform;
    this.#reports = reports;
    this.#vmx = host.vmx;
    if (config.virtualization === 'hardware') this.#hypervisor = this.#makeHypervisor();
    else host.physical.bus = platform.memoryBus;
  }

  #makeHypervisor(): Hypervisor {
    const { processor, mmu, physical, vmx, clock } = this.#host;
    const { requestStop, stopRequested } = this.#reports;
    const vcpu = () => this.#host.loaded;
    return new Hypervisor(
      {
        processor,
        mmu,
        physical,
        vmx,
        platform: this.#platform.pc,
        memoryBytes: this.#config.memoryBytes,
        stop: (explanation) => requestStop({ kind: 'shutdown', vcpu: vcpu(), explanation }),
        unimplemented: (what) => requestStop({ kind: 'unimplemented', vcpu: vcpu(), what }),
        isStopping: stopRequested,
        retired: () => {
          clock.retired++;
        },
      },
      vcpu,
    );
  }

  /** Host RAM that a configuration needs. */
  static ramBytes(config: MachineConfig): number {
    return config.memoryBytes + Virtualizer.guestBase(config);
  }
  static guestBase(config: MachineConfig): number {
    return config.virtualization === 'hardware' ? GUEST_BASE : 0;
  }

  /** Loads the program and puts the processors into their entry state. */
  start(program: GuestProgram): void {
    const write = (address: number, bytes: Uint8Array) => this.#load(address, bytes);
    loadSegments(program, write);
    const hypervisor = this.#hypervisor;
    const bitmaps = hypervisor?.buildBitmaps();
    for (let index = this.#config.cpus - 1; index >= 0; index--) {
      this.#host.load(index);
      if (!hypervisor && index > 0) {
        waitForStartUp(this.#host.processor);
        continue;
      }
      enterProgram(this.#host.processor, program, write);
      if (hypervisor && bitmaps) hypervisor.startProcessor(index, bitmaps);
    }
  }

  #load(address: number, bytes: Uint8Array): boolean {
    const at = this.slotAddress(address);
    if (at === undefined || address + bytes.length > this.#config.memoryBytes) return false;
    this.#hypervisor?.prefault(address, bytes.length);
    return this.#host.physical.poke(at, bytes);
  }

  /** Events are only made while somebody wants to know; to be called when that changed. */
  filtersChanged(): void {
    const { watches, report } = this.#reports;
    const host = this.#host;
    const wanted = EXIT_FILTERS.filter(watches);
    this.#vmx.tellsOfExit = (reason) =>
      wanted.some((filter) => filter === 'vm-exit' || exitFilterOf(reason) === filter);
    this.#vmx.onVmExit =
      wanted.length > 0
        ? (info) => {
            for (const event of exitEvents(info, host)) if (watches(event.filter)) report(event);
          }
        : undefined;
    this.#vmx.onVmEntry = watches('vm-entry')
      ? (info) => {
          if (host.state.nonRoot) report(entryEvent(info, host));
        }
      : undefined;
    this.#vmx.onVmEntryFailure = watches('vm-entry-failure')
      ? (failure) => void report(entryFailureEvent(failure, host))
      : undefined;
  }

  // ---- exits and their handling ------------------------------------------------------------------------------------

  /** A VM exit of the instruction at RIP, or of an event before it. */
  exit(event: VmExit): void {
    const lengthBytes = this.#instructionLength(event);
    if (!this.#hypervisor) this.#vmx.exit(event, lengthBytes);
    else {
      this.#hypervisor.exit(event, lengthBytes);
      if (!this.isStepping && !this.#reports.stopRequested()) this.#hypervisor.finish();
    }
  }

  /** Exits in place of an instruction report its length. */
  #instructionLength({ reason, qualification, interruption }: VmExit): number {
    const isSoftware =
      interruption !== undefined && ((interruption.information >>> 8) & 7) >= EventType.softwareInterrupt;
    const isInstruction = exitReason(reason)?.skips || reason === ExitReason['Task switch'] || isSoftware;
    const isElsewhere = reason === ExitReason['APIC access'] && qualification >> APIC_ACCESS_TYPE > 1n;
    if (!isInstruction || isElsewhere) return 0;
    return this.#host.codeCache.instructionOf(this.#host.state.exitRecord).lengthBytes;
  }

  /** Stages of the exit under way that were done, -1 while none is handled. */
  get stage(): number {
    return this.handling ? (this.#hypervisor?.stagesDone ?? -1) : -1;
  }
  /** Nothing is half done that `saveState` could not keep. */
  get canSave(): boolean {
    return this.#hypervisor?.canSave ?? true;
  }
  /** What is not in memory. */
  saveState() {
    return { exitCounts: this.#vmx.exitCounts.slice(), hypervisor: this.#hypervisor?.saveState() };
  }
  /** To be called once the processors and memory are as they were. */
  restoreState({ exitCounts, hypervisor }: ReturnType<Virtualizer['saveState']>): void {
    this.#vmx.exitCounts.set(exitCounts);
    if (hypervisor) this.#hypervisor?.restoreState(hypervisor, (index, work) => this.#host.with(index, work));
  }

  /** True while the hypervisor handles an exit: the guest does not run. */
  get handling(): boolean {
    return this.#hypervisor?.isHandling ?? false;
  }
  finishHandling(): void {
    this.#hypervisor?.finish();
  }
  advanceStage(): void {
    this.#hypervisor?.advance();
  }
  handlerFrames(): readonly HandlerFrame[] {
    return this.#hypervisor?.frames() ?? [];
  }

  // ---- interrupts --------------------------------------------------------------------------------------------------

  /** An interrupt is pending and would be taken at once: worth leaving compiled code for. */
  wantsInterrupt(): boolean {
    if (this.#hypervisor) return this.#hypervisor.interruptExit() !== undefined;
    if (this.#host.state.nonRoot && hasPrimary(this.#vmx.parts.vmcs, WINDOWS)) return true;
    if (this.#vmx.preemptionTimerHasExpired() || this.#vmx.takesVirtualInterrupt()) return true;
    return this.#platform.interruptPending && this.#vmx.takesExternalInterrupt();
  }
  /** Delivers a pending external interrupt, or takes the VM exit that it causes; false if there is none, or it is blocked. */
  offerInterrupt(): boolean {
    if (this.#hypervisor) {
      const event = this.#hypervisor.interruptExit();
      if (event) this.exit(event);
      return event !== undefined;
    }
    if (this.#vmx.interruptWindowExit() || this.#vmx.onVirtualInterrupt() !== 'blocked') return true;
    if (!this.#platform.interruptPending) return false;
    return this.#vmx.onExternalInterruptPending(() => this.#platform.acknowledge()) !== 'blocked';
  }
  /** To be called before all else at an instruction boundary. */
  completeInstruction(): void {
    if (this.#host.state.apicEvent !== 0) this.#vmx.completeApicWrite();
  }
  /** Takes the VM exit that comes before traps of the last instruction; false if there is none. */
  offerExitBeforeTraps(): boolean {
    return (this.#host.state.apicEvent !== 0 && this.#vmx.apicExit()) || this.#vmx.monitorTrapExit();
  }
  /** Takes the VM exit that comes after those traps and before NMIs; false if there is none. */
  offerTimerOrNmiWindow(): boolean {
    return this.#vmx.preemptionTimerExit() || (!this.#hypervisor && this.#vmx.nmiWindowExit());
  }
  /** Offers a non-maskable interrupt to the loaded vCPU of a bare machine; false while it is blocked. */
  offerNmi(): boolean {
    return this.#vmx.onNmiPending() !== 'blocked';
  }
  /** Cheap and without loading: false if a vCPU that waits certainly has no VM exit to take. */
  mayLeaveGuest(vcpu: number): boolean {
    return !this.#hypervisor && this.#host.waitsInGuest(vcpu);
  }
  /** Ends HLT if an interrupt is pending. */
  wake(): boolean {
    if (this.#hypervisor) {
      if (!this.#hypervisor.wake()) return false;
      if (!this.isStepping) this.#hypervisor.finish();
      return true;
    }
    // One that only announces posted interrupts may have brought one to deliver.
    if (this.offerInterrupt() && this.#host.state.activityState === ACTIVITY.HLT) this.offerInterrupt();
    return this.#host.state.activityState === ACTIVITY.ACTIVE;
  }
  /** Whether an interrupt, if there were one, could end the wait of the loaded vCPU. */
  get canWake(): boolean {
    const { state } = this.#host;
    if (this.#hypervisor) return this.#hypervisor.interruptsEnabled;
    return (state.flagsOther & RFLAGS.IF) !== 0 || state.nonRoot !== 0;
  }

  // ---- views -------------------------------------------------------------------------------------------------------

  vmcsView(): VmcsView | undefined {
    const { state, physical } = this.#host;
    return state.currentVmcsValid ? vmcsView(physical, state.currentVmcs) : undefined;
  }
  readVmcs(name: string): bigint | undefined {
    const { state, physical } = this.#host;
    const field = findVmcsField(name);
    return field && state.currentVmcsValid ? peekVmcsField(physical, state.currentVmcs, field) : undefined;
  }
  writeVmcs(name: string, value: bigint): string | undefined {
    const { state, physical } = this.#host;
    if (!state.currentVmcsValid) return 'there is no current VMCS';
    const field = findVmcsField(name);
    return field ? pokeVmcsField(physical, state.currentVmcs, field, value) : `the VMCS has no field "${name}"`;
  }
  exitsByReason(): Readonly<Record<string, number>> {
    const counts: Record<string, number> = {};
    this.#vmx.exitCounts.forEach((count, reason) => {
      if (count > 0) counts[exitReason(reason)?.name ?? String(reason)] = count;
    });
    return counts;
  }
  /** Host-physical address of a guest-physical one by the hypervisor's memory slots. */
  slotAddress(guestPhysical: number): number | undefined {
    if (guestPhysical < 0 || guestPhysical >= this.#config.memoryBytes) return undefined;
    return guestPhysical + Virtualizer.guestBase(this.#config);
  }
  /** Host-physical address of a linear one of the hypervisor's guest, whatever EPT maps so far. */
  locateInGuest(linear: number): number | undefined {
    return this.#host.state.nonRoot || this.handling ? this.#hypervisor?.locate(linear) : undefined;
  }
}
