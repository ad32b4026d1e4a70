/** Checks on the guest's segment registers (SDM volume 3, "Checks on Guest Segment Registers"). */

import { ACCESS, CR0, hasBit } from '../../cpu/register-bits.ts';
import type { VmcsFieldName } from '../fields.ts';
import { offsetOf, type Vmcs } from '../vmcs.ts';
import type { VmxParts } from '../vmx-parts.ts';
import type { EntryRule } from './entry-rule.ts';
import { isCanonicalField, isIa32eGuest, isUnrestricted, isVirtual8086Guest, rulesOf } from './rule-helpers.ts';

const rule = rulesOf('Checks on Guest Segment Registers');

const codeAndData = ['CS', 'SS', 'DS', 'ES', 'FS', 'GS'] as const;
const dataSegments = ['DS', 'ES', 'FS', 'GS'] as const;
const allSegments = [...codeAndData, 'LDTR', 'TR'] as const;
type SegmentName = (typeof allSegments)[number];

/** The four fields of a segment register: names for the reports, offsets for the checks. */
const parts = (name: SegmentName) =>
  ({
    selectorName: `Guest ${name} selector`,
    baseName: `Guest ${name} base`,
    limitName: `Guest ${name} limit`,
    rightsName: `Guest ${name} access rights`,
    selector: offsetOf(`Guest ${name} selector`),
    base: offsetOf(`Guest ${name} base`),
    limit: offsetOf(`Guest ${name} limit`),
    rights: offsetOf(`Guest ${name} access rights`),
  }) as const;

const CS = parts('CS');
const SS = parts('SS');
const LDTR = parts('LDTR');
const TR = parts('TR');
const GUEST_CR0 = offsetOf('Guest CR0');

const rights = (vmcs: Vmcs, at: number): number => vmcs.u32(at);
const typeOf = (vmcs: Vmcs, at: number): number => vmcs.u32(at) & ACCESS.TYPE;
const dplOf = (vmcs: Vmcs, at: number): number => (vmcs.u32(at) & ACCESS.DPL) >>> 5;
const rplOf = (vmcs: Vmcs, at: number): number => vmcs.u32(at) & 3;
const isUsable = (vmcs: Vmcs, at: number): boolean => !hasBit(vmcs.u32(at), ACCESS.UNUSABLE);
const isV86 = isVirtual8086Guest;

const TI = 1 << 2;
const DATA_ACCESSED = 3;
const RESERVED_LOW = 0xf00;
const RESERVED_HIGH = 0xfffe_0000;
const V86_RIGHTS = 0xf3;
const V86_LIMIT = 0xffff;

/** A rule about a segment that counts outside virtual-8086 mode, and, but for CS and TR, if the segment is usable. */
function usableRule(
  name: SegmentName,
  suffix: string,
  field: VmcsFieldName,
  text: string,
  violated: (vmcs: Vmcs, parts: VmxParts) => boolean,
): EntryRule {
  const { rights: at } = parts(name);
  const always = name === 'CS' || name === 'TR';
  const isSystem = name === 'LDTR' || name === 'TR';
  return rule(
    `guest-${name.toLowerCase()}-${suffix}`,
    [field],
    text,
    (vmx, vmcs) => (isSystem || !isV86(vmcs)) && (always || isUsable(vmcs, at)) && violated(vmcs, vmx),
  );
}

const selectorRules: readonly EntryRule[] = [
  rule(
    'guest-tr-ti',
    [TR.selectorName],
    'The TI flag (bit 2) of the Guest TR selector must be 0.',
    (_, vmcs) => (vmcs.u32(TR.selector) & TI) !== 0,
  ),
  usableRule(
    'LDTR',
    'ti',
    LDTR.selectorName,
    'If LDTR is usable, the TI flag (bit 2) of its selector must be 0.',
    (vmcs) => (vmcs.u32(LDTR.selector) & TI) !== 0,
  ),
  rule(
    'guest-ss-rpl',
    [SS.selectorName, CS.selectorName],
    'Unless in virtual-8086 mode or with "unrestricted guest", the RPL of SS must equal that of CS.',
    (_, vmcs) => !isV86(vmcs) && !isUnrestricted(vmcs) && rplOf(vmcs, SS.selector) !== rplOf(vmcs, CS.selector),
  ),
];

