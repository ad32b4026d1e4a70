/**
 * Checks on the host-state area (SDM volume 3, "Checks on Host Control Registers, MSRs, and SSP", "Checks on Host Segment
 * and Descriptor-Table Registers", "Checks Related to Address-Space Size").
 */
import { CR4, EFER, hasBit } from '../../cpu/register-bits.ts';
import { CR0_FIXED0_SIGNED } from '../capability-values.ts';
import { EXIT } from '../controls.ts';
import { offsetOf, type Vmcs } from '../vmcs.ts';
import { hasExit } from '../vmx-parts.ts';
import type { EntryRule } from './entry-rule.ts';
import {
  canonicalRule,
  cr4Fixed1,
  EFER_DEFINED,
  isCanonicalUnder,
  isIa32eGuest,
  isLongHost,
  isValidPat,
  isWithinPhysicalWidth,
  rulesOf,
} from './rule-helpers.ts';

const registers = rulesOf('Checks on Host Control Registers, MSRs, and SSP');
const segments = rulesOf('Checks on Host Segment and Descriptor-Table Registers');
const addressSpace = rulesOf('Checks Related to Address-Space Size');

const HOST_CR0 = offsetOf('Host CR0');
const HOST_CR3 = offsetOf('Host CR3');
const HOST_CR4 = offsetOf('Host CR4');
const HOST_EFER = offsetOf('Host IA32_EFER');
const HOST_PAT = offsetOf('Host IA32_PAT');
const HOST_RIP = offsetOf('Host RIP');

const loadsEfer = (vmcs: Vmcs): boolean => hasExit(vmcs, EXIT['Load IA32_EFER']);

export const hostRegisterRules: readonly EntryRule[] = [
  registers(
    'host-cr0-fixed',
    ['Host CR0'],
    'Host CR0 must set PE, NE and PG and no bit of 63:32, as IA32_VMX_CR0_FIXED0 and FIXED1 demand.',
    (_, vmcs) => (vmcs.u32(HOST_CR0) & CR0_FIXED0_SIGNED) !== CR0_FIXED0_SIGNED || vmcs.high(HOST_CR0) !== 0,
  ),
  registers(
    'host-cr4-fixed',
    ['Host CR4'],
    'Host CR4 must set VMXE and no bit that IA32_VMX_CR4_FIXED1 has 0.',
    (parts, vmcs) => {
      const cr4 = vmcs.u32(HOST_CR4);
      return !hasBit(cr4, CR4.VMXE) || (cr4 & ~cr4Fixed1(parts)) !== 0 || vmcs.high(HOST_CR4) !== 0;
    },
  ),
  registers(
    'host-cr3-width',
    ['Host CR3'],
    'Host CR3 must not set bits beyond the physical-address width.',
    (parts) => !isWithinPhysicalWidth(parts, HOST_CR3),
  ),
  canonicalRule(registers, 'host-sysenter-esp-canonical', 'Host IA32_SYSENTER_ESP'),
  canonicalRule(registers, 'host-sysenter-eip-canonical', 'Host IA32_SYSENTER_EIP'),
  registers(
    'host-pat',
    ['Host IA32_PAT'],
    'If VM exits load IA32_PAT, each byte of it must be 0, 1, 4, 5, 6 or 7.',
    (_, vmcs) => hasExit(vmcs, EXIT['Load IA32_PAT']) && !isValidPat(vmcs, HOST_PAT),
  ),
  registers(
    'host-efer-reserved',
    ['Host IA32_EFER'],
    'If VM exits load IA32_EFER, reserved bits of it must be 0.',
    (_, vmcs) => loadsEfer(vmcs) && ((vmcs.u32(HOST_EFER) & ~EFER_DEFINED) !== 0 || vmcs.high(HOST_EFER) !== 0),
  ),
  registers(
    'host-efer-lma',
    ['Host IA32_EFER', 'Primary VM-exit controls'],
    'If VM exits load IA32_EFER, its LMA must equal "host address-space size".',
    (_, vmcs) => loadsEfer(vmcs) && hasBit(vmcs.u32(HOST_EFER), EFER.LMA) !== isLongHost(vmcs),
  ),
  registers(
    'host-efer-lme',
    ['Host IA32_EFER', 'Primary VM-exit controls'],
    'If VM exits load IA32_EFER, its LME must equal "host address-space size".',
    (_, vmcs) => loadsEfer(vmcs) && hasBit(vmcs.u32(HOST_EFER), EFER.LME) !== isLongHost(vmcs),
  ),
];

