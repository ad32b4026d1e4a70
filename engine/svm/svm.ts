/** AMD-V of the loaded vCPU, as the run loop sees it: instructions, exits, interrupts in the guest, and who is told. */
import { GP, GuestFault, Vector, VmExit } from '../cpu/events.ts';
import type { SystemInstruction } from '../cpu/instruction.ts';
import { deliverExternalInterrupt, deliverNmi, raiseFault } from '../cpu/interrupts.ts';
import type { Processor } from '../cpu/processor.ts';
import { ACTIVITY, BLOCKING, RFLAGS, VM_CR } from '../cpu/register-bits.ts';
import type { HardwareVirtualization, InitOutcome } from '../cpu/virtualization.ts';
import type { Mmu } from '../mmu/mmu.ts';
import type { PhysicalMemory } from '../mmu/physical-memory.ts';
import type { EptContext } from '../mmu/walk.ts';
import type { ExitLog } from '../vmx/exit-log.ts';
import { KnownVmcss } from '../vmx/known-vmcss.ts';
import { injectEvent } from './event-injection.ts';
import { ExitCode, exitCodeName, exitCodeTable } from './exit-codes.ts';
import { type SvmExitInfo, svmExitInfo } from './exit-info.ts';
import { svmExitLog, svmExitReason } from './exit-log.ts';
import { GuestIntercepts } from './guest-intercepts.ts';
import { svmInstructions } from './instructions.ts';
import { inShadow, isIntercepted, masksInterrupts, type SvmParts } from './svm-parts.ts';
import { VirtualInterrupt } from './virtual-interrupt.ts';
import { Vmcb } from './vmcb.ts';
import { VMCB_BYTES, vmcbOffset } from './vmcb-fields.ts';
import { enterGuest, exitsInstruction, leaveGuest, loadPdptes, nestedPaging, refuseGuest } from './world-switch.ts';

/** A VMRUN as a watcher is told of it, after it happened. */
export interface VmrunInfo {
  /** Host-physical address of the VMCB. */
  readonly vmcb: number;
  /** The guest's RIP: of its first instruction, or of the handler of the injected event. Unsigned. */
  readonly rip: bigint;
}

const RAX = vmcbOffset('RAX');
/** Error code of #SX: redirected INIT. */
const SX_INIT = 1;

export class Svm implements HardwareVirtualization {
  readonly instructions: Readonly<Record<string, SystemInstruction>>;
  get exitCounts(): Float64Array {
    return this.exitLog.counts;
  }
  /** The #VMEXITs since the machine was made. */
  readonly exitLog: ExitLog;
  /** Told after a #VMEXIT, with the host's state loaded, if `tellsOfExit` agrees. */
  onVmExit: ((info: SvmExitInfo) => void) | undefined;
  /** Whether anybody wants to know of exits with a code. */
  tellsOfExit: (code: number) => boolean = () => true;
  onVmrun: ((info: VmrunInfo) => void) | undefined;
  readonly parts: SvmParts;
  readonly #intercepts: GuestIntercepts;
  readonly #virtual: VirtualInterrupt;

  constructor(processor: Processor, mmu: Mmu, physical: PhysicalMemory) {
    const { state } = processor;
    const vmcb = new Vmcb(physical, () => state.vmcb);
    const hostSave = new Vmcb(physical, () => state.vmHsavePa);
    this.parts = { processor, state, mmu, physical, vmcb, hostSave, known: new KnownVmcss() };
    this.exitLog = svmExitLog(this.parts);
    this.#intercepts = new GuestIntercepts(this.parts);
    this.#virtual = new VirtualInterrupt(this.parts);
    this.instructions = svmInstructions(this.parts, () => this.#enter());
  }

  /** RAX as the last #VMEXIT saved it. */
  get guestRax(): bigint {
    return this.parts.vmcb.u64(RAX);
  }

  /** The nested paging of the last VMCB, in host mode. */
  get nestedPaging(): EptContext | undefined {
    return this.parts.state.vmcb === 0 ? undefined : nestedPaging(this.parts);
  }

  exitName(index: number): string {
    const row = exitCodeTable[index];
    return row ? exitCodeName(row.code) : String(index);
  }

  stateReplaced(): void {
    const { processor, state } = this.parts;
    processor.intercepts = state.svmGuest ? this.#intercepts : undefined;
    processor.delivering = undefined;
  }

  /** VMRUN, with `state.vmcb` and the host's next RIP in place. */
  #enter(): void {
    const { parts } = this;
    const { state, processor, physical } = parts;
    if (!physical.isRam(state.vmHsavePa, VMCB_BYTES)) throw GP(0);
    if (!enterGuest(parts)) {
      return this.#left(ExitCode.INVALID, refuseGuest(parts));
    }
    this.exitLog.entered();
    processor.intercepts = this.#intercepts;
    this.#deliver(() => this.#begin(), 0);
    if (!this.onVmrun || !state.svmGuest) return;
    this.onVmrun({ vmcb: state.vmcb, rip: BigInt.asUintN(64, BigInt(state.rip)) });
  }

