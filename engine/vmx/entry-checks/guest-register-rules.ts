/**
 * Checks on the guest's registers other than segments (SDM volume 3, "Checks on Guest Control Registers, Debug Registers,
 * and MSRs", "Checks on Guest Descriptor-Table Registers", "Checks on Guest RIP, RFLAGS, and SSP").
 */
import { linearAddressBits } from '../../cpu/cpuid.ts';
import { ACCESS, CR0, CR4, EFER, hasBit, RFLAGS } from '../../cpu/register-bits.ts';
import { CR0_FIXED0_SIGNED } from '../capability-values.ts';
import { ENTRY } from '../controls.ts';
import { offsetOf, type Vmcs } from '../vmcs.ts';
import type { EntryRule } from './entry-rule.ts';
import {
  canonicalRule,
  cr4Fixed1,
  EFER_DEFINED,
  hasEntry,
  injectedType,
  isIa32eGuest,
  isUnrestricted,
  isValidPat,
  isWithinPhysicalWidth,
  rulesOf,
} from './rule-helpers.ts';

const registers = rulesOf('Checks on Guest Control Registers, Debug Registers, and MSRs');
const tables = rulesOf('Checks on Guest Descriptor-Table Registers');
const flow = rulesOf('Checks on Guest RIP, RFLAGS, and SSP');

const GUEST_CR0 = offsetOf('Guest CR0');
const GUEST_CR3 = offsetOf('Guest CR3');
const GUEST_CR4 = offsetOf('Guest CR4');
const GUEST_DR7 = offsetOf('Guest DR7');
const GUEST_DEBUGCTL = offsetOf('Guest IA32_DEBUGCTL');
const GUEST_EFER = offsetOf('Guest IA32_EFER');
const GUEST_PAT = offsetOf('Guest IA32_PAT');
const GUEST_RIP = offsetOf('Guest RIP');
const GUEST_RFLAGS = offsetOf('Guest RFLAGS');
const GUEST_CS_RIGHTS = offsetOf('Guest CS access rights');

const UNRESTRICTED_FIXED0 = CR0.NE;
/** LBR and BTF; this CPU has no other debug controls. */
const DEBUGCTL_DEFINED = 3;

const loadsDebug = (vmcs: Vmcs): boolean => hasEntry(vmcs, ENTRY['Load debug controls']);
const loadsEfer = (vmcs: Vmcs): boolean => hasEntry(vmcs, ENTRY['Load IA32_EFER']);
const ENTRY_FIELD = 'VM-entry controls';

export const guestRegisterRules: readonly EntryRule[] = [
  registers(
    'guest-cr0-fixed',
    ['Guest CR0'],
    'Guest CR0 must set NE, and PE and PG unless "unrestricted guest" is 1, and no bit of 63:32.',
    (_, vmcs) => {
      const fixed = isUnrestricted(vmcs) ? UNRESTRICTED_FIXED0 : CR0_FIXED0_SIGNED;
      return (vmcs.u32(GUEST_CR0) & fixed) !== fixed || vmcs.high(GUEST_CR0) !== 0;
    },
  ),
  registers(
    'guest-cr0-pg-needs-pe',
    ['Guest CR0'],
    'If bit 31 (PG) of Guest CR0 is 1, bit 0 (PE) must be 1.',
    (_, vmcs) => hasBit(vmcs.u32(GUEST_CR0), CR0.PG) && !hasBit(vmcs.u32(GUEST_CR0), CR0.PE),
  ),
  registers(
    'guest-cr4-fixed',
    ['Guest CR4'],
    'Guest CR4 must set VMXE and no bit that IA32_VMX_CR4_FIXED1 has 0.',
    (parts, vmcs) => {
      const cr4 = vmcs.u32(GUEST_CR4);
      return !hasBit(cr4, CR4.VMXE) || (cr4 & ~cr4Fixed1(parts)) !== 0 || vmcs.high(GUEST_CR4) !== 0;
    },
  ),
  registers(
    'guest-debugctl-reserved',
    ['Guest IA32_DEBUGCTL'],
    'If "load debug controls" is 1, reserved bits of Guest IA32_DEBUGCTL must be 0.',
    (_, vmcs) =>
      loadsDebug(vmcs) && ((vmcs.u32(GUEST_DEBUGCTL) & ~DEBUGCTL_DEFINED) !== 0 || vmcs.high(GUEST_DEBUGCTL) !== 0),
  ),
  registers(
    'guest-ia32e-paging',
    ['Guest CR0', ENTRY_FIELD],
    'If "IA-32e mode guest" is 1, bit 31 (PG) of Guest CR0 must be 1.',
    (_, vmcs) => isIa32eGuest(vmcs) && !hasBit(vmcs.u32(GUEST_CR0), CR0.PG),
  ),
  registers(
    'guest-ia32e-pae',
    ['Guest CR4', ENTRY_FIELD],
    'If "IA-32e mode guest" is 1, bit 5 (PAE) of Guest CR4 must be 1.',
    (_, vmcs) => isIa32eGuest(vmcs) && !hasBit(vmcs.u32(GUEST_CR4), CR4.PAE),
  ),
  registers(
    'guest-pcide',
    ['Guest CR4', ENTRY_FIELD],
    'If "IA-32e mode guest" is 0, bit 17 (PCIDE) of Guest CR4 must be 0.',
    (_, vmcs) => !isIa32eGuest(vmcs) && hasBit(vmcs.u32(GUEST_CR4), CR4.PCIDE),
  ),
  registers(
    'guest-cr3-width',
    ['Guest CR3'],
    'Guest CR3 must not set bits beyond the physical-address width.',
    (parts) => !isWithinPhysicalWidth(parts, GUEST_CR3),
  ),
  registers(
    'guest-dr7-high',
    ['Guest DR7'],
    'If "load debug controls" is 1, bits 63:32 of Guest DR7 must be 0.',
    (_, vmcs) => loadsDebug(vmcs) && vmcs.high(GUEST_DR7) !== 0,
  ),
  canonicalRule(registers, 'guest-sysenter-esp-canonical', 'Guest IA32_SYSENTER_ESP'),
  canonicalRule(registers, 'guest-sysenter-eip-canonical', 'Guest IA32_SYSENTER_EIP'),
  registers(
    'guest-pat',
    ['Guest IA32_PAT'],
    'If VM entry loads IA32_PAT, each byte of it must be 0, 1, 4, 5, 6 or 7.',
    (_, vmcs) => hasEntry(vmcs, ENTRY['Load IA32_PAT']) && !isValidPat(vmcs, GUEST_PAT),
  ),
  registers(
    'guest-efer-reserved',
    ['Guest IA32_EFER'],
    'If VM entry loads IA32_EFER, reserved bits of it must be 0.',
    (_, vmcs) => loadsEfer(vmcs) && ((vmcs.u32(GUEST_EFER) & ~EFER_DEFINED) !== 0 || vmcs.high(GUEST_EFER) !== 0),
  ),
  registers(
    'guest-efer-lma',
    ['Guest IA32_EFER', ENTRY_FIELD],
    'If VM entry loads IA32_EFER, its LMA must equal "IA-32e mode guest".',
    (_, vmcs) => loadsEfer(vmcs) && hasBit(vmcs.u32(GUEST_EFER), EFER.LMA) !== isIa32eGuest(vmcs),
  ),
  registers(
    'guest-efer-lme',
    ['Guest IA32_EFER', 'Guest CR0'],
    'If VM entry loads IA32_EFER and Guest CR0.PG is 1, LME must equal LMA.',
    (_, vmcs) => {
      if (!loadsEfer(vmcs) || !hasBit(vmcs.u32(GUEST_CR0), CR0.PG)) return false;
      const efer = vmcs.u32(GUEST_EFER);
      return hasBit(efer, EFER.LMA) !== hasBit(efer, EFER.LME);
    },
  ),
];

