/** VMX of the loaded vCPU, as the run loop sees it: instructions, VM exits, interrupts in the guest, and who is told. */
import { GuestFault, VmExit } from '../cpu/events.ts';
import type { SystemInstruction } from '../cpu/instruction.ts';
import { raiseFault } from '../cpu/interrupts.ts';
import { EventType, type Processor } from '../cpu/processor.ts';
import { ACTIVITY, BLOCKING } from '../cpu/register-bits.ts';
import type { HardwareVirtualization } from '../cpu/virtualization.ts';
import type { Mmu } from '../mmu/mmu.ts';
import type { PhysicalMemory } from '../mmu/physical-memory.ts';
import { ApicAccesses } from './apic-accesses.ts';
import { BoundaryExits } from './boundary-exits.ts';
import { injectEvent, performEntry } from './entry.ts';
import { checkVmEntry } from './entry-checks/check-vm-entry.ts';
import { CheckedVmcs } from './entry-checks/checked-vmcs.ts';
import type { EntryRule } from './entry-checks/entry-rule.ts';
import {
  exitInfo,
  INTERRUPTION_VALID,
  performEntryFailure,
  performExit,
  recordAbort,
  type VmExitInfo,
  type VmxAbort,
} from './exit.ts';
import { type ExitLog, vmxExitLog } from './exit-log.ts';
import { EXIT_REASON_COUNT, ExitReason, exitReason } from './exit-reasons.ts';
import { InstructionError } from './instruction-errors.ts';
import { vmFail, vmFailInvalid, vmxInstructions } from './instructions.ts';
import { NonRootIntercepts } from './intercepts.ts';
import { KnownVmcss } from './known-vmcss.ts';
import { logModification } from './page-modification-log.ts';
import { type LeaveGuest, leaveByPlan } from './planned-exit.ts';
import { StateCopies } from './state-copies.ts';
import { VirtualApic } from './virtual-apic.ts';
import { isConvertible, virtualizationException } from './virtualization-exceptions.ts';
import { LAUNCH_STATE_OFFSET, LaunchState, offsetOf, SHADOW_VMCS, Vmcs, writeOffsets } from './vmcs.ts';
import type { VmxParts } from './vmx-parts.ts';
import { worldSwitchPlace } from './world-switch-layout.ts';
import { makePlan } from './world-switch-plan.ts';

/** A VM entry as a watcher is told of it, after it happened. */
export interface VmEntryInfo {
  /** VMLAUNCH, as opposed to VMRESUME. */
  readonly launch: boolean;
  /** Host-physical address of the VMCS. */
  readonly vmcs: number;
  /** The guest's RIP: of its first instruction, or of the handler of the injected event. Unsigned. */
  readonly rip: bigint;
}

/** A VM entry that failed. Told before the state changes: RIP is that of VMLAUNCH or VMRESUME. */
export interface VmEntryFailure {
  readonly launch: boolean;
  readonly vmcs: number;
  /** VM-instruction error number of a VMfailValid; undefined if the failure is a VM exit. */
  readonly error: number | undefined;
  /** Basic exit reason, 33 or 34, of a failure that is a VM exit. */
  readonly reason: number | undefined;
  /** Exit qualification, if it is one. */
  readonly qualification: bigint;
  /** Every rule broken; empty for an MSR that could not be loaded, and for a launch state or MOV SS that refuses the entry. */
  readonly violated: readonly EntryRule[];
}

/** A shadow VMCS cannot be entered. */
const isShadowVmcs = ({ state, physical }: VmxParts): boolean =>
  (physical.readU32(state.currentVmcs) & SHADOW_VMCS) !== 0;

/** Why an entry is refused before any rule is looked at: a VM-instruction error. */
function refusalOf({ state, physical }: VmxParts, launch: boolean): number | undefined {
  if (state.interruptibility & BLOCKING.MOV_SS) return InstructionError.blockedByMovSs;
  const launched = physical.readU32(state.currentVmcs + LAUNCH_STATE_OFFSET) === LaunchState.launched;
  if (launched === !launch) return undefined;
  return launch ? InstructionError.vmlaunchNonClear : InstructionError.vmresumeNonLaunched;
}

const SUB_PAGE_TABLE = offsetOf('Sub-page-permission-table pointer');
const ENTRY_INTERRUPTION = offsetOf('VM-entry interruption-information field');
/** Access type in the exit qualification of APIC accesses: reads and writes of data, then others. */
const APIC_ACCESS_TYPE = 12n;

