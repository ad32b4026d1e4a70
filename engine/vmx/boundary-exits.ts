/**
 * The VM exits and interrupts between instructions, each of which the run loop asks for at its place (SDM volume 3, "Priority
 * Among Concurrent Events").
 */
import { VmExit } from '../cpu/events.ts';
import { deliverExternalInterrupt, deliverNmi } from '../cpu/interrupts.ts';
import { MONITOR_TRAP } from '../cpu/monitor-trap.ts';
import { EventType } from '../cpu/processor.ts';
import { ACTIVITY, BLOCKING, RFLAGS } from '../cpu/register-bits.ts';
import type { InitOutcome, InterruptOutcome } from '../cpu/virtualization.ts';
import { PIN, PRIMARY } from './controls.ts';
import { INTERRUPTION_VALID } from './exit.ts';
import { ExitReason } from './exit-reasons.ts';
import type { VirtualApic } from './virtual-apic.ts';
import { acknowledgesOnExit, hasPin, hasPrimary, usesVirtualNmis, type VmxParts, virtualTimeNs } from './vmx-parts.ts';

const SHADOW = BLOCKING.STI | BLOCKING.MOV_SS;
const WINDOWS = PRIMARY['Interrupt-window exiting'] | PRIMARY['NMI-window exiting'];

export abstract class BoundaryExits {
  /** What the parts of VMX and the views of it share. */
  readonly parts: VmxParts;
  protected readonly apic: VirtualApic;
  /** Takes the VM exits that come between instructions; a hypervisor of the machine's own goes on from them. */
  takeExit: (event: VmExit) => void = (event) => this.exit(event);

  constructor(parts: VmxParts, apic: VirtualApic) {
    this.parts = parts;
    this.apic = apic;
  }

  /** Performs a VM exit. */
  abstract exit(event: VmExit, instructionLengthBytes?: number): void;
  /** Runs a delivery, which may end in a VM exit. */
  protected abstract deliver(delivery: () => void, instructionLengthBytes: number): 'delivered' | 'vm-exit';

  completeInstruction(): void {
    if (this.parts.state.apicEvent !== 0) this.apic.completeWrite();
  }
  exitBeforeTraps(): boolean {
    return (this.parts.state.apicEvent !== 0 && this.apicExit()) || this.monitorTrapExit();
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
    const { state, vmcs } = this.parts;
    if (state.nonRoot && hasPrimary(vmcs, WINDOWS)) return true;
    if (this.preemptionTimerHasExpired() || this.takesVirtualInterrupt()) return true;
    return isPending && this.takesExternalInterrupt();
  }
  get canWake(): boolean {
    const { state } = this.parts;
    return (state.flagsOther & RFLAGS.IF) !== 0 || state.nonRoot !== 0;
  }
  /** In VMX root operation INIT is blocked and stays pending; in non-root operation it exits, unless the guest waits for SIPI. */
  onInit(): InitOutcome {
    const { state } = this.parts;
    if (!state.nonRoot) return state.vmxOperation ? 'blocked' : 'reset';
    if (state.activityState !== ACTIVITY.WAIT_FOR_SIPI) this.exit(new VmExit(ExitReason['INIT signal']));
    return 'vm-exit';
  }
  onStartUp(vector: number): boolean {
    const { nonRoot } = this.parts.state;
    return nonRoot !== 0 && this.#exitIf(true, ExitReason['Start-up IPI (SIPI)'], BigInt(vector));
  }

  /** The VM exit that the virtual APIC causes after an instruction or VM entry: before that of the monitor trap flag. */
  apicExit(): boolean {
    if (this.parts.state.activityState > ACTIVITY.HLT) return false;
    const event = this.apic.takeExit();
    if (event) this.exit(new VmExit(event.reason, event.qualification));
    return event !== undefined;
  }
  /** Delivers the virtual interrupt that is recognized, unless it is blocked; before external interrupts. */
  onVirtualInterrupt(): InterruptOutcome {
    if (!this.takesVirtualInterrupt()) return 'blocked';
    const { processor, state } = this.parts;
    state.activityState = ACTIVITY.ACTIVE;
    return this.deliver(() => deliverExternalInterrupt(processor, this.apic.acceptInterrupt()), 0);
  }
  takesVirtualInterrupt(): boolean {
    const { virtualInterrupt, activityState } = this.parts.state;
    if (virtualInterrupt === 0 || activityState > ACTIVITY.HLT || !this.interruptWindowOpen()) return false;
    return !hasPrimary(this.parts.vmcs, PRIMARY['Interrupt-window exiting']);
  }

