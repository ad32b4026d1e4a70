/**
 * The built-in hypervisor with the hardware technique: VT-x with EPT and VPIDs. Its kernel half is a run loop of VM exits,
 * handlers keyed by exit reason, and VM entries; its user half are the device models. It runs on the same processor as
 * the guest, in VMX root operation.
 */

import type { VmExit } from '../cpu/events.ts';
import type { Processor } from '../cpu/processor.ts';
import type { PcPlatform } from '../devices/index.ts';
import type { LinearAddress } from '../isa/linear-address.ts';
import type { Mmu } from '../mmu/mmu.ts';
import type { PhysicalMemory } from '../mmu/physical-memory.ts';
import { VMCS_REVISION } from '../vmx/vmcs.ts';
import type { Vmx } from '../vmx/vmx.ts';
import { buildBitmaps } from './kernel/bitmaps.ts';
import { EptTables } from './kernel/ept-tables.ts';
import { Guest } from './kernel/guest.ts';
import { GuestMemory, pagingOf } from './kernel/guest-memory.ts';
import { GUEST_BASE, HostMemory } from './kernel/host-memory.ts';
import { buildHostStructures, enterHost } from './kernel/host-structures.ts';
import { canWake, interruptExit, unblock } from './kernel/interrupts.ts';
import { usesEpt } from './kernel/nested/nested-entry.ts';
import { NestedVmx } from './kernel/nested/nested-state.ts';
import { ReflectedExits } from './kernel/nested/reflected-exits.ts';
import { RunLoop } from './kernel/run-loop.ts';
import { type KernelParts, VirtualCpu } from './kernel/virtual-cpu.ts';
import { controlFields, type FieldValues, guestFields, hostFields } from './kernel/vmcs-setup.ts';
import { VmxOperation } from './kernel/vmx-operation.ts';
import { levelsOf, type VirtualizationLevel } from './levels.ts';
import { UserHalf } from './user/user-half.ts';

export { GUEST_BASE };

/** IA32_FEATURE_CONTROL, as firmware leaves it: locked, VMXON allowed. */
const FEATURE_CONTROL = 5;

export interface HypervisorParts {
  readonly processor: Processor;
  readonly mmu: Mmu;
  readonly physical: PhysicalMemory;
  readonly vmx: Vmx;
  readonly platform: PcPlatform;
  /** Of the guest. */
  readonly memoryBytes: number;
  /** The guest cannot go on. */
  readonly stop: (explanation: string) => void;
  readonly unimplemented: (what: string) => void;
  /** Whether the run is going to stop: the handling goes on later then. */
  readonly isStopping: () => boolean;
  /** An instruction was carried out for the guest. */
  readonly retired: () => void;
}

export class Hypervisor {
  readonly #parts: HypervisorParts;
  readonly #kernel: KernelParts;
  readonly #runLoop: RunLoop;
  readonly #memory: HostMemory;
  readonly #vcpus: VirtualCpu[] = [];
  /** Index of the loaded vCPU, as the machine says. */
  readonly #loaded: () => number;

  constructor(parts: HypervisorParts, loaded: () => number) {
    this.#parts = parts;
    this.#loaded = loaded;
    const { processor, physical, platform, mmu, memoryBytes, vmx } = parts;
    const { state } = processor;
    this.#memory = new HostMemory(physical);
    this.#kernel = {
      processor,
      vmx: vmx.parts,
      state,
      guest: new Guest(state, vmx.parts.vmcs),
      memory: new GuestMemory(physical, memoryBytes, mmu.physicalAddressBits),
      ept: new EptTables(this.#memory, memoryBytes),
      interrupts: {
        get interruptPending() {
          return platform.interruptPending();
        },
        acknowledge: () => platform.acknowledge(),
      },
      userHalf: new UserHalf(platform),
      reflected: new ReflectedExits(() => vmx.exitLog.total),
      stop: parts.stop,
      unimplemented: parts.unimplemented,
      retired: parts.retired,
    };
    this.#runLoop = new RunLoop(this.#kernel, vmx);
  }

