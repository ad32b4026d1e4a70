/** Virtualization exceptions (SDM volume 3, "Virtualization Exceptions"): EPT violations that the guest itself handles. */
import { GuestFault, Vector, type VmExit } from '../cpu/events.ts';
import { CR0 } from '../cpu/register-bits.ts';
import { SECONDARY } from './controls.ts';
import { ExitReason } from './exit-reasons.ts';
import { offsetOf } from './vmcs.ts';
import { hasSecondary, type VmxParts } from './vmx-parts.ts';

const INFORMATION = offsetOf('Virtualization-exception information address');
const EPTP_INDEX = offsetOf('EPTP index');
/** Offsets in the information area. The second dword is in use while it is not 0. */
const [IN_USE, QUALIFICATION, GUEST_LINEAR, GUEST_PHYSICAL, INDEX] = [4, 8, 16, 24, 32] as const;

/** Whether a VM exit becomes a virtualization exception. */
export function isConvertible({ processor, state, vmcs, physical }: VmxParts, event: VmExit): boolean {
  if (event.reason !== ExitReason['EPT violation'] || event.suppressesVe) return false;
  if (!hasSecondary(vmcs, SECONDARY['EPT-violation #VE'])) return false;
  if ((state.cr0 & CR0.PE) === 0 || processor.delivering) return false;
  return physical.readU32(vmcs.number(INFORMATION) + IN_USE) === 0;
}

/** Writes what the EPT violation was about to the information area; the exception to raise. */
export function virtualizationException({ vmcs, physical }: VmxParts, event: VmExit): GuestFault {
  const area = vmcs.number(INFORMATION);
  physical.writeU32(area, event.reason);
  physical.writeU32(area + IN_USE, 0xffff_ffff);
  physical.writeU64(area + QUALIFICATION, event.qualification);
  physical.writeU64(area + GUEST_LINEAR, BigInt.asUintN(64, BigInt(event.guestLinear ?? 0)));
  physical.writeU64(area + GUEST_PHYSICAL, BigInt(event.guestPhysical ?? 0));
  physical.writeU16(area + INDEX, vmcs.u32(EPTP_INDEX) & 0xffff);
  return new GuestFault(Vector.VE);
}
