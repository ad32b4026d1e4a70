/** VMX of the loaded vCPU, as the run loop sees it: instructions, VM exits, interrupts in the guest, and who is told. */
import { GuestFault, VmExit } from '../cpu/events.ts';
import type { SystemInstruction } from '../cpu/instruction.ts';
import { deliverExternalInterrupt, deliverNmi, raiseFault } from '../cpu/interrupts.ts';
import { MONITOR_TRAP } from '../cpu/monitor-trap.ts';
import { EventType, type Processor } from '../cpu/processor.ts';
import { ACTIVITY, BLOCKING, RFLAGS } from '../cpu/register-bits.ts';
import type { HardwareVirtualization, InitOutcome, InterruptOutcome } from '../cpu/virtualization.ts';
import type { Mmu } from '../mmu/mmu.ts';
import type { PhysicalMemory } from '../mmu/physical-memory.ts';
import { ApicAccesses } from './apic-accesses.ts';
import { PIN, PRIMARY } from './controls.ts';
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
import { acknowledgesOnExit, hasPin, hasPrimary, usesVirtualNmis, type VmxParts, virtualTimeNs } from './vmx-parts.ts';
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
const SHADOW = BLOCKING.STI | BLOCKING.MOV_SS;
const WINDOWS = PRIMARY['Interrupt-window exiting'] | PRIMARY['NMI-window exiting'];
/** Access type in the exit qualification of APIC accesses: reads and writes of data, then others. */
const APIC_ACCESS_TYPE = 12n;

export class Vmx implements HardwareVirtualization {
  /** The VMX instructions by the decoder's mnemonics. */
  readonly instructions: Readonly<Record<string, SystemInstruction>>;
  /** Takes the VM exits that come between instructions; a hypervisor of the machine's own goes on from them. */
  takeExit: (event: VmExit) => void = (event) => this.exit(event);
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
  readonly #parts: VmxParts;
  readonly #intercepts: NonRootIntercepts;
  readonly #checked: CheckedVmcs;
  readonly #apic: VirtualApic;
  readonly #apicAccesses: ApicAccesses;
  /** Called when something is to be looked at after the instruction under way. */
  onBoundaryWanted: () => void = () => {};