  // ---- set-up ------------------------------------------------------------------------------------------------------

  /**
   * Makes the virtual processor of the loaded one, whose state is that of the guest's first instruction, and enters the
   * guest. Virtual processors are made in the order of their indices, from the highest.
   */
  startProcessor(index: number, bitmaps: ReturnType<typeof buildBitmaps>): void {
    const { processor, vmx } = this.#parts;
    const { state } = processor;
    const guest = guestFields(state);
    const registers = Array.from({ length: 16 }, (_, register) => state.gpr(register));
    const host = buildHostStructures(this.#memory);
    const addresses = { host, vmxonRegion: this.#region(), vmcs: this.#region() };
    const operation = new VmxOperation(processor, vmx, host.scratch);
    const nested = new NestedVmx(this.#kernel, this.#memory, this.#region());
    const vcpu = new VirtualCpu(index, this.#kernel, addresses, operation, nested);
    this.#vcpus[index] = vcpu;
    enterHost(processor, host);
    state.featureControl = FEATURE_CONTROL;
    operation.vmxon(addresses.vmxonRegion);
    operation.vmclear(nested.vmcs02);
    operation.vmclear(addresses.vmcs);
    operation.vmptrld(addresses.vmcs);
    const controls = controlFields({ ...bitmaps, eptPointer: this.#kernel.ept.pointer, vpid: vcpu.vpid });
    writeFields(operation, [...controls, ...hostFields(host), ...guest]);
    registers.forEach((value, register) => {
      state.setGpr(register, value);
    });
    vcpu.handling = index === 0 ? this.#runLoop.enter(vcpu) : this.#runLoop.waitForSipi(vcpu);
    this.finish();
  }

  buildBitmaps(): ReturnType<typeof buildBitmaps> {
    return buildBitmaps(this.#memory);
  }

  /** Maps what a loader wrote, so that the guest's first instructions need no exits. */
  prefault(guestPhysical: number, lengthBytes: number): void {
    this.#kernel.ept.mapRange(guestPhysical, lengthBytes);
  }

  #region(): number {
    const address = this.#memory.allocate();
    this.#memory.write32(address, VMCS_REVISION);
    return address;
  }

  // ---- exits, stage by stage --------------------------------------------------------------------------------------

  /** A VM exit: afterwards the exit is being handled, no stage of it done. `finish` or `advance` go on. */
  exit(event: VmExit, instructionLengthBytes: number): void {
    this.#parts.vmx.exit(event, instructionLengthBytes);
    const vcpu = this.#current;
    vcpu.stagesDone = 0;
    vcpu.handling = this.#runLoop.handle(vcpu);
    vcpu.handling.next();
  }

  /** An exit is handled and something can be done about it now. */
  get isHandling(): boolean {
    const { handling, isBlocked } = this.#current;
    return handling !== undefined && !isBlocked;
  }

  /** Does all that can be done: until the guest runs, or waits for an interrupt. */
  finish(): void {
    const vcpu = this.#current;
    vcpu.entryFailed = false;
    while (vcpu.handling && !vcpu.isBlocked && !vcpu.entryFailed) {
      this.#step(vcpu);
      if (this.#parts.isStopping()) return;
    }
  }
  /** Does the work of the stage that is shown. */
  advance(): void {
    const vcpu = this.#current;
    if (vcpu.handling && !vcpu.isBlocked) this.#step(vcpu);
  }

  #step(vcpu: VirtualCpu): void {
    const { handling } = vcpu;
    vcpu.stagesDone++;
    // Whoever throws has shown why; the handling is not gone on with then.
    if (handling?.next().done && vcpu.handling === handling) vcpu.handling = undefined;
  }

  // ---- interrupts --------------------------------------------------------------------------------------------------

  /** The exit that interrupts cause before the guest's next instruction, if any. */
  interruptExit(): VmExit | undefined {
    const { state } = this.#kernel;
    return state.nonRoot ? interruptExit(this.#current, this.#parts.vmx.interruptWindowOpen()) : undefined;
  }

  /** Ends the wait of a halted guest if an interrupt is pending for it. */
  wake(): boolean {
    const vcpu = this.#current;
    if (!vcpu.isBlocked || vcpu.isDead || !canWake(vcpu)) return false;
    unblock(vcpu);
    return true;
  }

  /** Whether interrupts could wake the guest that waits. */
  get interruptsEnabled(): boolean {
    return this.#kernel.guest.interruptsEnabled;
  }

  // ---- snapshots ---------------------------------------------------------------------------------------------------

  /** Stages of the handling under way that were done. */
  get stagesDone(): number {
    return this.#current.stagesDone;
  }

  /** No exit is being handled but by waiting. */
  get canSave(): boolean {
    return this.#vcpus.every(({ handling, isBlocked }) => handling === undefined || isBlocked);
  }
  /** What is not in memory. */
  saveState() {
    const reflected = this.#kernel.reflected.saveState();
    return { nextPage: this.#memory.next, reflected, vcpus: this.#vcpus.map((vcpu) => vcpu.saveState()) };
  }
  /** `with` loads a vCPU for some work. */
  restoreState(
    { nextPage, reflected, vcpus }: ReturnType<Hypervisor['saveState']>,
    withVcpu: (index: number, work: () => void) => void,
  ): void {
    this.#memory.next = nextPage;
    this.#kernel.reflected.restoreState(reflected);
    for (const [index, vcpu] of this.#vcpus.entries()) {
      const saved = vcpus[index];
      if (saved) vcpu.restoreState(saved);
      vcpu.stages.clear();
      vcpu.handling = undefined;
      if (!vcpu.isBlocked) continue;
      vcpu.handling = this.#runLoop.blocked(vcpu);
      withVcpu(index, () => void vcpu.handling?.next());
    }
  }

  // ---- for debuggers -----------------------------------------------------------------------------------------------

  frames() {
    return this.#current.stages.frames();
  }

  levels(): readonly VirtualizationLevel[] {
    return levelsOf(this.#current);
  }

  /** Whose exit one of the log is, and who handles it: the merged VMCS is that of L2. */
  levelsOfExit(number: number, vmcs: number): { readonly from: 'L1' | 'L2'; readonly to: 'L0' | 'L1' } {
    const isL2 = this.#vcpus.some(({ nested }) => nested.vmcs02 === vmcs);
    return { from: isL2 ? 'L2' : 'L1', to: this.#kernel.reflected.has(number) ? 'L1' : 'L0' };
  }

  /** Host-physical address of a linear one of the guest, whatever EPT maps so far. No side effects. */
  locate(linear: LinearAddress): number | undefined {
    const { memory } = this.#kernel;
    const guestPhysical = memory.peekTranslate(this.#paging(), linear);
    if (guestPhysical === undefined || !memory.contains(guestPhysical)) return undefined;
    return memory.hostAddress(guestPhysical);
  }

  #paging() {
    const { state, guest } = this.#kernel;
    const { nested } = this.#current;
    const ept = nested.isL2 && usesEpt(nested.vmcs12) ? nested.ept.context : undefined;
    if (!state.nonRoot) return { ...pagingOf(guest), ept };
    const { cr0, cr3, cr4, efer, cpl, flagsOther } = state;
    return { cr0, cr3, cr4, efer, cpl, rflags: flagsOther, ept };
  }

  get #current(): VirtualCpu {
    const vcpu = this.#vcpus[this.#loaded()];
    if (!vcpu) throw new Error(`internal: no virtual processor ${this.#loaded()}`);
    return vcpu;
  }
}

function writeFields(operation: VmxOperation, fields: FieldValues): void {
  for (const [name, value] of fields) operation.vmwrite(name, value);
}
