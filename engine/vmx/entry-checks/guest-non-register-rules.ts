/**
 * Checks on the guest's non-register state and PDPTEs (SDM volume 3, "Checks on Guest Non-Register State", "Checks on
 * Guest Page-Directory-Pointer-Table Entries").
 */
import { ACCESS, ACTIVITY, BLOCKING, CR0, CR4, hasBit, RFLAGS } from '../../cpu/register-bits.ts';
import { isReservedPdpte } from '../../mmu/paging-structures.ts';
import { PIN, SECONDARY } from '../controls.ts';
import { guestPdpteFields } from '../fields.ts';
import { offsetOf, SHADOW_VMCS, VMCS_BYTES, VMCS_REVISION, type Vmcs } from '../vmcs.ts';
import { hasPin, hasSecondary, type VmxParts } from '../vmx-parts.ts';
import type { EntryRule } from './entry-rule.ts';
import {
  injectedType,
  injectedVector,
  isIa32eGuest,
  isWithinPhysicalWidth,
  OTHER_EVENT,
  rulesOf,
  SECONDARY_FIELD,
} from './rule-helpers.ts';

const nonRegister = rulesOf('Checks on Guest Non-Register State');
const pdptes = rulesOf('Checks on Guest Page-Directory-Pointer-Table Entries');

const ACTIVITY_STATE = offsetOf('Guest activity state');
const INTERRUPTIBILITY = offsetOf('Guest interruptibility state');
const PENDING = offsetOf('Guest pending debug exceptions');
const LINK = offsetOf('VMCS link pointer');
const SS_RIGHTS = offsetOf('Guest SS access rights');
const GUEST_RFLAGS = offsetOf('Guest RFLAGS');
const DEBUGCTL = offsetOf('Guest IA32_DEBUGCTL');
const GUEST_CR0 = offsetOf('Guest CR0');
const GUEST_CR3 = offsetOf('Guest CR3');
const GUEST_CR4 = offsetOf('Guest CR4');

const ACTIVITY_FIELD = 'Guest activity state';
const INTERRUPTIBILITY_FIELD = 'Guest interruptibility state';
const PENDING_FIELD = 'Guest pending debug exceptions';
const INFORMATION_FIELD = 'VM-entry interruption-information field';

/** Exit qualifications of VM-entry failures that have one. */
const NMI_INTO_BLOCKING = 3;
const LINK_POINTER = 4;
const PDPTE_LOADING = 2;

/** Interruption types and vectors. */
const EXTERNAL_INTERRUPT = 0;
const NMI = 2;
const HARDWARE_EXCEPTION = 3;
const DB = 1;
const MC = 18;

const activity = (vmcs: Vmcs): number => vmcs.u32(ACTIVITY_STATE);
const blocking = (vmcs: Vmcs): number => vmcs.u32(INTERRUPTIBILITY);
const SHADOW = BLOCKING.STI | BLOCKING.MOV_SS;

/** Whether the activity state lets the event to inject be delivered. */
function suitsActivity(vmcs: Vmcs): boolean {
  const type = injectedType(vmcs);
  if (type < 0) return true;
  const vector = injectedVector(vmcs);
  const isMachineCheck = type === HARDWARE_EXCEPTION && vector === MC;
  switch (activity(vmcs)) {
    case ACTIVITY.ACTIVE:
      return true;
    case ACTIVITY.HLT:
      return (
        type === EXTERNAL_INTERRUPT ||
        type === NMI ||
        type === OTHER_EVENT ||
        isMachineCheck ||
        (type === HARDWARE_EXCEPTION && vector === DB)
      );
    case ACTIVITY.SHUTDOWN:
      return type === NMI || isMachineCheck;
    default:
      return false;
  }
}

/** Bits of the pending debug exceptions that are not reserved. */
const PENDING_DEFINED = 0xf | (1 << 12) | (1 << 14);
const BS = 1 << 14;
const BTF = 1 << 1;

/** Single-stepping must be pending in a shadow or in HLT state exactly if TF is 1 and BTF is 0. */
const isStepHeldBack = (vmcs: Vmcs): boolean => (blocking(vmcs) & SHADOW) !== 0 || activity(vmcs) === ACTIVITY.HLT;
const singleSteps = (vmcs: Vmcs): boolean =>
  vmcs.bits(GUEST_RFLAGS, RFLAGS.TF) !== 0 && !hasBit(vmcs.u32(DEBUGCTL), BTF);

const hasLink = (vmcs: Vmcs): boolean => vmcs.u32(LINK) !== 0xffff_ffff || vmcs.high(LINK) !== 0xffff_ffff;

const linkIsShadow = ({ physical }: VmxParts, vmcs: Vmcs): boolean =>
  (physical.view.getUint32(vmcs.number(LINK), true) & SHADOW_VMCS) !== 0;

