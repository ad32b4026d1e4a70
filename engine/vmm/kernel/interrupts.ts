/**
 * Interrupts of the guest. Its controllers are emulated in the kernel half; when they have one for the processor, the
 * guest is interrupted by a VM exit, and what waits is injected by the next VM entry that finds the guest ready for it.
 */
import { VmExit } from '../../cpu/events.ts';
import { ACTIVITY } from '../../cpu/register-bits.ts';
import { ExitReason } from '../../vmx/exit-reasons.ts';
import type { VirtualCpu } from './virtual-cpu.ts';

/** The host's own vector that brings a processor out of the guest: an inter-processor interrupt. */
const KICK_VECTOR = 0xfd;
const VALID = 0x8000_0000;

const KICK = new VmExit(ExitReason['External interrupt'], 0n, {
  interruption: { information: (KICK_VECTOR | VALID) >>> 0 },
});
const WINDOW = new VmExit(ExitReason['Interrupt window']);

/** The exit that interrupts in or for the guest cause now, before its next instruction; undefined for none. */
export function interruptExit(vcpu: VirtualCpu, canTakeInterrupt: boolean): VmExit | undefined {
  const { guest, interrupts } = vcpu.parts;
  const isKicked = vcpu.nested.takesInterrupts && interrupts.interruptPending && vcpu.index === 0;
  if (!isKicked && guest.wantsInterruptWindow) return canTakeInterrupt ? WINDOW : undefined;
  return interrupts.interruptPending && vcpu.index === 0 ? KICK : undefined;
}

/** Prepares what the next VM entry injects; asks for an exit as soon as the guest can take what has to wait. */
export function prepareInjection(vcpu: VirtualCpu): void {
  const { guest, interrupts } = vcpu.parts;
  // Whoever has external interrupts exit is told by such an exit.
  if (vcpu.nested.takesInterrupts) return;
  if (vcpu.index === 0 && interrupts.interruptPending && !guest.isInjecting && guest.isInterruptible) {
    guest.injectInterrupt(interrupts.acknowledge());
  }
  guest.wantsInterruptWindow = vcpu.nested.wantsInterruptWindow || (vcpu.index === 0 && interrupts.interruptPending);
}

/** Whether a guest that halted goes on. */
export function canWake(vcpu: VirtualCpu): boolean {
  const { guest, interrupts } = vcpu.parts;
  const isWoken = guest.interruptsEnabled || vcpu.nested.takesInterrupts;
  return vcpu.index === 0 && interrupts.interruptPending && isWoken;
}

/** The processor idles in the host until there is something for the guest. */
export function block(vcpu: VirtualCpu): void {
  vcpu.isBlocked = true;
  vcpu.parts.state.activityState = ACTIVITY.HLT;
}
export function unblock(vcpu: VirtualCpu): void {
  vcpu.isBlocked = false;
  vcpu.parts.state.activityState = ACTIVITY.ACTIVE;
}
