/** A virtual processor: its VMCS, its part of the host's structures, and where the handling of its last exit stands. */
import { GuestFault } from '../../cpu/events.ts';
import type { Processor } from '../../cpu/processor.ts';
import type { CpuState } from '../../cpu/state.ts';
import type { VmxParts } from '../../vmx/vmx-parts.ts';
import { type Handling, Stages } from '../stages.ts';
import type { UserHalf } from '../user/user-half.ts';
import type { EptTables } from './ept-tables.ts';
import type { Guest } from './guest.ts';
import type { GuestMemory } from './guest-memory.ts';
import type { HostStructures } from './host-structures.ts';
import type { NestedVmx } from './nested/nested-state.ts';
import type { ReflectedExits } from './nested/reflected-exits.ts';
import type { VmxOperation } from './vmx-operation.ts';

/** Beyond those of the guests. */
const NESTED_VPIDS = 0x100;

/** The interrupt controller of the guest, emulated in the kernel half. */
export interface InterruptSource {
  readonly interruptPending: boolean;
  /** Takes the vector of the pending interrupt. */
  acknowledge(): number;
}

/** What all virtual processors share. */
export interface KernelParts {
  readonly processor: Processor;
  /** The CPU's own checks of VMCSs. */
  readonly vmx: VmxParts;
  readonly state: CpuState;
  /** Registers of the guest whose VMCS is current. */
  readonly guest: Guest;
  readonly memory: GuestMemory;
  readonly ept: EptTables;
  readonly interrupts: InterruptSource;
  readonly userHalf: UserHalf;
  readonly reflected: ReflectedExits;
  /** The guest cannot go on: the run stops and says why. */
  readonly stop: (explanation: string) => void;
  /** The hypervisor cannot do what the guest asks for: the run stops with its name. */
  readonly unimplemented: (what: string) => void;
  /** An instruction was carried out for the guest, so that its time passes. */
  readonly retired: () => void;
}

/** Where the structures of a virtual processor lie. */
export interface VirtualCpuAddresses {
  readonly host: HostStructures;
  readonly vmxonRegion: number;
  readonly vmcs: number;
}

export class VirtualCpu {
  readonly index: number;
  readonly parts: KernelParts;
  readonly addresses: VirtualCpuAddresses;
  readonly operation: VmxOperation;
  /** What the guest does with VT-x itself. */
  readonly nested: NestedVmx;
  readonly stages = new Stages();
  /** The exit that is being handled; undefined while the guest runs. */
  handling: Handling | undefined;
  /** The guest executed HLT: it is not entered before an interrupt is pending. */
  isHalted = false;
  /** The guest cannot be entered any more. */
  isDead = false;
  /** The handling waits for an interrupt. */
  isBlocked = false;
  #hasLaunched = false;
  /** The last VM entry failed; somebody has to correct the VMCS. */
  entryFailed = false;

  constructor(
    index: number,
    parts: KernelParts,
    addresses: VirtualCpuAddresses,
    operation: VmxOperation,
    nested: NestedVmx,
  ) {
    this.index = index;
    this.parts = parts;
    this.addresses = addresses;
    this.operation = operation;
    this.nested = nested;
  }

  get guest(): Guest {
    return this.parts.guest;
  }
  get vpid(): number {
    return this.index + 1;
  }
  /** The VPID of the guest's own guests. */
  get nestedVpid(): number {
    return NESTED_VPIDS + this.vpid;
  }
  /** The VPID of the current VMCS. */
  get currentVpid(): number {
    return this.nested.isL2 ? this.nestedVpid : this.vpid;
  }

  /** Whether the current VMCS has been launched. */
  get hasLaunched(): boolean {
    return this.nested.isL2 ? this.nested.hasLaunched : this.#hasLaunched;
  }
  set hasLaunched(value: boolean) {
    if (this.nested.isL2) this.nested.hasLaunched = value;
    else this.#hasLaunched = value;
  }

  /** Stages of the handling under way that were done. */
  stagesDone = 0;

  saveState() {
    const { isHalted, isDead, isBlocked, entryFailed } = this;
    const flags = { isHalted, isDead, isBlocked, entryFailed };
    return { flags, hasLaunched: this.#hasLaunched, nested: this.nested.saveState() };
  }
  restoreState({ flags, hasLaunched, nested }: ReturnType<VirtualCpu['saveState']>): void {
    Object.assign(this, flags);
    this.#hasLaunched = hasLaunched;
    this.nested.restoreState(nested);
  }

  /** Carries an instruction out for the guest; a fault that it raises becomes an event to inject. */
  carryOut(work: () => void): void {
    try {
      work();
    } catch (fault) {
      if (!(fault instanceof GuestFault)) throw fault;
      this.guest.injectFault(fault);
    }
  }

  /** The instruction that exited has been carried out by the handler. */
  skipInstruction(): void {
    this.parts.guest.skipInstruction();
    this.parts.retired();
  }
}

/** Handles the exits of one reason, as stages; plain handlers have none of their own. */
export type ExitHandler = (vcpu: VirtualCpu) => Handling | undefined;
