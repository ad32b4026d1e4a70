/**
 * VT-x of the loaded vCPU, and the built-in hypervisor if the guest runs under it: what the machine asks about exits,
 * interrupts and handler stages, the same for a bare machine and for a guest.
 */

import { GuestFault, Vector, type VmExit } from '../cpu/events.ts';
import { MONITORING } from '../cpu/monitoring.ts';
import { ACTIVITY } from '../cpu/register-bits.ts';
import type { HardwareVirtualization } from '../cpu/virtualization.ts';
import { exitLogView } from '../inspect/exit-log.ts';
import type { ExitLogView, ExitQuery, VmcsSummary } from '../inspect/views.ts';
import type { LinearAddress } from '../isa/linear-address.ts';
import { GUEST_BASE, Hypervisor } from '../vmm/hypervisor.ts';
import type { VirtualizationLevel } from '../vmm/levels.ts';
import type { Vmx } from '../vmx/vmx.ts';
import { enterProgram, loadSegments, waitForStartUp } from './boot.ts';
import { type ControlStructure, controlStructure } from './control-structure.ts';
import type { Host } from './host.ts';
import type { GuestProgram, HandlerFrame, MachineConfig, MachineEvent, Stop, StopFilter } from './machine-api.ts';
import type { MachinePlatform } from './platform.ts';
import { tellOfSvm } from './svm-events.ts';
import { entryEvent, entryFailureEvent, exitEvents, exitFilterOf } from './vmx-events.ts';

/** Filters that only VM exits report. */
const EXIT_FILTERS: readonly StopFilter[] = ['vm-exit', 'ept-violation', 'hypercall', 'triple-fault'];

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
  /** VT-x or AMD-V, by the model of the CPU. */
  readonly #unit: HardwareVirtualization;
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
    this.#unit = host.virtualization;
    this.#vmx.plans = config.virtualization !== 'hardware';
    if (config.virtualization === 'hardware') this.#hypervisor = this.#makeHypervisor();
    else host.physical.bus = platform.memoryBus;
  }

  #makeHypervisor(): Hypervisor {
    const { processor, mmu, physical, vmx, clock } = this.#host;
    const { requestStop, stopRequested } = this.#reports;
    const vcpu = () => this.#host.loaded;
    vmx.takeExit = (event) => this.exit(event);
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
    tellOfSvm(host, watches, report);
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
    this.#vmx.filtersChanged();
  }

  /** What the exit log tells of time; `unitsAfter` as there. */
  keepExitLog(unitsAfter: (instructions: number) => number): void {
    Object.assign(this.#host.exitLog, { clock: this.#host.clock, unitsAfter });
  }

  // ---- exits and their handling ------------------------------------------------------------------------------------

  /** The virtualization exception that a VM exit is going to become, if it does. */
  asException(event: VmExit): GuestFault | undefined {
    return this.#vmx.becomesVirtualizationException(event) ? new GuestFault(Vector.VE) : undefined;
  }
  /** A VM exit of the instruction at RIP, or of an event before it. */
  exit(event: VmExit): void {
    const lengthBytes = this.#instructionLength(event);
    if (!this.#hypervisor) this.#unit.exit(event, lengthBytes);
    else {
      this.#hypervisor.exit(event, lengthBytes);
      if (!this.isStepping && !this.#reports.stopRequested()) this.#hypervisor.finish();
    }
  }

  /** Exits in place of an instruction report its length. */
  #instructionLength(event: VmExit): number {
    if (!this.#unit.reportsLength(event)) return 0;
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
    return {
      exitLog: this.#host.exitLog.saveState(),
      knownVmcss: this.#host.knownVmcss.saveState(),
      hypervisor: this.#hypervisor?.saveState(),
    };
  }
  /** To be called once the processors and memory are as they were. */
  restoreState({ exitLog, knownVmcss, hypervisor }: ReturnType<Virtualizer['saveState']>): void {
    this.#host.exitLog.restoreState(exitLog);
    this.#host.knownVmcss.restoreState(knownVmcss);
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

  /** The levels of virtualization of the loaded vCPU, outermost first; none without the hypervisor. */
  levels(): readonly VirtualizationLevel[] {
    return this.#hypervisor?.levels() ?? [];
  }

  // ---- interrupts --------------------------------------------------------------------------------------------------

  /** An interrupt is pending and would be taken at once: worth leaving compiled code for. */
  wantsInterrupt(): boolean {
    if (this.#hypervisor) return this.#hypervisor.interruptExit() !== undefined;
    return this.#unit.wantsInterrupt(this.#platform.interruptPending);
  }
  /** Delivers a pending external interrupt, or takes the VM exit that it causes; false if there is none, or it is blocked. */
  offerInterrupt(): boolean {
    if (this.#hypervisor) {
      const event = this.#hypervisor.interruptExit();
      if (event) this.exit(event);
      return event !== undefined;
    }
    return this.#unit.offerInterrupt(this.#platform.interruptPending, () => this.#platform.acknowledge());
  }
  /** To be called before all else at an instruction boundary. */
  completeInstruction(): void {
    this.#unit.completeInstruction();
  }
  /** Takes the VM exit that comes before traps of the last instruction; false if there is none. */
  offerExitBeforeTraps(): boolean {
    return this.#unit.exitBeforeTraps();
  }
  /** Takes the VM exit that comes after those traps and before NMIs; false if there is none. */
  offerTimerOrNmiWindow(): boolean {
    return this.#unit.exitByTimer() || this.#unit.exitBeforeNmis();
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
    if (this.#hypervisor) return this.#hypervisor.interruptsEnabled;
    return this.#unit.canWake || this.#host.state.monitorArmed === MONITORING.WAITS_FOR_MASKED_TOO;
  }

  // ---- views -------------------------------------------------------------------------------------------------------

  /** VMCS or VMCB. */
  get structure(): ControlStructure {
    return controlStructure(this.#host);
  }
  exitsByReason(): Readonly<Record<string, number>> {
    const counts: Record<string, number> = {};
    this.#unit.exitCounts.forEach((count, index) => {
      if (count > 0) counts[this.#unit.exitName(index)] = count;
    });
    return counts;
  }
  vmcss(): readonly VmcsSummary[] {
    return this.structure.known();
  }
  exitLog(query?: ExitQuery): ExitLogView {
    const { exitLog, hasSvm } = this.#host;
    return exitLogView(exitLog, hasSvm ? 'VMCB' : 'VMCS', query, (number, vmcs) =>
      this.#hypervisor?.levelsOfExit(number, vmcs),
    );
  }
  /** The VM exit that the current VMCS or VMCB tells of; its registers may have changed since. */
  lastExit(): MachineEvent | undefined {
    return this.exits === 0 ? undefined : this.structure.lastExit();
  }
  /** VM exits of the run so far. */
  get exits(): number {
    return this.#host.exitLog.total;
  }
  /** Units of the run at a VM exit that is kept, or a few less. */
  unitsOfExit(number: number): number | undefined {
    return this.#host.exitLog.row(number)?.units;
  }
  /** Host-physical address of a guest-physical one by the hypervisor's memory slots. */
  slotAddress(guestPhysical: number): number | undefined {
    if (guestPhysical < 0 || guestPhysical >= this.#config.memoryBytes) return undefined;
    return guestPhysical + Virtualizer.guestBase(this.#config);
  }
  /** Host-physical address of a linear one of the hypervisor's guest, whatever EPT maps so far. */
  locateInGuest(linear: LinearAddress): number | undefined {
    return this.#host.state.nonRoot || this.handling ? this.#hypervisor?.locate(linear) : undefined;
  }
}
