/** What many checks of VM entry have in common. */
import { cr4Allowed } from '../../cpu/control-registers.ts';
import type { CpuModel } from '../../cpu/model.ts';
import { CR4, EFER, hasBit } from '../../cpu/register-bits.ts';
import { allowedSettings, type ControlGroupName, controlGroups, ENTRY, EXIT, SECONDARY } from '../controls.ts';
import type { VmcsFieldName } from '../fields.ts';
import { offsetOf, type Vmcs } from '../vmcs.ts';
import { hasExit, hasSecondary, type VmxParts } from '../vmx-parts.ts';
import type { EntryRule } from './entry-rule.ts';

/** Makes rules of one section of the manual. */
export const rulesOf =
  (section: string) =>
  (
    id: string,
    fields: readonly VmcsFieldName[],
    text: string,
    violated: (parts: VmxParts, vmcs: Vmcs) => boolean,
    qualification?: number,
  ): EntryRule => ({
    id,
    fields,
    section,
    text,
    violated: (parts) => violated(parts, parts.vmcs),
    ...(qualification === undefined ? {} : { qualification }),
  });

export type MakeRule = ReturnType<typeof rulesOf>;

export const PIN_FIELD = controlGroups.pin.field;
export const PRIMARY_FIELD = controlGroups.primary.field;
export const SECONDARY_FIELD = controlGroups.secondary.field;

/** Rules about the execution control fields. */
export const execution = rulesOf('VM-Execution Control Fields');

/** Bits of IA32_EFER that are not reserved. */
export const EFER_DEFINED = EFER.SCE | EFER.LME | EFER.LMA | EFER.NXE;

export function canonicalRule(make: MakeRule, id: string, field: VmcsFieldName): EntryRule {
  const at = offsetOf(field);
  return make(
    id,
    [field],
    `The ${field} must contain a canonical address.`,
    (parts, vmcs) => !isCanonicalField(parts, vmcs, at),
  );
}

/** A structure that a control puts to use: aligned to 4 KBytes or as said, within the physical-address width. */
export function pageRules(
  prefix: string,
  address: VmcsFieldName,
  control: string,
  uses: (vmcs: Vmcs) => boolean,
  alignmentBits = 12,
): EntryRule[] {
  const at = offsetOf(address);
  const low = 2 ** alignmentBits - 1;
  return [
    execution(
      `${prefix}-aligned`,
      [address],
      `If "${control}" is 1, bits ${alignmentBits - 1}:0 of the ${address} must be 0.`,
      (_, vmcs) => uses(vmcs) && (vmcs.u32(at) & low) !== 0,
    ),
    execution(
      `${prefix}-width`,
      [address],
      `If "${control}" is 1, the ${address} must not set bits beyond the physical-address width.`,
      (parts, vmcs) => uses(vmcs) && !isWithinPhysicalWidth(parts, at),
    ),
  ];
}

/** Bits 63:47 are equal; with `fiveLevel`, bits 63:56. */
function isExtended(vmcs: Vmcs, offset: number, fiveLevel: boolean): boolean {
  const top = (vmcs.high(offset) | 0) >> (fiveLevel ? 24 : 15);
  return top === 0 || top === -1;
}

/** Canonical for a processor with linear addresses of its width, whatever the paging mode of guest and host. */
export const isCanonicalField = ({ processor: { model } }: VmxParts, vmcs: Vmcs, offset: number): boolean =>
  isExtended(vmcs, offset, model.has('LA57'));

/** Canonical in the paging mode that the CR4 at another offset selects. */
export const isCanonicalUnder = (vmcs: Vmcs, cr4: number, offset: number): boolean =>
  isExtended(vmcs, offset, vmcs.bits(cr4, CR4.LA57) !== 0);

export const isWithinPhysicalWidth = (parts: VmxParts, offset: number): boolean =>
  parts.vmcs.high(offset) < 2 ** (parts.mmu.physicalAddressBits - 32);

/** Every byte of IA32_PAT is a memory type: 0, 1, 4, 5, 6 or 7. */
export function isValidPat(vmcs: Vmcs, offset: number): boolean {
  return arePatBytes(vmcs.u32(offset)) && arePatBytes(vmcs.high(offset));
}
function arePatBytes(half: number): boolean {
  for (let shift = 0; shift < 32; shift += 8) {
    const type = (half >>> shift) & 0xff;
    if (type > 7 || type === 2 || type === 3) return false;
  }
  return true;
}