  /** `memory` is the one that holds the CPU state and RAM. */
  constructor(processor: Processor, mmu: Mmu, physical: PhysicalMemory, memory: WebAssembly.Memory) {
    const { state } = processor;
    const vmcs = new Vmcs(state, physical);
    writeOffsets(memory.buffer);
    const copies = new StateCopies(state, physical, memory);
    this.#parts = { processor, state, mmu, physical, vmcs, copies, known: new KnownVmcss() };
    this.exitLog = vmxExitLog(this.#parts);
    mmu.walker.ept.pageModificationLog = (guestPhysical) => logModification(this.#parts, guestPhysical);
    mmu.walker.ept.subPageTable = () => vmcs.number(SUB_PAGE_TABLE);
    this.#apic = new VirtualApic(this.#parts);
    this.#apicAccesses = new ApicAccesses(this.#parts, this.#apic, () => this.onBoundaryWanted());
    mmu.apicAccessPage = this.#apicAccesses;
    mmu.walker.ept.isApicAccessPage = (physical) => this.#apicAccesses.covers(physical);
    this.#intercepts = new NonRootIntercepts(this.#parts, this.#apic);
    this.#checked = new CheckedVmcs(this.#parts, memory);
    this.instructions = vmxInstructions(this.#parts, (launch) => this.#enter(launch));
  }

  /** What the parts of VMX and the views of it share. */
  get parts(): VmxParts {
    return this.#parts;
  }

  exitName(index: number): string {
    return exitReason(index)?.name ?? String(index);
  }

  stateReplaced(): void {
    const { processor, state } = this.#parts;
    processor.intercepts = state.nonRoot ? this.#intercepts : undefined;
    processor.delivering = undefined;
  }

  /** Every rule of VM entry that the current VMCS breaks now; empty without one. */
  violatedRules(): EntryRule[] {
    return this.#parts.state.currentVmcsValid ? checkVmEntry(this.#parts) : [];
  }

  /** VMLAUNCH and VMRESUME after their checks of mode and privilege. */
  #enter(launch: boolean): void {
    const parts = this.#parts;
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
    this.#apic.entered();
    this.#apicAccesses.entered();
    if (parts.vmcs.u32(ENTRY_INTERRUPTION) & INTERRUPTION_VALID) this.#deliver(() => injectEvent(parts), 0);
    if (!this.onVmEntry || !state.nonRoot) return;
    this.onVmEntry({ launch, vmcs: state.currentVmcs, rip: BigInt.asUintN(64, BigInt(state.rip)) });
  }

  #refuse(launch: boolean, error: number): void {
    const vmcs = this.#parts.state.currentVmcs;
    this.onVmEntryFailure?.({ launch, vmcs, error, reason: undefined, qualification: 0n, violated: [] });
    vmFail(this.#parts, error);
  }

  #tellFailure(launch: boolean, error: number | undefined, reason: number | undefined, qualification: bigint): void {
    if (!this.onVmEntryFailure) return;
    const vmcs = this.#parts.state.currentVmcs;
    const isMsrLoading = reason === ExitReason['VM-entry failure due to MSR loading'];
    const violated = isMsrLoading ? [] : checkVmEntry(this.#parts);
    this.onVmEntryFailure({ launch, vmcs, error, reason, qualification, violated });
  }

  /**
   * Performs a VM exit, or the virtualization exception that an EPT violation becomes. `state.rip` is the RIP to save: of
   * the instruction that exits. After an exit it is the host's, and so is everything else; the instruction counts as
   * completed by a transfer.
   */
  exit(event: VmExit, instructionLengthBytes = 0): void {
    if (!this.#parts.state.nonRoot) throw new Error(`internal: VM exit ${event.reason} outside non-root operation`);
    if (this.becomesVirtualizationException(event)) return this.#virtualizationException(event);
    if (this.#leaveByPlan(event, instructionLengthBytes)) return;
    this.#left(event.reason, performExit(this.#parts, event, instructionLengthBytes));
  }

  #leaveByPlan(event: VmExit, instructionLengthBytes: number): boolean {
    if (!this.plans || !leaveByPlan(this.#parts, this.compiledExit(), event, instructionLengthBytes)) return false;
    this.followSwitch();
    this.exitLog.logged(event.reason);
    return true;
  }

  /** To be called when other VM entries and exits are to be told of: those are not made in compiled code. */
  filtersChanged(): void {
    const { view } = this.#parts.state;
    const told = (reason: number): number => (this.onVmExit && this.tellsOfExit(reason) ? 1 : 0);
    for (let reason = 0; reason < EXIT_REASON_COUNT; reason++)
      view.setUint8(worldSwitchPlace.told + reason, told(reason));
    view.setUint32(worldSwitchPlace.toldOfEntries, this.onVmEntry ? 1 : 0, true);
  }

  /** Compiled code has entered a guest or left it: what TypeScript holds is as after an entry or exit of its own. */
  followSwitch(): void {
    const { processor, state, mmu } = this.#parts;
    state.view.setUint32(worldSwitchPlace.switched, 0, true);
    processor.intercepts = state.nonRoot ? this.#intercepts : undefined;
    mmu.followSwitch(state.nonRoot !== 0);
  }

  becomesVirtualizationException(event: VmExit): boolean {
    return this.#parts.state.vmxOperation !== 0 && isConvertible(this.#parts, event);
  }
  /** The guest handles its EPT violation, unless the exception bitmap has the exception exit. */
  #virtualizationException(event: VmExit): void {
    const fault = virtualizationException(this.#parts, event);
    this.#deliver(() => raiseFault(this.#parts.processor, fault), 0);
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
    if (this.onVmExit && this.tellsOfExit(reason)) this.onVmExit(exitInfo(this.#parts.vmcs));
  }

  /** A VMX abort: the indicator is written and the processor shuts down (SDM volume 3, "VMX Aborts"). */
  #abort(abort: VmxAbort): void {
    const { state } = this.#parts;
    recordAbort(this.#parts, abort);
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
    this.#deliver(() => raiseFault(this.#parts.processor, event), instructionLengthBytes);
  }

  /** Runs a delivery, which may end in a VM exit. */
  #deliver(delivery: () => void, instructionLengthBytes: number): 'delivered' | 'vm-exit' {
    try {
      delivery();
    } catch (event) {
      if (!(event instanceof VmExit)) throw event;
      this.exit(event, instructionLengthBytes);
      return 'vm-exit';
    }
    return 'delivered';
  }

  // ---- instruction boundaries --------------------------------------------------------------------------------------

  completeInstruction(): void {
    if (this.#parts.state.apicEvent !== 0) this.#apic.completeWrite();
  }
  exitBeforeTraps(): boolean {
    return (this.#parts.state.apicEvent !== 0 && this.apicExit()) || this.monitorTrapExit();
  }
  offerNmi(): { happened: boolean; isTaken: boolean } {
    const isTaken = this.onNmiPending() !== 'blocked';
    return { happened: isTaken, isTaken };
  }
  offerInterrupt(isPending: boolean, acknowledge: () => number): boolean {
    if (this.interruptWindowExit() || this.onVirtualInterrupt() !== 'blocked') return true;
    return isPending && this.onExternalInterruptPending(acknowledge) !== 'blocked';
  }
  wantsInterrupt(isPending: boolean): boolean {
    const { state, vmcs } = this.#parts;
    if (state.nonRoot && hasPrimary(vmcs, WINDOWS)) return true;
    if (this.preemptionTimerHasExpired() || this.takesVirtualInterrupt()) return true;
    return isPending && this.takesExternalInterrupt();
  }
  get canWake(): boolean {
    const { state } = this.#parts;
    return (state.flagsOther & RFLAGS.IF) !== 0 || state.nonRoot !== 0;
  }
  /** In VMX root operation INIT is blocked and stays pending; in non-root operation it exits, unless the guest waits for SIPI. */
  onInit(): InitOutcome {
    const { state } = this.#parts;
    if (!state.nonRoot) return state.vmxOperation ? 'blocked' : 'reset';
    if (state.activityState !== ACTIVITY.WAIT_FOR_SIPI) this.exit(new VmExit(ExitReason['INIT signal']));
    return 'vm-exit';
  }
  onStartUp(vector: number): boolean {
    const { nonRoot } = this.#parts.state;
    return nonRoot !== 0 && this.#exitIf(true, ExitReason['Start-up IPI (SIPI)'], BigInt(vector));
  }

  /** The VM exit that the virtual APIC causes after an instruction or VM entry: before that of the monitor trap flag. */
  apicExit(): boolean {
    if (this.#parts.state.activityState > ACTIVITY.HLT) return false;
    const event = this.#apic.takeExit();
    if (event) this.exit(new VmExit(event.reason, event.qualification));
    return event !== undefined;
  }
  /** Delivers the virtual interrupt that is recognized, unless it is blocked; before external interrupts. */
  onVirtualInterrupt(): InterruptOutcome {
    if (!this.takesVirtualInterrupt()) return 'blocked';
    const { processor, state } = this.#parts;
    state.activityState = ACTIVITY.ACTIVE;
    return this.#deliver(() => deliverExternalInterrupt(processor, this.#apic.acceptInterrupt()), 0);
  }
  takesVirtualInterrupt(): boolean {
    const { virtualInterrupt, activityState } = this.#parts.state;
    if (virtualInterrupt === 0 || activityState > ACTIVITY.HLT || !this.interruptWindowOpen()) return false;
    return !hasPrimary(this.#parts.vmcs, PRIMARY['Interrupt-window exiting']);
  }

  /** The VM exit of the monitor trap flag: before traps of the last instruction. These return whether there was an exit. */
  monitorTrapExit(): boolean {
    return this.#exitIf(this.#parts.state.monitorTrap === MONITOR_TRAP.PENDING, ExitReason['Monitor trap flag']);
  }

  /** The VM exit of the preemption timer: after those traps, before all that follows. In any state but wait-for-SIPI. */
  exitByTimer(): boolean {
    const { activityState } = this.#parts.state;
    const isDue = activityState !== ACTIVITY.WAIT_FOR_SIPI && this.preemptionTimerHasExpired();
    return this.#exitIf(isDue, ExitReason['VMX-preemption timer expired']);
  }
  preemptionTimerHasExpired(): boolean {
    const { processor, state } = this.#parts;
    return state.preemptionDeadline !== 0 && virtualTimeNs(processor) >= state.preemptionDeadline;
  }

  /** The VM exit by an open window for NMIs, which comes before these. */
  exitBeforeNmis(): boolean {
    const isOpen = this.#hasWindow(PRIMARY['NMI-window exiting']) && this.#nmiWindowOpen();
    return this.#exitIf(isOpen, ExitReason['NMI window']);
  }
  /** The VM exit by an open window for interrupts: after NMIs, before interrupts. */
  interruptWindowExit(): boolean {
    const isOpen = this.#hasWindow(PRIMARY['Interrupt-window exiting']) && this.interruptWindowOpen();
    return this.#exitIf(isOpen, ExitReason['Interrupt window']);
  }
  #hasWindow(control: number): boolean {
    const { state, vmcs } = this.#parts;
    return state.nonRoot !== 0 && state.activityState <= ACTIVITY.HLT && hasPrimary(vmcs, control);
  }
  #exitIf(isDue: boolean, reason: number, qualification = 0n): boolean {
    if (isDue) this.takeExit(new VmExit(reason, qualification));
    return isDue;
  }

  /** RFLAGS.IF = 1 and no blocking by STI or MOV SS: a maskable interrupt could be delivered. */
  interruptWindowOpen(): boolean {
    const { state } = this.#parts;
    return (state.flagsOther & RFLAGS.IF) !== 0 && (state.interruptibility & SHADOW) === 0;
  }
  #nmiWindowOpen(): boolean {
    return (this.#parts.state.interruptibility & (SHADOW | BLOCKING.NMI)) === 0;
  }

  /** Whether `onExternalInterruptPending` would do anything now. */
  takesExternalInterrupt(): boolean {
    const { state } = this.#parts;
    if (state.activityState > ACTIVITY.HLT) return false;
    return this.#interruptsExit() || this.interruptWindowOpen();
  }
  #interruptsExit(): boolean {
    const { state, vmcs } = this.#parts;
    return state.nonRoot !== 0 && hasPin(vmcs, PIN['External-interrupt exiting']);
  }

  /**
   * An external interrupt is pending at an instruction boundary: exits or delivers it, or leaves it pending.
   * `acknowledge` takes the vector from the interrupt controller; it is called only if the interrupt is taken.
   */
  onExternalInterruptPending(acknowledge: () => number): InterruptOutcome {
    if (!this.takesExternalInterrupt()) return 'blocked';
    if (this.#interruptsExit()) return this.#interruptInGuest(acknowledge);
    const { processor, state } = this.#parts;
    state.activityState = ACTIVITY.ACTIVE;
    return this.#deliver(() => deliverExternalInterrupt(processor, acknowledge()), 0);
  }

  /** An external interrupt exits, or announces posted ones. */
  #interruptInGuest(acknowledge: () => number): InterruptOutcome {
    const reason = ExitReason['External interrupt'];
    if (!acknowledgesOnExit(this.#parts.vmcs)) {
      this.exit(new VmExit(reason));
      return 'vm-exit';
    }
    const vector = acknowledge();
    if (this.#apic.isNotification(vector)) {
      this.#parts.processor.localApic?.endOfInterrupt();
      this.#apic.processPosted();
      return 'delivered';
    }
    this.exit(new VmExit(reason, 0n, { interruption: { information: (vector | INTERRUPTION_VALID) >>> 0 } }));
    return 'vm-exit';
  }

  /** A non-maskable interrupt is pending at an instruction boundary. The caller drops it unless it is blocked. */
  onNmiPending(): InterruptOutcome {
    const { state, vmcs, processor } = this.#parts;
    if (state.activityState === ACTIVITY.WAIT_FOR_SIPI) return 'blocked';
    const exits = state.nonRoot !== 0 && hasPin(vmcs, PIN['NMI exiting']);
    const blocked = exits && usesVirtualNmis(vmcs) ? 0 : state.interruptibility & BLOCKING.NMI;
    if (blocked || state.interruptibility & BLOCKING.MOV_SS) return 'blocked';
    if (exits) {
      const information = (2 | (EventType.nmi << 8) | INTERRUPTION_VALID) >>> 0;
      this.exit(new VmExit(0, 0n, { interruption: { information } }));
      return 'vm-exit';
    }
    state.activityState = ACTIVITY.ACTIVE;
    return this.#deliver(() => deliverNmi(processor), 0);
  }
}
