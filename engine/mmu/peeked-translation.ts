/** What translations that have no side effects give. */
import { EptViolationBit, MappingFlag } from './access.ts';
import { type AddressSpace, Outcome, type Walk } from './walk.ts';

/** What a peek found. `physical` is there exactly if `outcome` is Mapped. */
export interface PeekedTranslation {
  readonly outcome: Outcome;
  /** Host-physical address. */
  readonly physical: number | undefined;
  /** Page-fault error code, for PageFault. */
  readonly errorCode: number;
  /** Exit qualification, for EptViolation. */
  readonly qualification: number;
  /** Guest-physical address of the page, or of what EPT refused. */
  readonly guestPhysical: number | undefined;
  readonly pageShift: number;
  /** MappingFlag bits, for Mapped. */
  readonly flags: number;
  /** Whether the TLB answered. */
  readonly fromTlb: boolean;
}

export interface PeekOptions {
  /** `cached`: as the CPU would translate now, stale mappings included; `walk`: from the tables alone. */
  readonly mode?: 'cached' | 'walk';
  /** Another address space than the current one; implies `walk`. */
  readonly space?: AddressSpace;
}

/** Exit qualification of the EPT violation that a walk for a linear address ended in. */
export function violationQualification(walk: Walk): number {
  const final = walk.inPageWalk ? 0 : EptViolationBit.FinalTranslation | guestRights(walk.flags);
  return walk.eptQualification | EptViolationBit.GuestLinearValid | final;
}

/** What the guest's own paging says of the address. Without paging all is allowed, and addresses count as user-mode ones. */
const guestRights = (flags: number): number =>
  (flags & MappingFlag.User ? EptViolationBit.GuestUser : 0) |
  (flags & MappingFlag.Write ? EptViolationBit.GuestWritable : 0) |
  (flags & MappingFlag.Execute ? 0 : EptViolationBit.GuestExecuteDisable);

/** The result of a peek from that of its walk, or of the TLB. */
export function peeked(walk: Walk, fromTlb: boolean): PeekedTranslation {
  const { outcome } = walk;
  const hasGuestPhysical = outcome !== Outcome.PageFault && outcome !== Outcome.NonCanonical && !fromTlb;
  return {
    outcome,
    physical: outcome === Outcome.Mapped ? walk.physical : undefined,
    errorCode: outcome === Outcome.PageFault ? walk.errorCode : 0,
    qualification: outcome === Outcome.EptViolation ? violationQualification(walk) : 0,
    guestPhysical: hasGuestPhysical ? walk.guestPhysical : undefined,
    pageShift: walk.pageShift,
    flags: outcome === Outcome.Mapped ? walk.flags : 0,
    fromTlb,
  };
}