export class Vmx extends BoundaryExits implements HardwareVirtualization {
  /** The VMX instructions by the decoder's mnemonics. */
  readonly instructions: Readonly<Record<string, SystemInstruction>>;
  get exitCounts(): Float64Array {
    return this.exitLog.counts;
  }
  /** Told after a VM exit, with the host's state loaded, if `tellsOfExit` agrees. */
  onVmExit: ((info: VmExitInfo) => void) | undefined;
  /** Whether anybody wants to know of exits with a basic reason. */
  tellsOfExit: (reason: number) => boolean = () => true;
  /** Told after a VM entry, unless the injection of an event has ended in a VM exit already. */
  onVmEntry: ((info: VmEntryInfo) => void) | undefined;
  onVmEntryFailure: ((failure: VmEntryFailure) => void) | undefined;
  /** Told of a VMX abort, which leaves the processor in shutdown state for good. */
  onVmxAbort: ((abort: VmxAbort) => void) | undefined;
  /** The VM exits since the machine was made. */
  readonly exitLog: ExitLog;
  /** Makes an ordinary VM exit in compiled code (exec/world-exit-emitter.ts); 0 if it did nothing. */
  compiledExit: () => LeaveGuest = () => () => 0;
  /** Whether VM entries leave plans for compiled code: not where somebody else handles the exits. */
  plans = true;
  readonly #intercepts: NonRootIntercepts;
  readonly #checked: CheckedVmcs;
  readonly #apicAccesses: ApicAccesses;
  /** Called when something is to be looked at after the instruction under way. */
  onBoundaryWanted: () => void = () => {};

  /** `memory` is the one that holds the CPU state and RAM. */
  constructor(processor: Processor, mmu: Mmu, physical: PhysicalMemory, memory: WebAssembly.Memory) {
    const { state } = processor;
    const vmcs = new Vmcs(state, physical);
    writeOffsets(memory.buffer);
    const copies = new StateCopies(state, physical, memory);
    const parts = { processor, state, mmu, physical, vmcs, copies, known: new KnownVmcss() };
    super(parts, new VirtualApic(parts));
    this.exitLog = vmxExitLog(this.parts);
    mmu.walker.ept.pageModificationLog = (guestPhysical) => logModification(this.parts, guestPhysical);
    mmu.walker.ept.subPageTable = () => vmcs.number(SUB_PAGE_TABLE);
    this.#apicAccesses = new ApicAccesses(this.parts, this.apic, () => this.onBoundaryWanted());
    mmu.apicAccessPage = this.#apicAccesses;
    mmu.walker.ept.isApicAccessPage = (physical) => this.#apicAccesses.covers(physical);
    this.#intercepts = new NonRootIntercepts(this.parts, this.apic);
    this.#checked = new CheckedVmcs(this.parts, memory);
    this.instructions = vmxInstructions(this.parts, (launch) => this.#enter(launch));
  }

  exitName(index: number): string {
    return exitReason(index)?.name ?? String(index);
  }

  stateReplaced(): void {
    const { processor, state } = this.parts;
    processor.intercepts = state.nonRoot ? this.#intercepts : undefined;
    processor.delivering = undefined;
  }

  /** Every rule of VM entry that the current VMCS breaks now; empty without one. */
  violatedRules(): EntryRule[] {
    return this.parts.state.currentVmcsValid ? checkVmEntry(this.parts) : [];
  }

  /** VMLAUNCH and VMRESUME after their checks of mode and privilege. */
  #enter(launch: boolean): void {
    const parts = this.parts;
    const { state, processor } = parts;
    if (!state.currentVmcsValid || isShadowVmcs(parts)) return vmFailInvalid(parts);
    const refusal = refusalOf(parts, launch);
    if (refusal !== undefined) return this.#refuse(launch, refusal);
    const host = { efer: state.efer, mode: state.mode };
    const result = performEntry(parts, this.#intercepts, this.#checked);
    if (result.kind === 'fail') {
      this.#tellFailure(launch, result.error, undefined, 0n);
      return vmFail(parts, result.error);
    }
    if (result.kind === 'failure') {
      if (this.onVmEntryFailure) this.#tellFailure(launch, undefined, result.reason, result.qualification);
      this.#left(result.reason, performEntryFailure(parts, result.reason, result.qualification));
      processor.transferred = true;
      return;
    }
    if (this.plans && !this.#checked.looksOutside) makePlan(parts, host);
    this.exitLog.entered();
    this.apic.entered();
    this.#apicAccesses.entered();
    if (parts.vmcs.u32(ENTRY_INTERRUPTION) & INTERRUPTION_VALID) this.deliver(() => injectEvent(parts), 0);
    if (!this.onVmEntry || !state.nonRoot) return;
    this.onVmEntry({ launch, vmcs: state.currentVmcs, rip: BigInt.asUintN(64, BigInt(state.rip)) });
  }

  #refuse(launch: boolean, error: number): void {
    const vmcs = this.parts.state.currentVmcs;
    this.onVmEntryFailure?.({ launch, vmcs, error, reason: undefined, qualification: 0n, violated: [] });
    vmFail(this.parts, error);
  }

  #tellFailure(launch: boolean, error: number | undefined, reason: number | undefined, qualification: bigint): void {
    if (!this.onVmEntryFailure) return;
    const vmcs = this.parts.state.currentVmcs;
    const isMsrLoading = reason === ExitReason['VM-entry failure due to MSR loading'];
    const violated = isMsrLoading ? [] : checkVmEntry(this.parts);
    this.onVmEntryFailure({ launch, vmcs, error, reason, qualification, violated });
  }