/** The VMCS that the link pointer names begins with our revision identifier. */
function linkHasRevision({ physical }: VmxParts, vmcs: Vmcs): boolean {
  const address = vmcs.number(LINK);
  return (
    physical.isRam(address, VMCS_BYTES) && (physical.view.getUint32(address, true) & ~SHADOW_VMCS) === VMCS_REVISION
  );
}

export const guestNonRegisterRules: readonly EntryRule[] = [
  nonRegister(
    'guest-activity-supported',
    [ACTIVITY_FIELD],
    'The activity state must be 0 (active), 1 (HLT), 2 (shutdown) or 3 (wait-for-SIPI), all of which IA32_VMX_MISC reports.',
    (_, vmcs) => activity(vmcs) > ACTIVITY.WAIT_FOR_SIPI,
  ),
  nonRegister(
    'guest-activity-hlt-dpl',
    [ACTIVITY_FIELD, 'Guest SS access rights'],
    'The activity state must not be HLT if the DPL of SS is not 0.',
    (_, vmcs) => activity(vmcs) === ACTIVITY.HLT && (vmcs.u32(SS_RIGHTS) & ACCESS.DPL) !== 0,
  ),
  nonRegister(
    'guest-activity-blocking',
    [ACTIVITY_FIELD, INTERRUPTIBILITY_FIELD],
    'The activity state must be active if there is blocking by STI or by MOV SS.',
    (_, vmcs) => (blocking(vmcs) & SHADOW) !== 0 && activity(vmcs) !== ACTIVITY.ACTIVE,
  ),
  nonRegister(
    'guest-activity-injection',
    [ACTIVITY_FIELD, INFORMATION_FIELD],
    'The event to inject must be one that the activity state does not block.',
    (_, vmcs) => !suitsActivity(vmcs),
  ),
  nonRegister(
    'guest-interruptibility-reserved',
    [INTERRUPTIBILITY_FIELD],
    'Reserved bits 31:4 of the interruptibility state must be 0.',
    (_, vmcs) => blocking(vmcs) > 0xf,
  ),
  nonRegister(
    'guest-interruptibility-exclusive',
    [INTERRUPTIBILITY_FIELD],
    'The interruptibility state must not show both blocking by STI and blocking by MOV SS.',
    (_, vmcs) => (blocking(vmcs) & SHADOW) === SHADOW,
  ),
  nonRegister(
    'guest-interruptibility-sti-if',
    [INTERRUPTIBILITY_FIELD, 'Guest RFLAGS'],
    'Blocking by STI must be 0 if the IF flag of Guest RFLAGS is 0.',
    (_, vmcs) => hasBit(blocking(vmcs), BLOCKING.STI) && vmcs.bits(GUEST_RFLAGS, RFLAGS.IF) === 0,
  ),
  nonRegister(
    'guest-interruptibility-injected-interrupt',
    [INTERRUPTIBILITY_FIELD, INFORMATION_FIELD],
    'There must be no blocking by STI or MOV SS if an external interrupt is to be injected.',
    (_, vmcs) => injectedType(vmcs) === EXTERNAL_INTERRUPT && (blocking(vmcs) & SHADOW) !== 0,
  ),
  nonRegister(
    'guest-interruptibility-injected-nmi',
    [INTERRUPTIBILITY_FIELD, INFORMATION_FIELD],
    'There must be no blocking by MOV SS if an NMI is to be injected.',
    (_, vmcs) => injectedType(vmcs) === NMI && hasBit(blocking(vmcs), BLOCKING.MOV_SS),
    NMI_INTO_BLOCKING,
  ),
  nonRegister(
    'guest-interruptibility-smi',
    [INTERRUPTIBILITY_FIELD],
    'Blocking by SMI must be 0 outside system-management mode.',
    (_, vmcs) => hasBit(blocking(vmcs), BLOCKING.SMI),
  ),
  nonRegister(
    'guest-interruptibility-virtual-nmi',
    [INTERRUPTIBILITY_FIELD, INFORMATION_FIELD],
    'With "virtual NMIs", there must be no blocking by NMI if an NMI is to be injected.',
    (_, vmcs) =>
      hasPin(vmcs, PIN['Virtual NMIs']) && injectedType(vmcs) === NMI && hasBit(blocking(vmcs), BLOCKING.NMI),
  ),
  nonRegister(
    'guest-pending-debug-reserved',
    [PENDING_FIELD],
    'Reserved bits 11:4, 13, 15 and 63:16 of the pending debug exceptions must be 0.',
    (_, vmcs) => (vmcs.u32(PENDING) & ~PENDING_DEFINED) !== 0 || vmcs.high(PENDING) !== 0,
  ),
  nonRegister(
    'guest-pending-debug-bs-set',
    [PENDING_FIELD, 'Guest RFLAGS'],
    'With blocking by STI or MOV SS, or in HLT state, BS (bit 14) must be 1 if RFLAGS.TF is 1 and IA32_DEBUGCTL.BTF is 0.',
    (_, vmcs) => isStepHeldBack(vmcs) && singleSteps(vmcs) && !hasBit(vmcs.u32(PENDING), BS),
  ),
  nonRegister(
    'guest-pending-debug-bs-clear',
    [PENDING_FIELD, 'Guest RFLAGS'],
    'With blocking by STI or MOV SS, or in HLT state, BS (bit 14) must be 0 if RFLAGS.TF is 0 or IA32_DEBUGCTL.BTF is 1.',
    (_, vmcs) => isStepHeldBack(vmcs) && !singleSteps(vmcs) && hasBit(vmcs.u32(PENDING), BS),
  ),
  nonRegister(
    'link-pointer-aligned',
    ['VMCS link pointer'],
    'Unless it is FFFFFFFF_FFFFFFFFH, bits 11:0 of the VMCS link pointer must be 0.',
    (_, vmcs) => hasLink(vmcs) && (vmcs.u32(LINK) & 0xfff) !== 0,
    LINK_POINTER,
  ),
  nonRegister(
    'link-pointer-width',
    ['VMCS link pointer'],
    'Unless it is FFFFFFFF_FFFFFFFFH, the VMCS link pointer must not set bits beyond the physical-address width.',
    (parts, vmcs) => hasLink(vmcs) && !isWithinPhysicalWidth(parts, LINK),
    LINK_POINTER,
  ),
  nonRegister(
    'link-pointer-revision',
    ['VMCS link pointer'],
    'The region that the VMCS link pointer names must begin with the VMCS revision identifier in bits 30:0.',
    (parts, vmcs) => hasLink(vmcs) && isWithinPhysicalWidth(parts, LINK) && !linkHasRevision(parts, vmcs),
    LINK_POINTER,
  ),
  nonRegister(
    'link-pointer-shadow-indicator',
    ['VMCS link pointer', SECONDARY_FIELD],
    'Bit 31 of the region that the VMCS link pointer names, the shadow-VMCS indicator, must equal "VMCS shadowing".',
    (parts, vmcs) =>
      hasLink(vmcs) &&
      isWithinPhysicalWidth(parts, LINK) &&
      linkHasRevision(parts, vmcs) &&
      linkIsShadow(parts, vmcs) !== hasSecondary(vmcs, SECONDARY['VMCS shadowing']),
    LINK_POINTER,
  ),
  nonRegister(
    'link-pointer-not-current',
    ['VMCS link pointer'],
    'The VMCS link pointer must not be the current-VMCS pointer.',
    ({ state }, vmcs) => hasLink(vmcs) && vmcs.number(LINK) === state.currentVmcs,
    LINK_POINTER,
  ),
];