const selectorNames = ['CS', 'SS', 'DS', 'ES', 'FS', 'GS', 'TR'] as const;

function notNull(name: 'CS' | 'TR'): EntryRule {
  const field = `Host ${name} selector` as const;
  const at = offsetOf(field);
  return segments(
    `host-${name.toLowerCase()}-not-null`,
    [field],
    `The ${field} must not be 0000H.`,
    (_, vmcs) => (vmcs.u32(at) & 0xffff) === 0,
  );
}

const HOST_SS = offsetOf('Host SS selector');

export const hostSegmentRules: readonly EntryRule[] = [
  ...selectorNames.map((name) => {
    const field = `Host ${name} selector` as const;
    const at = offsetOf(field);
    return segments(
      `host-${name.toLowerCase()}-rpl-ti`,
      [field],
      `In the ${field}, the RPL (bits 1:0) and the TI flag (bit 2) must be 0.`,
      (_, vmcs) => (vmcs.u32(at) & 7) !== 0,
    );
  }),
  notNull('CS'),
  notNull('TR'),
  segments(
    'host-ss-not-null',
    ['Host SS selector', 'Primary VM-exit controls'],
    'The Host SS selector must not be 0000H if "host address-space size" is 0.',
    (_, vmcs) => !isLongHost(vmcs) && (vmcs.u32(HOST_SS) & 0xffff) === 0,
  ),
  canonicalRule(segments, 'host-fs-base-canonical', 'Host FS base'),
  canonicalRule(segments, 'host-gs-base-canonical', 'Host GS base'),
  canonicalRule(segments, 'host-gdtr-base-canonical', 'Host GDTR base'),
  canonicalRule(segments, 'host-idtr-base-canonical', 'Host IDTR base'),
  canonicalRule(segments, 'host-tr-base-canonical', 'Host TR base'),
];

const EXIT_FIELD = 'Primary VM-exit controls';
const ENTRY_FIELD = 'VM-entry controls';

export const addressSpaceRules: readonly EntryRule[] = [
  addressSpace(
    'guest-size-outside-ia32e',
    [ENTRY_FIELD],
    'Outside IA-32e mode, "IA-32e mode guest" must be 0.',
    ({ state }, vmcs) => !hasBit(state.efer, EFER.LMA) && isIa32eGuest(vmcs),
  ),
  addressSpace(
    'host-size-outside-ia32e',
    [EXIT_FIELD],
    'Outside IA-32e mode, "host address-space size" must be 0.',
    ({ state }, vmcs) => !hasBit(state.efer, EFER.LMA) && isLongHost(vmcs),
  ),
  addressSpace(
    'host-size-in-ia32e',
    [EXIT_FIELD],
    'In IA-32e mode, "host address-space size" must be 1.',
    ({ state }, vmcs) => hasBit(state.efer, EFER.LMA) && !isLongHost(vmcs),
  ),
  addressSpace(
    'ia32e-guest-needs-long-host',
    [ENTRY_FIELD, EXIT_FIELD],
    'If "host address-space size" is 0, "IA-32e mode guest" must be 0.',
    (_, vmcs) => !isLongHost(vmcs) && isIa32eGuest(vmcs),
  ),
  addressSpace(
    'host-cr4-pcide',
    ['Host CR4', EXIT_FIELD],
    'If "host address-space size" is 0, bit 17 (PCIDE) of Host CR4 must be 0.',
    (_, vmcs) => !isLongHost(vmcs) && hasBit(vmcs.u32(HOST_CR4), CR4.PCIDE),
  ),
  addressSpace(
    'host-rip-32-bit',
    ['Host RIP', EXIT_FIELD],
    'If "host address-space size" is 0, bits 63:32 of Host RIP must be 0.',
    (_, vmcs) => !isLongHost(vmcs) && vmcs.high(HOST_RIP) !== 0,
  ),
  addressSpace(
    'host-cr4-pae',
    ['Host CR4', EXIT_FIELD],
    'If "host address-space size" is 1, bit 5 (PAE) of Host CR4 must be 1.',
    (_, vmcs) => isLongHost(vmcs) && !hasBit(vmcs.u32(HOST_CR4), CR4.PAE),
  ),
  addressSpace(
    'host-rip-canonical',
    ['Host RIP', 'Host CR4', EXIT_FIELD],
    'If "host address-space size" is 1, Host RIP must be canonical, with 57 bits if bit 12 (LA57) of Host CR4 is 1.',
    (_, vmcs) => isLongHost(vmcs) && !isCanonicalUnder(vmcs, HOST_CR4, HOST_RIP),
  ),
];