const v86Rules: readonly EntryRule[] = codeAndData.flatMap((name) => {
  const { baseName, limitName, rightsName, selector, base, limit, rights: at } = parts(name);
  const id = `guest-${name.toLowerCase()}-v86`;
  return [
    rule(
      `${id}-base`,
      [baseName],
      `In virtual-8086 mode, the ${baseName} must be the selector times 16.`,
      (_, vmcs) => isV86(vmcs) && (vmcs.u32(base) !== (vmcs.u32(selector) & 0xffff) * 16 || vmcs.high(base) !== 0),
    ),
    rule(
      `${id}-limit`,
      [limitName],
      `In virtual-8086 mode, the ${limitName} must be 0000FFFFH.`,
      (_, vmcs) => isV86(vmcs) && vmcs.u32(limit) !== V86_LIMIT,
    ),
    rule(
      `${id}-rights`,
      [rightsName],
      `In virtual-8086 mode, the ${rightsName} must be 000000F3H.`,
      (_, vmcs) => isV86(vmcs) && vmcs.u32(at) !== V86_RIGHTS,
    ),
  ];
});

const canonicalBase = (name: 'TR' | 'FS' | 'GS'): EntryRule => {
  const { baseName, base } = parts(name);
  const text = `The ${baseName} must be canonical.`;
  return rule(
    `guest-${name.toLowerCase()}-base-canonical`,
    [baseName],
    text,
    (vmx, vmcs) => !isCanonicalField(vmx, vmcs, base),
  );
};

const baseRules: readonly EntryRule[] = [
  canonicalBase('TR'),
  canonicalBase('FS'),
  canonicalBase('GS'),
  usableRule(
    'LDTR',
    'base-canonical',
    LDTR.baseName,
    'If LDTR is usable, its base must be canonical.',
    (vmcs, vmx) => !isCanonicalField(vmx, vmcs, LDTR.base),
  ),
  ...(['CS', 'SS', 'DS', 'ES'] as const).map((name) => {
    const { baseName, base } = parts(name);
    const text = `Bits 63:32 of the ${baseName} must be 0${name === 'CS' ? '' : ' if the segment is usable'}.`;
    return usableRule(name, 'base-32-bit', baseName, text, (vmcs) => vmcs.high(base) !== 0);
  }),
];

/** Types of code segments: accessed, non-conforming or conforming. */
const CODE_TYPES = [9, 11, 13, 15];

const typeRules: readonly EntryRule[] = [
  usableRule(
    'CS',
    'type',
    CS.rightsName,
    'The type of CS must be 9, 11, 13 or 15 (accessed code), or 3 with "unrestricted guest".',
    (vmcs) => {
      const type = typeOf(vmcs, CS.rights);
      return !CODE_TYPES.includes(type) && !(type === DATA_ACCESSED && isUnrestricted(vmcs));
    },
  ),
  usableRule('SS', 'type', SS.rightsName, 'The type of SS must be 3 or 7 (accessed writable data).', (vmcs) => {
    const type = typeOf(vmcs, SS.rights);
    return type !== 3 && type !== 7;
  }),
  ...dataSegments.flatMap((name) => {
    const { rightsName, rights: at } = parts(name);
    return [
      usableRule(
        name,
        'accessed',
        rightsName,
        `If ${name} is usable, bit 0 of its type (accessed) must be 1.`,
        (vmcs) => !hasBit(rights(vmcs, at), ACCESS.ACCESSED),
      ),
      usableRule(
        name,
        'readable',
        rightsName,
        `If ${name} is usable and a code segment, bit 1 of its type (readable) must be 1.`,
        (vmcs) => hasBit(rights(vmcs, at), ACCESS.CODE) && !hasBit(rights(vmcs, at), ACCESS.READABLE),
      ),
    ];
  }),
  ...codeAndData.map((name) => {
    const { rightsName, rights: at } = parts(name);
    const text = `Bit 4 (S) of the ${rightsName} must be 1${name === 'CS' ? '' : ' if the segment is usable'}.`;
    return usableRule(name, 's', rightsName, text, (vmcs) => !hasBit(rights(vmcs, at), ACCESS.S));
  }),
];