  /** The first steps of the guest: its PDPTEs, and the event that is injected. May throw `VmExit`. */
  #begin(): void {
    try {
      loadPdptes(this.parts);
    } catch (event) {
      if (event instanceof GuestFault) throw new VmExit(ExitCode.INVALID);
      throw event;
    }
    injectEvent(this.parts);
  }

  exit(event: VmExit, instructionLengthBytes = 0): void {
    if (!this.parts.state.svmGuest) throw new Error(`internal: ${exitCodeName(event.reason)} outside of guest mode`);
    this.#left(event.reason, leaveGuest(this.parts, event, instructionLengthBytes));
  }

  reportsLength({ reason, interruption }: VmExit): boolean {
    return exitsInstruction(reason) || interruption !== undefined;
  }

  #left(code: number, hostIsSound: boolean): void {
    this.exitLog.exited(svmExitReason(code));
    if (!hostIsSound) this.parts.processor.tripleFault();
    else if (this.onVmExit && this.tellsOfExit(code)) this.onVmExit(svmExitInfo(this.parts));
  }

  /** Deals with what ended an instruction, as `Vmx.handleEvent`. */
  handleEvent(event: unknown, instructionLengthBytes = 0): void {
    if (event instanceof VmExit) return this.exit(event, this.reportsLength(event) ? instructionLengthBytes : 0);
    if (!(event instanceof GuestFault)) throw event;
    this.#deliver(() => raiseFault(this.parts.processor, event), instructionLengthBytes);
  }

  /** Runs a delivery, which may end in an exit. */
  #deliver(delivery: () => void, instructionLengthBytes: number): void {
    try {
      delivery();
    } catch (event) {
      if (!(event instanceof VmExit)) throw event;
      this.exit(event, this.reportsLength(event) ? instructionLengthBytes : 0);
    }
  }

  // ---- instruction boundaries --------------------------------------------------------------------------------------

  completeInstruction(): void {}
  exitBeforeTraps(): boolean {
    return false;
  }
  exitByTimer(): boolean {
    return false;
  }
  exitBeforeNmis(): boolean {
    return false;
  }

  /** While GIF is 0, and where an NMI is handled already, it waits; so it does while an exit tells of it. */
  offerNmi(): { happened: boolean; isTaken: boolean } {
    const { state, processor } = this.parts;
    const isBlocked = (state.interruptibility & (BLOCKING.NMI | BLOCKING.MOV_SS)) !== 0;
    if (!state.globalInterruptFlag || isBlocked || state.activityState > ACTIVITY.HLT)
      return { happened: false, isTaken: false };
    if (this.#exitIfIntercepted(ExitCode.NMI)) return { happened: true, isTaken: false };
    state.activityState = ACTIVITY.ACTIVE;
    this.#deliver(() => deliverNmi(processor), 0);
    return { happened: true, isTaken: true };
  }

  /** Physical interrupts come before virtual ones. */
  offerInterrupt(isPending: boolean, acknowledge: () => number): boolean {
    if (isPending && this.#takesPhysical()) {
      if (!this.#exitIfIntercepted(ExitCode.INTR)) this.#interrupt(acknowledge);
      return true;
    }
    if (!this.#virtual.isTaken()) return false;
    if (!this.#exitIfIntercepted(ExitCode.VINTR)) this.#interrupt(() => this.#virtual.accept());
    return true;
  }
  wantsInterrupt(isPending: boolean): boolean {
    return (isPending && this.#takesPhysical()) || this.#virtual.isTaken();
  }

  #interrupt(vector: () => number): void {
    const { processor, state } = this.parts;
    state.activityState = ACTIVITY.ACTIVE;
    this.#deliver(() => deliverExternalInterrupt(processor, vector()), 0);
  }

  /** The host's RFLAGS.IF alone counts where interrupts are masked virtually: not even shadows of the guest do. */
  #takesPhysical(): boolean {
    const { state, vmcb } = this.parts;
    if (!state.globalInterruptFlag || state.activityState > ACTIVITY.HLT) return false;
    if (state.svmGuest && masksInterrupts(vmcb)) return state.hostInterruptFlag !== 0;
    return (state.flagsOther & RFLAGS.IF) !== 0 && !inShadow(state);
  }

  #exitIfIntercepted(code: number): boolean {
    const { state, vmcb } = this.parts;
    if (!state.svmGuest || !isIntercepted(vmcb, code)) return false;
    this.exit(new VmExit(code));
    return true;
  }

  get canWake(): boolean {
    const { state } = this.parts;
    return (state.flagsOther & RFLAGS.IF) !== 0 || state.svmGuest !== 0;
  }

  /** INIT waits for GIF, and while an exit tells of it; else it resets the processor, out of guest mode too, or is redirected. */
  onInit(): InitOutcome {
    const { state } = this.parts;
    if (!state.globalInterruptFlag) return 'blocked';
    if (this.#exitIfIntercepted(ExitCode.INIT)) return 'kept';
    if (state.vmCr & VM_CR.R_INIT) return this.#redirectInit();
    state.svmGuest = 0;
    state.nonRoot = 0;
    this.parts.processor.intercepts = undefined;
    return 'reset';
  }
  /** VM_CR.R_INIT has #SX in place of INIT; the error code names INIT. */
  #redirectInit(): InitOutcome {
    this.parts.state.activityState = ACTIVITY.ACTIVE;
    this.#deliver(() => raiseFault(this.parts.processor, new GuestFault(Vector.SX, SX_INIT)), 0);
    return 'exception';
  }
  onStartUp(): boolean {
    return false;
  }
}