const fixed1 = new WeakMap<CpuModel, number>();
/** IA32_VMX_CR4_FIXED1: bits that CR4 may have. */
export function cr4Fixed1({ processor }: VmxParts): number {
  const { model } = processor;
  const known = fixed1.get(model);
  if (known !== undefined) return known;
  const allowed = cr4Allowed(processor);
  fixed1.set(model, allowed);
  return allowed;
}

const ENTRY_CONTROLS = offsetOf('VM-entry controls');
const INTERRUPTION = offsetOf('VM-entry interruption-information field');
const GUEST_RFLAGS = offsetOf('Guest RFLAGS');

export const hasEntry = (vmcs: Vmcs, mask: number): boolean => hasBit(vmcs.u32(ENTRY_CONTROLS), mask);
export const isIa32eGuest = (vmcs: Vmcs): boolean => hasEntry(vmcs, ENTRY['IA-32e mode guest']);
export const isLongHost = (vmcs: Vmcs): boolean => hasExit(vmcs, EXIT['Host address-space size']);
export const isUnrestricted = (vmcs: Vmcs): boolean => hasSecondary(vmcs, SECONDARY['Unrestricted guest']);
export const isVirtual8086Guest = (vmcs: Vmcs): boolean => vmcs.bits(GUEST_RFLAGS, 1 << 17) !== 0;

/** Interruption type of an event that is none of the others: a pending MTF VM exit. */
export const OTHER_EVENT = 7;

/** Type of the event that VM entry is to inject, or -1 if there is none. */
export function injectedType(vmcs: Vmcs): number {
  const information = vmcs.u32(INTERRUPTION) | 0;
  return information < 0 ? (information >>> 8) & 7 : -1;
}
export const injectedVector = (vmcs: Vmcs): number => vmcs.u32(INTERRUPTION) & 0xff;

/** The rule that a field of controls has only bits that the capability MSRs allow. */
export function allowedRule(
  make: MakeRule,
  id: string,
  group: ControlGroupName,
  field: VmcsFieldName,
  applies: (vmcs: Vmcs) => boolean = () => true,
): EntryRule {
  const { trueAllowed0, allowed1 } = allowedSettings(group);
  const must = trueAllowed0 | 0;
  const mayNot = ~allowed1;
  const offset = offsetOf(field);
  const text = `Reserved bits in the ${field} must be set as the capability MSRs say, and only supported controls be 1.`;
  return make(id, [field], text, (_, vmcs) => {
    const value = vmcs.u32(offset) | 0;
    return applies(vmcs) && ((value & must) !== must || (value & mayNot) !== 0);
  });
}

/** The rules of an MSR area: aligned, and all of it within the physical-address width. */
export function msrAreaRules(
  make: MakeRule,
  prefix: string,
  count: VmcsFieldName,
  address: VmcsFieldName,
): EntryRule[] {
  const countAt = offsetOf(count);
  const addressAt = offsetOf(address);
  const used = (vmcs: Vmcs): boolean => vmcs.u32(countAt) !== 0;
  return [
    make(
      `${prefix}-aligned`,
      [address, count],
      `If the ${count} is not 0, bits 3:0 of the ${address} must be 0.`,
      (_, vmcs) => used(vmcs) && (vmcs.u32(addressAt) & 0xf) !== 0,
    ),
    make(
      `${prefix}-address-width`,
      [address, count],
      `If the ${count} is not 0, the ${address} must not set bits beyond the physical-address width.`,
      (parts, vmcs) => used(vmcs) && !isWithinPhysicalWidth(parts, addressAt),
    ),
    make(
      `${prefix}-last-byte-width`,
      [address, count],
      `The last byte of the area at the ${address} must lie within the physical-address width.`,
      (parts, vmcs) =>
        used(vmcs) &&
        isWithinPhysicalWidth(parts, addressAt) &&
        vmcs.number(addressAt) + vmcs.u32(countAt) * 16 - 1 >= 2 ** parts.mmu.physicalAddressBits,
    ),
  ];
}
