/**
 * VT-x of the loaded vCPU, and the built-in hypervisor if the guest runs under it: what the machine asks about exits,
 * interrupts and handler stages, the same for a bare machine and for a guest.
 */

import type { VmExit } from '../cpu/events.ts';
import { deliverExternalInterrupt } from '../cpu/interrupts.ts';
import { ACTIVITY, RFLAGS } from '../cpu/register-bits.ts';
import type { VmcsView } from '../inspect/views.ts';
import { enterProgram, loadSegments } from './boot.ts';
import type { Host } from './host.ts';
import type { GuestProgram, HandlerFrame, MachineConfig, MachineEvent, StopFilter } from './machine-api.ts';
import type { MachinePlatform } from './platform.ts';

/** Blocking by STI and by MOV SS. */
const INTERRUPT_SHADOW = 0b11;

export interface VirtualizerReports {
  /** True if the run is going to stop at the event. */
  readonly report: (event: MachineEvent) => boolean;
  readonly watches: (filter: StopFilter) => boolean;
}

export class Virtualizer {
  readonly #config: MachineConfig;
  readonly #host: Host;
  readonly #platform: MachinePlatform;

  constructor(config: MachineConfig, host: Host, platform: MachinePlatform, _reports: VirtualizerReports) {
    this.#config = config;
    this.#host = host;
    this.#platform = platform;
    host.physical.bus = platform.pc.mmioBus;
  }

  /** Host RAM that a configuration needs. */
  static ramBytes(config: MachineConfig): number {
    return config.memoryBytes;
  }
  static guestBase(_config: MachineConfig): number {
    return 0;
  }

  /** Loads the program and puts the processors into their entry state. */
  start(program: GuestProgram): void {
    const write = (address: number, bytes: Uint8Array) => this.#host.physical.poke(address, bytes);
    loadSegments(program, write);
    for (let index = this.#config.cpus - 1; index >= 0; index--) {
      this.#host.load(index);
      enterProgram(this.#host.processor, program, write);
      if (index > 0) this.#host.state.activityState = ACTIVITY.WAIT_FOR_SIPI;
    }
  }

  /** True while the hypervisor handles an exit: the guest does not run. */
  get handling(): boolean {
    return false;
  }
  finishHandling(): void {}
  advanceStage(): void {}
  handlerFrames(): readonly HandlerFrame[] {
    return [];
  }

  exit(_event: VmExit): void {}

  /** An interrupt is pending and would be taken at once: worth leaving compiled code for. */
  wantsInterrupt(): boolean {
    return this.#platform.interruptPending && this.#enabled();
  }
  /** Delivers a pending external interrupt if nothing blocks it. */
  offerInterrupt(): void {
    const { state, processor } = this.#host;
    if (!this.wantsInterrupt() || state.interruptibility & INTERRUPT_SHADOW) return;
    deliverExternalInterrupt(processor, this.#platform.acknowledge());
  }
  /** Ends HLT if an interrupt is pending. */
  wake(): boolean {
    if (!this.wantsInterrupt()) return false;
    this.#host.state.activityState = ACTIVITY.ACTIVE;
    return true;
  }

  vmcsView(): VmcsView | undefined {
    return undefined;
  }
  readVmcs(_field: string): bigint | undefined {
    return undefined;
  }
  writeVmcs(_field: string, _value: bigint): string | undefined {
    return 'there is no current VMCS';
  }
  exitsByReason(): Readonly<Record<string, number>> {
    return {};
  }
  /** Host-physical address of a guest-physical one by the hypervisor's memory slots. */
  slotAddress(guestPhysical: number): number | undefined {
    return guestPhysical < this.#config.memoryBytes ? guestPhysical : undefined;
  }

  #enabled(): boolean {
    return (this.#host.state.flagsOther & RFLAGS.IF) !== 0;
  }
}
