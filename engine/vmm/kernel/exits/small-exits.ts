/** Exits whose handling is a matter of a line or two. */
import { Vector } from '../../../cpu/events.ts';
import { hasBit } from '../../../cpu/register-bits.ts';
import { writeExtendedControl } from '../../../cpu/xsave/xcr0.ts';
import type { VirtualCpu } from '../virtual-cpu.ts';

const RAX = 0;
/** What an unknown hypercall and one from user mode return, by the convention of Linux guests: -KVM_ENOSYS, -KVM_EPERM. */
const UNKNOWN_HYPERCALL = BigInt.asUintN(64, -1000n);
const NOT_PERMITTED = BigInt.asUintN(64, -1n);

/** HLT: the instruction is complete; the processor goes back to the guest when there is an interrupt for it. */
export function handleHlt(vcpu: VirtualCpu): undefined {
  vcpu.skipInstruction();
  vcpu.isHalted = true;
}

/** Interrupts of the host are its own affair; what waits for the guest is injected by the VM entry. */
export function handleInterrupt(): undefined {}

/** The hypervisor has no calls of its own so far. */
export function handleVmcall(vcpu: VirtualCpu): undefined {
  const { guest, state } = vcpu.parts;
  state.setGpr(RAX, guest.cpl === 0 ? UNKNOWN_HYPERCALL : NOT_PERMITTED);
  vcpu.skipInstruction();
}

/** INVD, WBINVD, PAUSE, MONITOR, MWAIT: there are no caches to write back and no reason to wait. */
export function handleNothingToDo(vcpu: VirtualCpu): undefined {
  vcpu.skipInstruction();
}

/** Instructions of features that the guest does not have. */
export function handleUndefined(vcpu: VirtualCpu): undefined {
  vcpu.guest.injectException(Vector.UD);
}
/** XSETBV: XCR0 belongs to the guest, as the host saves no extended state. */
export function handleXsetbv(vcpu: VirtualCpu): undefined {
  const { guest, processor } = vcpu.parts;
  if (writeExtendedControl(processor)) vcpu.skipInstruction();
  else guest.injectException(Vector.GP, 0);
}

/** RDPMC: there are no counters. */
export function handleNoCounters(vcpu: VirtualCpu): undefined {
  vcpu.guest.injectException(Vector.GP, 0);
}

/** An exception that the bitmap makes exit is the guest's own: it gets it. */
export function handleException(vcpu: VirtualCpu): undefined {
  const { guest } = vcpu.parts;
  const information = guest.interruptionInformation;
  guest.injectException(information & 0xff, hasBit(information, 1 << 11) ? guest.interruptionErrorCode : undefined);
}

export function handleTripleFault(vcpu: VirtualCpu): undefined {
  vcpu.isDead = true;
  const cause = vcpu.parts.processor.shutdownCause;
  vcpu.parts.stop(`A fault occurred while a double fault was delivered to the guest. ${cause} A PC would reset now.`);
}

export function handleTaskSwitch(vcpu: VirtualCpu): undefined {
  vcpu.parts.unimplemented('hardware task switch of a guest');
}