function usesPaePaging(vmcs: Vmcs): boolean {
  return hasBit(vmcs.u32(GUEST_CR0), CR0.PG) && hasBit(vmcs.u32(GUEST_CR4), CR4.PAE) && !isIa32eGuest(vmcs);
}
const usesEpt = (vmcs: Vmcs): boolean => hasSecondary(vmcs, SECONDARY['Enable EPT']);

const hasReserved = (low: number, high: number, { mmu }: VmxParts): boolean =>
  isReservedPdpte(low, high, mmu.physicalAddressBits);

/** The PDPTEs in memory that Guest CR3 points to. */
function memoryPdptesReserved(parts: VmxParts, vmcs: Vmcs): boolean {
  const table = (vmcs.u32(GUEST_CR3) & ~0x1f) >>> 0;
  for (let index = 0; index < 4; index++) {
    const at = table + index * 8;
    if (hasReserved(parts.physical.peekU32(at), parts.physical.peekU32(at + 4), parts)) return true;
  }
  return false;
}

export const guestPdpteRules: readonly EntryRule[] = [
  ...guestPdpteFields.map((field) => {
    const at = offsetOf(field);
    return pdptes(
      `${field.toLowerCase().replace(' ', '-')}-reserved`,
      [field],
      `With PAE paging and EPT, reserved bits of ${field} must be 0 if it is present.`,
      (parts, vmcs) => usesEpt(vmcs) && usesPaePaging(vmcs) && hasReserved(vmcs.u32(at), vmcs.high(at), parts),
      PDPTE_LOADING,
    );
  }),
  pdptes(
    'memory-pdptes-reserved',
    ['Guest CR3'],
    'With PAE paging and no EPT, reserved bits of the present PDPTEs that Guest CR3 points to must be 0.',
    (parts, vmcs) => !usesEpt(vmcs) && usesPaePaging(vmcs) && memoryPdptesReserved(parts, vmcs),
    PDPTE_LOADING,
  ),
];