function limitRule(name: 'GDTR' | 'IDTR'): EntryRule {
  const field = `Guest ${name} limit` as const;
  const at = offsetOf(field);
  const text = `Bits 31:16 of the ${field} must be 0.`;
  return tables(`guest-${name.toLowerCase()}-limit`, [field], text, (_, vmcs) => vmcs.u32(at) > 0xffff);
}

export const guestDescriptorTableRules: readonly EntryRule[] = [
  canonicalRule(tables, 'guest-gdtr-base-canonical', 'Guest GDTR base'),
  canonicalRule(tables, 'guest-idtr-base-canonical', 'Guest IDTR base'),
  limitRule('GDTR'),
  limitRule('IDTR'),
];

/** 64-bit code, as opposed to compatibility or legacy mode. */
const runs64 = (vmcs: Vmcs): boolean => isIa32eGuest(vmcs) && hasBit(vmcs.u32(GUEST_CS_RIGHTS), ACCESS.L);

const RFLAGS_RESERVED = ~0x3f_7fd7;
const EXTERNAL_INTERRUPT = 0;

export const guestFlowRules: readonly EntryRule[] = [
  flow(
    'guest-rip-32-bit',
    ['Guest RIP', 'Guest CS access rights'],
    'Bits 63:32 of Guest RIP must be 0 unless the guest is in 64-bit mode ("IA-32e mode guest" and CS.L are 1).',
    (_, vmcs) => !runs64(vmcs) && vmcs.high(GUEST_RIP) !== 0,
  ),
  flow(
    'guest-rip-canonical',
    ['Guest RIP'],
    'In 64-bit mode, bits 63:48 of Guest RIP must be identical, or 63:57 if the processor has linear addresses of 57 bits.',
    ({ processor: { model } }, vmcs) => {
      const top = (vmcs.high(GUEST_RIP) | 0) >> (linearAddressBits(model) - 32);
      return runs64(vmcs) && top !== 0 && top !== -1;
    },
  ),
  flow(
    'guest-rflags-reserved',
    ['Guest RFLAGS'],
    'Reserved bits 63:22, 15, 5 and 3 of Guest RFLAGS must be 0, and bit 1 must be 1.',
    (_, vmcs) => {
      const fixed = vmcs.bits(GUEST_RFLAGS, RFLAGS_RESERVED | RFLAGS.FIXED);
      return fixed !== RFLAGS.FIXED || vmcs.high(GUEST_RFLAGS) !== 0;
    },
  ),
  flow(
    'guest-rflags-vm-mode',
    ['Guest RFLAGS', ENTRY_FIELD, 'Guest CR0'],
    'Bit 17 (VM) of Guest RFLAGS must be 0 if "IA-32e mode guest" is 1 or Guest CR0.PE is 0.',
    (_, vmcs) =>
      vmcs.bits(GUEST_RFLAGS, RFLAGS.VM) !== 0 && (isIa32eGuest(vmcs) || !hasBit(vmcs.u32(GUEST_CR0), CR0.PE)),
  ),
  flow(
    'guest-rflags-if-injection',
    ['Guest RFLAGS', 'VM-entry interruption-information field'],
    'Bit 9 (IF) of Guest RFLAGS must be 1 if an external interrupt is to be injected.',
    (_, vmcs) => injectedType(vmcs) === EXTERNAL_INTERRUPT && vmcs.bits(GUEST_RFLAGS, RFLAGS.IF) === 0,
  ),
];