  /**
   * Performs a VM exit, or the virtualization exception that an EPT violation becomes. `state.rip` is the RIP to save: of
   * the instruction that exits. After an exit it is the host's, and so is everything else; the instruction counts as
   * completed by a transfer.
   */
  exit(event: VmExit, instructionLengthBytes = 0): void {
    if (!this.parts.state.nonRoot) throw new Error(`internal: VM exit ${event.reason} outside non-root operation`);
    if (this.becomesVirtualizationException(event)) return this.#virtualizationException(event);
    if (this.#leaveByPlan(event, instructionLengthBytes)) return;
    this.#left(event.reason, performExit(this.parts, event, instructionLengthBytes));
  }

  #leaveByPlan(event: VmExit, instructionLengthBytes: number): boolean {
    if (!this.plans || !leaveByPlan(this.parts, this.compiledExit(), event, instructionLengthBytes)) return false;
    this.followSwitch();
    this.exitLog.logged(event.reason);
    return true;
  }

  /** To be called when other VM entries and exits are to be told of: those are not made in compiled code. */
  filtersChanged(): void {
    const { view } = this.parts.state;
    const told = (reason: number): number => (this.onVmExit && this.tellsOfExit(reason) ? 1 : 0);
    for (let reason = 0; reason < EXIT_REASON_COUNT; reason++)
      view.setUint8(worldSwitchPlace.told + reason, told(reason));
    view.setUint32(worldSwitchPlace.toldOfEntries, this.onVmEntry ? 1 : 0, true);
  }

  /** Compiled code has entered a guest or left it: what TypeScript holds is as after an entry or exit of its own. */
  followSwitch(): void {
    const { processor, state, mmu } = this.parts;
    state.view.setUint32(worldSwitchPlace.switched, 0, true);
    processor.intercepts = state.nonRoot ? this.#intercepts : undefined;
    mmu.followSwitch(state.nonRoot !== 0);
  }

  becomesVirtualizationException(event: VmExit): boolean {
    return this.parts.state.vmxOperation !== 0 && isConvertible(this.parts, event);
  }
  /** The guest handles its EPT violation, unless the exception bitmap has the exception exit. */
  #virtualizationException(event: VmExit): void {
    const fault = virtualizationException(this.parts, event);
    this.deliver(() => raiseFault(this.parts.processor, fault), 0);
  }

  /** Exits in place of an instruction do. */
  reportsLength({ reason, qualification, interruption }: VmExit): boolean {
    const isSoftware =
      interruption !== undefined && ((interruption.information >>> 8) & 7) >= EventType.softwareInterrupt;
    const isInstruction = exitReason(reason)?.skips || reason === ExitReason['Task switch'] || isSoftware;
    const isElsewhere = reason === ExitReason['APIC access'] && qualification >> APIC_ACCESS_TYPE > 1n;
    return isInstruction && !isElsewhere;
  }

  #left(reason: number, abort: VmxAbort | undefined): void {
    this.exitLog.exited(reason);
    if (abort !== undefined) return this.#abort(abort);
    if (this.onVmExit && this.tellsOfExit(reason)) this.onVmExit(exitInfo(this.parts.vmcs));
  }

  /** A VMX abort: the indicator is written and the processor shuts down (SDM volume 3, "VMX Aborts"). */
  #abort(abort: VmxAbort): void {
    const { state } = this.parts;
    recordAbort(this.parts, abort);
    state.nonRoot = 0;
    state.activityState = ACTIVITY.SHUTDOWN;
    this.onVmxAbort?.(abort);
  }

  /**
   * Deals with what ended an instruction: delivers a fault (or exits because of it), performs a VM exit, and rethrows
   * anything else. `state.rip` is that of the instruction.
   */
  handleEvent(event: unknown, instructionLengthBytes = 0): void {
    if (event instanceof VmExit) return this.exit(event, instructionLengthBytes);
    if (!(event instanceof GuestFault)) throw event;
    this.deliver(() => raiseFault(this.parts.processor, event), instructionLengthBytes);
  }

  protected override deliver(delivery: () => void, instructionLengthBytes: number): 'delivered' | 'vm-exit' {
    try {
      delivery();
    } catch (event) {
      if (!(event instanceof VmExit)) throw event;
      this.exit(event, instructionLengthBytes);
      return 'vm-exit';
    }
    return 'delivered';
  }
}
