/**
 * Exceptions in non-root operation: which of them exit, and what the exits tell (SDM volume 3, "Other Causes of VM Exits" and
 * "Information for VM Exits Due to Vectored Events").
 */

import { isDebugFault } from '../cpu/debug-exceptions.ts';
import { type GuestFault, Vector, VmExit } from '../cpu/events.ts';
import { SoftwareException } from '../cpu/interrupt-instructions.ts';
import { EventType } from '../cpu/processor.ts';
import { CR0 } from '../cpu/register-bits.ts';
import { INTERRUPTION_ERROR_CODE, INTERRUPTION_NMI_UNBLOCKING, INTERRUPTION_VALID } from './exit.ts';
import { offsetOf, type Vmcs } from './vmcs.ts';
import type { VmxParts } from './vmx-parts.ts';

const EXCEPTION_BITMAP = offsetOf('Exception bitmap');
const PF_MASK = offsetOf('Page-fault error-code mask');
const PF_MATCH = offsetOf('Page-fault error-code match');

/** The bit of the exception bitmap decides; for page faults it is inverted if the error code does not match. */
export function exceptionExits(vmcs: Vmcs, { vector, errorCode }: GuestFault): boolean {
  const bit = ((vmcs.u32(EXCEPTION_BITMAP) >>> vector) & 1) === 1;
  if (vector !== Vector.PF) return bit;
  const matches = ((errorCode ?? 0) & vmcs.u32(PF_MASK)) >>> 0 === vmcs.u32(PF_MATCH);
  return matches ? bit : !bit;
}

/** The exit that an exception causes. */
export function exitOfException(parts: VmxParts, fault: GuestFault): VmExit {
  const { vector, errorCode } = fault;
  const hasCode = errorCode !== undefined && (parts.state.cr0 & CR0.PE) !== 0;
  const information =
    (vector |
      (exceptionType(fault) << 8) |
      (hasCode ? INTERRUPTION_ERROR_CODE : 0) |
      (tellsOfUnblocking(parts, fault) ? INTERRUPTION_NMI_UNBLOCKING : 0) |
      INTERRUPTION_VALID) >>>
    0;
  return new VmExit(0, exceptionQualification(fault), {
    interruption: hasCode ? { information, errorCode } : { information },
  });
}

/** Undefined for double faults and while an event is delivered. */
function tellsOfUnblocking({ processor }: VmxParts, { unblockedNmi, vector }: GuestFault): boolean {
  return unblockedNmi === true && vector !== Vector.DF && processor.delivering === undefined;
}

function exceptionType(fault: GuestFault): number {
  if (fault instanceof SoftwareException) return EventType.softwareException;
  // INT1 is the only trap with no cause in DR6.
  if (isDebugFault(fault) && fault.trap && fault.dr6 === 0) return EventType.privilegedSoftwareException;
  return EventType.hardwareException;
}

function exceptionQualification(fault: GuestFault): bigint {
  if (fault.linear !== undefined) return BigInt.asUintN(64, BigInt(fault.linear));
  return isDebugFault(fault) ? BigInt(fault.dr6) : 0n;
}