  /** The VM exit of the monitor trap flag: before traps of the last instruction. These return whether there was an exit. */
  monitorTrapExit(): boolean {
    return this.#exitIf(this.parts.state.monitorTrap === MONITOR_TRAP.PENDING, ExitReason['Monitor trap flag']);
  }

  /** The VM exit of the preemption timer: after those traps, before all that follows. In any state but wait-for-SIPI. */
  exitByTimer(): boolean {
    const { activityState } = this.parts.state;
    const isDue = activityState !== ACTIVITY.WAIT_FOR_SIPI && this.preemptionTimerHasExpired();
    return this.#exitIf(isDue, ExitReason['VMX-preemption timer expired']);
  }
  preemptionTimerHasExpired(): boolean {
    const { processor, state } = this.parts;
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
    const { state, vmcs } = this.parts;
    return state.nonRoot !== 0 && state.activityState <= ACTIVITY.HLT && hasPrimary(vmcs, control);
  }
  #exitIf(isDue: boolean, reason: number, qualification = 0n): boolean {
    if (isDue) this.takeExit(new VmExit(reason, qualification));
    return isDue;
  }

  /** RFLAGS.IF = 1 and no blocking by STI or MOV SS: a maskable interrupt could be delivered. */
  interruptWindowOpen(): boolean {
    const { state } = this.parts;
    return (state.flagsOther & RFLAGS.IF) !== 0 && (state.interruptibility & SHADOW) === 0;
  }
  #nmiWindowOpen(): boolean {
    return (this.parts.state.interruptibility & (SHADOW | BLOCKING.NMI)) === 0;
  }

  /** Whether `onExternalInterruptPending` would do anything now. */
  takesExternalInterrupt(): boolean {
    const { state } = this.parts;
    if (state.activityState > ACTIVITY.HLT) return false;
    return this.#interruptsExit() || this.interruptWindowOpen();
  }
  #interruptsExit(): boolean {
    const { state, vmcs } = this.parts;
    return state.nonRoot !== 0 && hasPin(vmcs, PIN['External-interrupt exiting']);
  }

  /**
   * An external interrupt is pending at an instruction boundary: exits or delivers it, or leaves it pending.
   * `acknowledge` takes the vector from the interrupt controller; it is called only if the interrupt is taken.
   */
  onExternalInterruptPending(acknowledge: () => number): InterruptOutcome {
    if (!this.takesExternalInterrupt()) return 'blocked';
    if (this.#interruptsExit()) return this.#interruptInGuest(acknowledge);
    const { processor, state } = this.parts;
    state.activityState = ACTIVITY.ACTIVE;
    return this.deliver(() => deliverExternalInterrupt(processor, acknowledge()), 0);
  }

  /** An external interrupt exits, or announces posted ones. */
  #interruptInGuest(acknowledge: () => number): InterruptOutcome {
    const reason = ExitReason['External interrupt'];
    if (!acknowledgesOnExit(this.parts.vmcs)) {
      this.exit(new VmExit(reason));
      return 'vm-exit';
    }
    const vector = acknowledge();
    if (this.apic.isNotification(vector)) {
      this.parts.processor.localApic?.endOfInterrupt();
      this.apic.processPosted();
      return 'delivered';
    }
    this.exit(new VmExit(reason, 0n, { interruption: { information: (vector | INTERRUPTION_VALID) >>> 0 } }));
    return 'vm-exit';
  }

  /** A non-maskable interrupt is pending at an instruction boundary. The caller drops it unless it is blocked. */
  onNmiPending(): InterruptOutcome {
    const { state, vmcs, processor } = this.parts;
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
    return this.deliver(() => deliverNmi(processor), 0);
  }
}
