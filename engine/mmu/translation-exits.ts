/** The VM exits in which walks of EPT and of nested page tables end. */

import { VmExit } from '../cpu/events.ts';
import type { LinearAddress } from '../isa/linear-address.ts';
import { EptViolationBit } from './access.ts';
import { violationQualification } from './peeked-translation.ts';
import type { ApicAccessPage } from './translation-context.ts';
import { Outcome, type Walk } from './walk.ts';

const EXIT_EPT_VIOLATION = 48;
const EXIT_EPT_MISCONFIGURATION = 49;
const EXIT_LOG_FULL = 62;
const EXIT_SUB_PAGE = 66;
/** Of AMD-V; EXITINFO1 tells in bits 32 and 33 which address was being translated. */
const EXIT_NESTED_PAGE_FAULT = 0x400;
const FINAL_ADDRESS = 1n << 32n;
const PAGE_TABLE_ADDRESS = 1n << 33n;
/** Exit qualification of sub-page events: an entry is missing, not misconfigured. */
const SUB_PAGE_MISS = 1 << 11;

/** What the exits tell besides the walk. */
export interface ExitCircumstances {
  readonly nmiUnblockingDueToIret: boolean;
  readonly apicAccessPage: ApicAccessPage | undefined;
}

/** The exit of a walk for a linear address. */
export function exitOfLinearAccess(walk: Walk, guestLinear: LinearAddress, circumstances: ExitCircumstances): VmExit {
  const { outcome, guestPhysical } = walk;
  const plain = exitOfAnyAccess(walk, guestPhysical, circumstances);
  if (plain) return plain;
  const nmi = nmiUnblocking(circumstances);
  if (outcome === Outcome.SubPageMiss || outcome === Outcome.SubPageMisconfiguration) {
    const miss = outcome === Outcome.SubPageMiss ? SUB_PAGE_MISS : 0;
    return new VmExit(EXIT_SUB_PAGE, BigInt(miss | nmi), { guestLinear, guestPhysical });
  }
  const qualification = BigInt(violationQualification(walk) | nmi);
  const suppressesVe = walk.eptSuppressesVe;
  return new VmExit(EXIT_EPT_VIOLATION, qualification, { guestLinear, guestPhysical, suppressesVe });
}

/** The exit of a walk for a guest-physical address that is accessed for no linear one. */
export function exitOfGuestPhysicalAccess(walk: Walk, guestPhysical: number, circumstances: ExitCircumstances): VmExit {
  const plain = exitOfAnyAccess(walk, guestPhysical, circumstances);
  if (plain) return plain;
  const qualification = BigInt(walk.eptQualification | nmiUnblocking(circumstances));
  return new VmExit(EXIT_EPT_VIOLATION, qualification, { guestPhysical, suppressesVe: walk.eptSuppressesVe });
}

/** The exit of a walk of EPT that tells nothing of the access it was made for; undefined if it ended otherwise. */
function exitOfAnyAccess(walk: Walk, guestPhysical: number, circumstances: ExitCircumstances): VmExit | undefined {
  const { outcome } = walk;
  if (outcome === Outcome.EptMisconfiguration) return new VmExit(EXIT_EPT_MISCONFIGURATION, 0n, { guestPhysical });
  if (outcome === Outcome.NestedPageFault) {
    const where = walk.inPageWalk ? PAGE_TABLE_ADDRESS : FINAL_ADDRESS;
    return new VmExit(EXIT_NESTED_PAGE_FAULT, where | BigInt(walk.errorCode), { guestPhysical });
  }
  if (outcome === Outcome.ApicAccess) return circumstances.apicAccessPage?.guestPhysicalExit();
  if (outcome === Outcome.LogFull) return new VmExit(EXIT_LOG_FULL, BigInt(nmiUnblocking(circumstances)));
  return undefined;
}

const nmiUnblocking = ({ nmiUnblockingDueToIret }: ExitCircumstances): number =>
  nmiUnblockingDueToIret ? EptViolationBit.NmiUnblocking : 0;