const privilegeRules: readonly EntryRule[] = [
  usableRule('CS', 'dpl', CS.rightsName, 'The DPL of CS must suit its type and the DPL of SS.', (vmcs) => {
    const dpl = dplOf(vmcs, CS.rights);
    const ss = dplOf(vmcs, SS.rights);
    const type = typeOf(vmcs, CS.rights);
    if (type === DATA_ACCESSED) return dpl !== 0;
    if (type === 9 || type === 11) return dpl !== ss;
    return (type === 13 || type === 15) && dpl > ss;
  }),
  rule(
    'guest-ss-dpl-rpl',
    [SS.rightsName, SS.selectorName],
    'Unless in virtual-8086 mode or with "unrestricted guest", the DPL of SS must equal the RPL of its selector.',
    (_, vmcs) => !isV86(vmcs) && !isUnrestricted(vmcs) && dplOf(vmcs, SS.rights) !== rplOf(vmcs, SS.selector),
  ),
  rule(
    'guest-ss-dpl-zero',
    [SS.rightsName, CS.rightsName, 'Guest CR0'],
    'The DPL of SS must be 0 if the type of CS is 3 or Guest CR0.PE is 0.',
    (_, vmcs) => {
      const real = typeOf(vmcs, CS.rights) === DATA_ACCESSED || !hasBit(vmcs.u32(GUEST_CR0), CR0.PE);
      return !isV86(vmcs) && real && dplOf(vmcs, SS.rights) !== 0;
    },
  ),
  ...dataSegments.map((name) => {
    const { rightsName, selector, rights: at } = parts(name);
    return usableRule(
      name,
      'dpl',
      rightsName,
      `Without "unrestricted guest", the DPL of ${name} must not be less than its RPL if it is usable and of type 0 to 11.`,
      (vmcs) => !isUnrestricted(vmcs) && typeOf(vmcs, at) <= 11 && dplOf(vmcs, at) < rplOf(vmcs, selector),
    );
  }),
];

/** Granularity: G must be 0 if a bit of 11:0 of the limit is 0, and 1 if one of 31:20 is 1. */
function hasWrongGranularity(vmcs: Vmcs, limitAt: number, rightsAt: number): boolean {
  const limit = vmcs.u32(limitAt);
  const granular = hasBit(rights(vmcs, rightsAt), ACCESS.G);
  return (granular && (limit & 0xfff) !== 0xfff) || (!granular && limit >>> 20 !== 0);
}

const commonRules: readonly EntryRule[] = allSegments.flatMap((name) => {
  const { rightsName, limitName, limit, rights: at } = parts(name);
  const condition = name === 'CS' || name === 'TR' ? '' : ' if the segment is usable';
  return [
    usableRule(
      name,
      'present',
      rightsName,
      `Bit 7 (P) of the ${rightsName} must be 1${condition}.`,
      (vmcs) => !hasBit(rights(vmcs, at), ACCESS.P),
    ),
    usableRule(
      name,
      'reserved',
      rightsName,
      `Reserved bits 11:8 and 31:17 of the ${rightsName} must be 0${condition}.`,
      (vmcs) => (rights(vmcs, at) & (RESERVED_LOW | RESERVED_HIGH)) !== 0,
    ),
    usableRule(
      name,
      'granularity',
      limitName,
      `Bit 15 (G) of the ${rightsName} must be 0 if a bit of 11:0 of the limit is 0, and 1 if one of 31:20 is 1${condition}.`,
      (vmcs) => hasWrongGranularity(vmcs, limit, at),
    ),
  ];
});

const systemRules: readonly EntryRule[] = [
  usableRule(
    'CS',
    'db',
    CS.rightsName,
    'If "IA-32e mode guest" and CS.L are 1, bit 14 (D/B) of the Guest CS access rights must be 0.',
    (vmcs) =>
      isIa32eGuest(vmcs) && hasBit(rights(vmcs, CS.rights), ACCESS.L) && hasBit(rights(vmcs, CS.rights), ACCESS.DB),
  ),
  usableRule(
    'TR',
    'type',
    TR.rightsName,
    'The type of TR must be 11 (busy 64-bit TSS) if "IA-32e mode guest" is 1, else 3 or 11 (busy TSS).',
    (vmcs) => {
      const type = typeOf(vmcs, TR.rights);
      return type !== 11 && (isIa32eGuest(vmcs) || type !== 3);
    },
  ),
  usableRule('TR', 's', TR.rightsName, 'Bit 4 (S) of the Guest TR access rights must be 0.', (vmcs) =>
    hasBit(rights(vmcs, TR.rights), ACCESS.S),
  ),
  usableRule('TR', 'usable', TR.rightsName, 'TR must be usable: bit 16 of its access rights must be 0.', (vmcs) =>
    hasBit(rights(vmcs, TR.rights), ACCESS.UNUSABLE),
  ),
  usableRule(
    'LDTR',
    'type',
    LDTR.rightsName,
    'If LDTR is usable, its type must be 2 (LDT).',
    (vmcs) => typeOf(vmcs, LDTR.rights) !== 2,
  ),
  usableRule('LDTR', 's', LDTR.rightsName, 'If LDTR is usable, bit 4 (S) of its access rights must be 0.', (vmcs) =>
    hasBit(rights(vmcs, LDTR.rights), ACCESS.S),
  ),
];

export const guestSegmentRules: readonly EntryRule[] = [
  ...selectorRules,
  ...baseRules,
  ...v86Rules,
  ...typeRules,
  ...privilegeRules,
  ...commonRules,
  ...systemRules,
];
