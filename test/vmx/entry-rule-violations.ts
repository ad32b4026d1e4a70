/**
 * For every check of VM entry, a change to a valid VMCS that breaks it. `also` lists the other rules that the change
 * cannot help breaking.
 */
import { SHADOW_VMCS, VMCS_REVISION } from '../../engine/vmx/vmcs.ts';
import { controls, OTHER_VMCS, type Values, VMCS_REGION, type VmxMachine } from './machine.ts';

export interface Violation {
  readonly values?: Values;
  /** Changes the machine; called with the VMCS current. */
  readonly prepare?: (machine: VmxMachine) => void;
  readonly also?: readonly string[];
}

/** Address of the last page-directory-pointer-table entry of a guest with PAE paging and without EPT. */
export const PDPTE3 = 0x5_8018;
const BEYOND = 1n << 39n;
const NOT_CANONICAL = 1n << 56n;
const WIDE = 0x1_0000_0000n;
const UNUSABLE = 0x1_0000;
const CODE_64 = 0xa09b;
const DATA = 0xc093;

const PIN = 'Pin-based VM-execution controls';
const PRIMARY = 'Primary processor-based VM-execution controls';
const SECONDARY = 'Secondary processor-based VM-execution controls';
const EXIT = 'Primary VM-exit controls';
const ENTRY = 'VM-entry controls';
const INJECT = 'VM-entry interruption-information field';
const ERROR_CODE = 'VM-entry exception error code';
const LENGTH = 'VM-entry instruction length';
const RFLAGS = 'Guest RFLAGS';
const CR0 = 'Guest CR0';
const CR4 = 'Guest CR4';

/** Injected events: valid bit, type, vector. */
const inject = (type: number, vector: number, more = 0): number => (0x8000_0000 | (type << 8) | vector | more) >>> 0;
const EXTERNAL = inject(0, 0x20);
const NMI = inject(2, 2);
const GP = inject(3, 13, 0x800);

const primary = (...names: string[]): Values => ({
  [PRIMARY]: controls('primary', 'Activate secondary controls', ...names),
});
const secondary = (...names: string[]): Values => ({
  [SECONDARY]: controls('secondary', 'Enable VPID', 'Enable EPT', ...names),
});
const long = (...names: string[]): Values => ({ [EXIT]: controls('exit', 'Host address-space size', ...names) });
const ia32e = (...names: string[]): Values => ({ [ENTRY]: controls('entry', 'IA-32e mode guest', ...names) });

const PE_NE = 0x21;
const PG = 0x8000_0000;
const VMXE = 0x2000;
const PAE = 0x20;

/** A 32-bit guest with PAE paging. */
const pae: Values = {
  [ENTRY]: controls('entry'),
  [CR0]: PE_NE + PG,
  [CR4]: VMXE + PAE,
  'Guest CR3': 0x6000,
  'Guest CS access rights': 0xc09b,
};

const v86: Values = (() => {
  const values: Record<string, bigint | number> = { ...pae, [RFLAGS]: 0x2_0002 };
  for (const name of ['CS', 'SS', 'DS', 'ES', 'FS', 'GS']) {
    values[`Guest ${name} selector`] = 0x100;
    values[`Guest ${name} base`] = 0x1000;
    values[`Guest ${name} limit`] = 0xffff;
    values[`Guest ${name} access rights`] = 0xf3;
  }
  return values as Values;
})();

/** The host outside IA-32e mode, as far as the checks look at it. */
const legacyHost = (machine: VmxMachine): void => {
  machine.state.efer = 0;
};

function msrArea(prefix: string, count: string, address: string): Record<string, Violation> {
  return {
    [`${prefix}-aligned`]: { values: { [count]: 1, [address]: 0x1008 } },
    [`${prefix}-address-width`]: { values: { [count]: 1, [address]: BEYOND } },
    [`${prefix}-last-byte-width`]: { values: { [count]: 2, [address]: BEYOND - 16n } },
  };
}

const VAPIC = 'Virtual-APIC address';
const shadow: Values = { ...primary('Use TPR shadow'), [VAPIC]: 0x1_8000 };
const delivery: Values = {
  ...shadow,
  ...secondary('Virtual-interrupt delivery'),
  [PIN]: controls('pin', 'External-interrupt exiting'),
};
const posted: Values = {
  ...delivery,
  [PIN]: controls('pin', 'External-interrupt exiting', 'Process posted interrupts'),
  ...long('Acknowledge interrupt on exit'),
  'Posted-interrupt descriptor address': 0x1_9040,
};

const VE_INFORMATION = 'Virtualization-exception information address';
const SUB_PAGE_TABLE = 'Sub-page-permission-table pointer';
const subPages = secondary('Sub-page write permissions for EPT');
const eptpSwitching: Values = { ...secondary('Enable VM functions'), 'VM-function controls': 1 };

const virtualApicViolations: Record<string, Violation> = {
  'virtual-apic-aligned': { values: { ...shadow, [VAPIC]: 0x1_8800 } },
  'virtual-apic-width': { values: { ...shadow, [VAPIC]: BEYOND } },
  'tpr-threshold-reserved': { values: { ...shadow, 'TPR threshold': 0x10 } },
  'tpr-threshold-above-vtpr': {
    values: { ...shadow, 'TPR threshold': 4 },
    prepare: (machine) => machine.u32(0x1_8080, 0x3f),
  },
  'x2apic-needs-tpr-shadow': { values: secondary('Virtualize x2APIC mode') },
  'apic-registers-need-tpr-shadow': { values: secondary('APIC-register virtualization') },
  'virtual-interrupts-need-tpr-shadow': { values: { ...delivery, ...primary() } },
  'apic-access-aligned': {
    values: { ...secondary('Virtualize APIC accesses'), 'APIC-access address': 0x1_8010 },
  },
  'apic-access-width': { values: { ...secondary('Virtualize APIC accesses'), 'APIC-access address': BEYOND } },
  'x2apic-excludes-apic-accesses': {
    values: { ...shadow, ...secondary('Virtualize x2APIC mode', 'Virtualize APIC accesses') },
  },
  'virtual-interrupts-need-interrupt-exiting': { values: { ...delivery, [PIN]: controls('pin') } },
  'posted-interrupts-need-delivery': { values: { ...posted, ...secondary() } },
  'posted-interrupts-need-acknowledge': { values: { ...posted, ...long() } },
  'posted-interrupt-vector': { values: { ...posted, 'Posted-interrupt notification vector': 0x100 } },
  'posted-interrupts-aligned': { values: { ...posted, 'Posted-interrupt descriptor address': 0x1_9020 } },
  'posted-interrupts-width': { values: { ...posted, 'Posted-interrupt descriptor address': BEYOND } },
};

const controlViolations: Record<string, Violation> = {
  'pin-based-allowed': { values: { [PIN]: 0x116 } },
  'primary-allowed': { values: { [PRIMARY]: controls('primary', 'Activate secondary controls') | (1n << 17n) } },
  'secondary-allowed': { values: { [SECONDARY]: controls('secondary', 'Enable EPT', 'Enable VPID') | (1n << 15n) } },
  'cr3-target-count': { values: { 'CR3-target count': 5 } },
  'io-bitmap-a-aligned': { values: { ...primary('Use I/O bitmaps'), 'Address of I/O bitmap A': 0x1800 } },
  'io-bitmap-a-width': { values: { ...primary('Use I/O bitmaps'), 'Address of I/O bitmap A': BEYOND } },
  'io-bitmap-b-aligned': { values: { ...primary('Use I/O bitmaps'), 'Address of I/O bitmap B': 0x1800 } },
  'io-bitmap-b-width': { values: { ...primary('Use I/O bitmaps'), 'Address of I/O bitmap B': BEYOND } },
  'msr-bitmaps-aligned': { values: { ...primary('Use MSR bitmaps'), 'Address of MSR bitmaps': 0x1800 } },
  'msr-bitmaps-width': { values: { ...primary('Use MSR bitmaps'), 'Address of MSR bitmaps': BEYOND } },
  'virtual-nmis-need-nmi-exiting': { values: { [PIN]: controls('pin', 'Virtual NMIs') } },
  'nmi-window-needs-virtual-nmis': { values: primary('NMI-window exiting') },
  'vpid-not-zero': { values: { 'Virtual-processor identifier': 0 } },
  'eptp-memory-type': { values: { 'EPT pointer': 0x1_401c } },
  'eptp-walk-length': { values: { 'EPT pointer': 0x1_4016 } },
  'eptp-reserved': { values: { 'EPT pointer': 0x1_409e } },
  'eptp-width': { values: { 'EPT pointer': BEYOND | 0x1_401en } },
  'unrestricted-guest-needs-ept': {
    values: { [SECONDARY]: controls('secondary', 'Unrestricted guest', 'Enable VPID') },
  },
  ...virtualApicViolations,
  'vmread-bitmap-aligned': { values: { ...secondary('VMCS shadowing'), 'VMREAD-bitmap address': 0x1800 } },
  'vmread-bitmap-width': { values: { ...secondary('VMCS shadowing'), 'VMREAD-bitmap address': BEYOND } },
  'vmwrite-bitmap-aligned': { values: { ...secondary('VMCS shadowing'), 'VMWRITE-bitmap address': 0x1800 } },
  'vmwrite-bitmap-width': { values: { ...secondary('VMCS shadowing'), 'VMWRITE-bitmap address': BEYOND } },
  'pml-aligned': { values: { ...secondary('Enable PML'), 'PML address': 0x1800 } },
  'pml-width': { values: { ...secondary('Enable PML'), 'PML address': BEYOND } },
  'pml-needs-ept': { values: { [SECONDARY]: controls('secondary', 'Enable VPID', 'Enable PML') } },
  've-information-aligned': { values: { ...secondary('EPT-violation #VE'), [VE_INFORMATION]: 0x1800 } },
  've-information-width': { values: { ...secondary('EPT-violation #VE'), [VE_INFORMATION]: BEYOND } },
  'mode-based-execute-needs-ept': {
    values: { [SECONDARY]: controls('secondary', 'Enable VPID', 'Mode-based execute control for EPT') },
  },
  'sub-page-table-aligned': { values: { ...subPages, [SUB_PAGE_TABLE]: 0x1800 } },
  'sub-page-table-width': { values: { ...subPages, [SUB_PAGE_TABLE]: BEYOND } },
  'sub-pages-need-ept': {
    values: { [SECONDARY]: controls('secondary', 'Enable VPID', 'Sub-page write permissions for EPT') },
  },
  'vm-functions-allowed': { values: { ...secondary('Enable VM functions'), 'VM-function controls': 2 } },
  'eptp-switching-needs-ept': {
    values: { [SECONDARY]: controls('secondary', 'Enable VPID', 'Enable VM functions'), 'VM-function controls': 1 },
  },
  'eptp-list-aligned': { values: { ...eptpSwitching, 'EPTP-list address': 0x1800 } },
  'eptp-list-width': { values: { ...eptpSwitching, 'EPTP-list address': BEYOND } },
  'tsc-multiplier-not-zero': { values: secondary('Use TSC scaling') },
  'save-preemption-timer-needs-timer': { values: long('Save VMX-preemption timer value') },
  'exit-controls-allowed': { values: { [EXIT]: controls('exit', 'Host address-space size') | (1n << 12n) } },
  ...msrArea('exit-msr-store', 'VM-exit MSR-store count', 'VM-exit MSR-store address'),
  ...msrArea('exit-msr-load', 'VM-exit MSR-load count', 'VM-exit MSR-load address'),
  'entry-controls-allowed': { values: { [ENTRY]: controls('entry', 'IA-32e mode guest') | (1n << 10n) } },
  'injected-type': { values: { [INJECT]: inject(1, 0x20) } },
  'injected-other-event-vector': { values: { [INJECT]: inject(7, 1) } },
  'injected-nmi-vector': { values: { [INJECT]: inject(2, 3) } },
  'injected-exception-vector': { values: { [INJECT]: inject(3, 32) } },
  'injected-error-code-delivered': { values: { [INJECT]: inject(3, 13) } },
  'injected-reserved': { values: { [INJECT]: inject(3, 6, 1 << 13) } },
  'injected-error-code-reserved': { values: { [INJECT]: GP, [ERROR_CODE]: 0x1_0000 } },
  'injected-instruction-length': { values: { [INJECT]: inject(4, 0x80), [LENGTH]: 16 } },
  ...msrArea('entry-msr-load', 'VM-entry MSR-load count', 'VM-entry MSR-load address'),
};

const hostViolations: Record<string, Violation> = {
  'host-cr0-fixed': { values: { 'Host CR0': 0x8000_0001 } },
  'host-cr4-fixed': { values: { 'Host CR4': 0x20 } },
  'host-cr3-width': { values: { 'Host CR3': BEYOND } },
  'host-sysenter-esp-canonical': { values: { 'Host IA32_SYSENTER_ESP': NOT_CANONICAL } },
  'host-sysenter-eip-canonical': { values: { 'Host IA32_SYSENTER_EIP': NOT_CANONICAL } },
  'host-pat': { values: { ...long('Load IA32_PAT'), 'Host IA32_PAT': 0x0200_0000_0000_0000n } },
  'host-efer-reserved': { values: { ...long('Load IA32_EFER'), 'Host IA32_EFER': 0x502 } },
  'host-efer-lma': { values: { ...long('Load IA32_EFER'), 'Host IA32_EFER': 0x100 } },
  'host-efer-lme': { values: { ...long('Load IA32_EFER'), 'Host IA32_EFER': 0x400 } },
  'host-cs-rpl-ti': { values: { 'Host CS selector': 0x19 } },
  'host-ss-rpl-ti': { values: { 'Host SS selector': 0x11 } },
  'host-ds-rpl-ti': { values: { 'Host DS selector': 0x14 } },
  'host-es-rpl-ti': { values: { 'Host ES selector': 0x12 } },
  'host-fs-rpl-ti': { values: { 'Host FS selector': 0x13 } },
  'host-gs-rpl-ti': { values: { 'Host GS selector': 0x14 } },
  'host-tr-rpl-ti': { values: { 'Host TR selector': 0x3c } },
  'host-cs-not-null': { values: { 'Host CS selector': 0 } },
  'host-tr-not-null': { values: { 'Host TR selector': 0 } },
  'host-ss-not-null': {
    values: { 'Host SS selector': 0, [EXIT]: controls('exit'), [ENTRY]: controls('entry') },
    prepare: legacyHost,
  },
  'host-fs-base-canonical': { values: { 'Host FS base': NOT_CANONICAL } },
  'host-gs-base-canonical': { values: { 'Host GS base': NOT_CANONICAL } },
  'host-gdtr-base-canonical': { values: { 'Host GDTR base': NOT_CANONICAL } },
  'host-idtr-base-canonical': { values: { 'Host IDTR base': NOT_CANONICAL } },
  'host-tr-base-canonical': { values: { 'Host TR base': NOT_CANONICAL } },
  'guest-size-outside-ia32e': {
    values: { [EXIT]: controls('exit') },
    prepare: legacyHost,
    also: ['ia32e-guest-needs-long-host'],
  },
  'host-size-outside-ia32e': { values: { [ENTRY]: controls('entry') }, prepare: legacyHost },
  'host-size-in-ia32e': { values: { [EXIT]: controls('exit'), [ENTRY]: controls('entry') } },
  'ia32e-guest-needs-long-host': { values: { [EXIT]: controls('exit') }, also: ['host-size-in-ia32e'] },
  'host-cr4-pcide': {
    values: { 'Host CR4': 0x2_2020, [EXIT]: controls('exit'), [ENTRY]: controls('entry') },
    prepare: legacyHost,
  },
  'host-rip-32-bit': {
    values: { 'Host RIP': WIDE, [EXIT]: controls('exit'), [ENTRY]: controls('entry') },
    prepare: legacyHost,
  },
  'host-cr4-pae': { values: { 'Host CR4': VMXE } },
  'host-rip-canonical': { values: { 'Host RIP': NOT_CANONICAL } },
};

const guestRegisterViolations: Record<string, Violation> = {
  'guest-cr0-fixed': { values: { [CR0]: PG + 1 } },
  'guest-cr0-pg-needs-pe': {
    values: { ...secondary('Unrestricted guest'), [CR0]: PG + 0x20 },
  },
  'guest-cr4-fixed': { values: { [CR4]: PAE } },
  'guest-debugctl-reserved': { values: { ...ia32e('Load debug controls'), 'Guest IA32_DEBUGCTL': 4 } },
  'guest-ia32e-paging': { values: { ...secondary('Unrestricted guest'), [CR0]: PE_NE } },
  'guest-ia32e-pae': { values: { [CR4]: VMXE } },
  'guest-pcide': { values: { ...pae, [CR4]: VMXE + PAE + 0x2_0000 } },
  'guest-cr3-width': { values: { 'Guest CR3': BEYOND } },
  'guest-dr7-high': { values: { ...ia32e('Load debug controls'), 'Guest DR7': WIDE } },
  'guest-sysenter-esp-canonical': { values: { 'Guest IA32_SYSENTER_ESP': NOT_CANONICAL } },
  'guest-sysenter-eip-canonical': { values: { 'Guest IA32_SYSENTER_EIP': NOT_CANONICAL } },
  'guest-pat': { values: { ...ia32e('Load IA32_PAT'), 'Guest IA32_PAT': 3 } },
  'guest-efer-reserved': { values: { ...ia32e('Load IA32_EFER'), 'Guest IA32_EFER': 0x502 } },
  'guest-efer-lma': { values: { ...pae, [ENTRY]: controls('entry', 'Load IA32_EFER'), 'Guest IA32_EFER': 0x500 } },
  'guest-efer-lme': { values: { ...ia32e('Load IA32_EFER'), 'Guest IA32_EFER': 0x400 } },
  'guest-gdtr-base-canonical': { values: { 'Guest GDTR base': NOT_CANONICAL } },
  'guest-idtr-base-canonical': { values: { 'Guest IDTR base': NOT_CANONICAL } },
  'guest-gdtr-limit': { values: { 'Guest GDTR limit': 0x1_0000 } },
  'guest-idtr-limit': { values: { 'Guest IDTR limit': 0x1_0000 } },
  'guest-rip-32-bit': { values: { 'Guest CS access rights': 0xc09b, 'Guest RIP': WIDE } },
  'guest-rip-canonical': { values: { 'Guest RIP': 1n << 57n } },
  'guest-rflags-reserved': { values: { [RFLAGS]: 0x8002 } },
  'guest-rflags-vm-mode': { values: { ...v86, [ENTRY]: controls('entry', 'IA-32e mode guest') } },
  'guest-rflags-if-injection': { values: { [INJECT]: EXTERNAL } },
};

const dataViolations: Record<string, Violation> = Object.fromEntries(
  ['DS', 'ES', 'FS', 'GS'].flatMap((name): [string, Violation][] => {
    const id = `guest-${name.toLowerCase()}`;
    const rights = `Guest ${name} access rights`;
    return [
      [`${id}-accessed`, { values: { [rights]: 0xc092 } }],
      [`${id}-readable`, { values: { [rights]: 0xc099 } }],
      [`${id}-dpl`, { values: { [`Guest ${name} selector`]: 0x13 } }],
    ];
  }),
);

/** What holds for CS to GS, and mostly for LDTR and TR too. */
const commonViolations: Record<string, Violation> = Object.fromEntries(
  ['CS', 'SS', 'DS', 'ES', 'FS', 'GS', 'LDTR', 'TR'].flatMap((name): [string, Violation][] => {
    const id = `guest-${name.toLowerCase()}`;
    const rights = `Guest ${name} access rights`;
    const valid = name === 'CS' ? CODE_64 : name === 'TR' ? 0x8b : name === 'LDTR' ? 0x82 : DATA;
    const change = (value: number, more: Values = {}): Violation => ({ values: { [rights]: value, ...more } });
    const common: [string, Violation][] = [
      [`${id}-present`, change(valid & ~0x80)],
      [`${id}-reserved`, change(valid | 0x100)],
      [`${id}-granularity`, change(valid, { [`Guest ${name} limit`]: valid & 0x8000 ? 0x1000 : 0x10_0067 })],
    ];
    if (name === 'LDTR' || name === 'TR') return [...common, [`${id}-s`, change(valid | 0x10)]];
    return [
      ...common,
      [`${id}-s`, change(valid & ~0x10)],
      [`${id}-v86-base`, { values: { ...v86, [`Guest ${name} base`]: 0x1010 } }],
      [`${id}-v86-limit`, { values: { ...v86, [`Guest ${name} limit`]: 0xfffe } }],
      [`${id}-v86-rights`, { values: { ...v86, [rights]: 0xd3 } }],
    ];
  }),
);

const segmentViolations: Record<string, Violation> = {
  ...commonViolations,
  ...dataViolations,
  'guest-tr-ti': { values: { 'Guest TR selector': 0x3c } },
  'guest-ldtr-ti': { values: { 'Guest LDTR access rights': 0x82, 'Guest LDTR selector': 0x4c } },
  'guest-ss-rpl': { values: { 'Guest CS selector': 0x1b } },
  'guest-tr-base-canonical': { values: { 'Guest TR base': NOT_CANONICAL } },
  'guest-fs-base-canonical': { values: { 'Guest FS base': NOT_CANONICAL } },
  'guest-gs-base-canonical': { values: { 'Guest GS base': NOT_CANONICAL } },
  'guest-ldtr-base-canonical': { values: { 'Guest LDTR access rights': 0x82, 'Guest LDTR base': NOT_CANONICAL } },
  'guest-cs-base-32-bit': { values: { 'Guest CS base': WIDE } },
  'guest-ss-base-32-bit': { values: { 'Guest SS base': WIDE } },
  'guest-ds-base-32-bit': { values: { 'Guest DS base': WIDE } },
  'guest-es-base-32-bit': { values: { 'Guest ES base': WIDE } },
  'guest-cs-type': { values: { 'Guest CS access rights': 0xa093 } },
  'guest-ss-type': { values: { 'Guest SS access rights': 0xc091 } },
  'guest-cs-dpl': { values: { 'Guest CS access rights': CODE_64 | 0x60 } },
  'guest-ss-dpl-rpl': {
    values: { 'Guest SS access rights': DATA | 0x60, 'Guest CS access rights': CODE_64 | 0x60 },
  },
  'guest-ss-dpl-zero': {
    values: {
      ...secondary('Unrestricted guest'),
      [ENTRY]: controls('entry'),
      [CR0]: 0x20,
      'Guest CS access rights': 0xc0fb,
      'Guest SS access rights': DATA | 0x60,
    },
  },
  'guest-cs-db': { values: { 'Guest CS access rights': CODE_64 | 0x4000 } },
  'guest-tr-type': { values: { 'Guest TR access rights': 0x83 } },
  'guest-tr-usable': { values: { 'Guest TR access rights': 0x8b | UNUSABLE } },
  'guest-ldtr-type': { values: { 'Guest LDTR access rights': 0x81 } },
};

const STI = 1;
const MOV_SS = 2;
const IF = 0x202;
const HLT = 1;
const BS = 0x4000;
const ACTIVITY = 'Guest activity state';
const BLOCKING = 'Guest interruptibility state';
const PENDING = 'Guest pending debug exceptions';

const otherViolations: Record<string, Violation> = {
  'guest-activity-supported': { values: { [ACTIVITY]: 4 } },
  'guest-activity-hlt-dpl': {
    values: {
      [ACTIVITY]: HLT,
      'Guest SS access rights': DATA | 0x60,
      'Guest SS selector': 0x13,
      'Guest CS selector': 0x1b,
      'Guest CS access rights': CODE_64 | 0x60,
    },
  },
  'guest-activity-blocking': { values: { [ACTIVITY]: HLT, [BLOCKING]: MOV_SS } },
  'guest-activity-injection': { values: { [ACTIVITY]: HLT, [INJECT]: GP } },
  'guest-interruptibility-reserved': { values: { [BLOCKING]: 0x20 } },
  'guest-interruptibility-exclusive': { values: { [BLOCKING]: STI | MOV_SS, [RFLAGS]: IF } },
  'guest-interruptibility-sti-if': { values: { [BLOCKING]: STI } },
  'guest-interruptibility-injected-interrupt': { values: { [BLOCKING]: STI, [RFLAGS]: IF, [INJECT]: EXTERNAL } },
  'guest-interruptibility-injected-nmi': { values: { [BLOCKING]: MOV_SS, [INJECT]: NMI } },
  'guest-interruptibility-smi': { values: { [BLOCKING]: 4 } },
  'guest-interruptibility-virtual-nmi': {
    values: { [PIN]: controls('pin', 'NMI exiting', 'Virtual NMIs'), [BLOCKING]: 8, [INJECT]: NMI },
  },
  'guest-pending-debug-reserved': { values: { [PENDING]: 0x10 } },
  'guest-pending-debug-bs-set': { values: { [BLOCKING]: MOV_SS, [RFLAGS]: 0x102 } },
  'guest-pending-debug-bs-clear': { values: { [BLOCKING]: MOV_SS, [PENDING]: BS } },
  'link-pointer-aligned': {
    values: { 'VMCS link pointer': OTHER_VMCS + 8 },
    prepare: (machine) => machine.u32(OTHER_VMCS + 8, VMCS_REVISION),
  },
  'link-pointer-width': { values: { 'VMCS link pointer': BEYOND } },
  'link-pointer-shadow-indicator': {
    values: { 'VMCS link pointer': OTHER_VMCS },
    prepare: (machine) => machine.u32(OTHER_VMCS, VMCS_REVISION + SHADOW_VMCS),
  },
  'link-pointer-not-current': { values: { 'VMCS link pointer': VMCS_REGION } },
  'link-pointer-revision': { values: { 'VMCS link pointer': OTHER_VMCS } },
  'guest-pdpte0-reserved': { values: { ...pae, 'Guest PDPTE0': 3 } },
  'guest-pdpte1-reserved': { values: { ...pae, 'Guest PDPTE1': 0x21 } },
  'guest-pdpte2-reserved': { values: { ...pae, 'Guest PDPTE2': BEYOND | 1n } },
  'guest-pdpte3-reserved': { values: { ...pae, 'Guest PDPTE3': (1n << 63n) | 1n } },
  'memory-pdptes-reserved': {
    values: { ...pae, [SECONDARY]: controls('secondary', 'Enable VPID'), 'Guest CR3': PDPTE3 - 24 },
    prepare: (machine) => machine.u64(PDPTE3, 0x7003n),
  },
};

export const violations: Readonly<Record<string, Violation>> = {
  ...controlViolations,
  ...hostViolations,
  ...guestRegisterViolations,
  ...segmentViolations,
  ...otherViolations,
};

/** VMCSs that every rule accepts. */
export const validVariants: Readonly<Record<string, Values>> = {
  'a 64-bit guest': {},
  'a 32-bit guest with PAE paging': pae,
  'a guest in virtual-8086 mode': v86,
  'an unpaged guest in real-address mode': {
    ...secondary('Unrestricted guest'),
    [ENTRY]: controls('entry'),
    [CR0]: 0x20,
    [CR4]: VMXE,
    'Guest CS access rights': 0x93,
    'Guest CS limit': 0xffff,
  },
  'a guest with a TPR shadow at its threshold': { ...shadow, 'TPR threshold': 0 },
  'a guest with posted interrupts': { ...posted, 'Posted-interrupt notification vector': 0xff },
  'a halted guest': { [ACTIVITY]: HLT },
  'an injected general-protection fault': { [INJECT]: GP },
  'an injected interrupt': { [INJECT]: EXTERNAL, [RFLAGS]: IF },
  'an injected software interrupt': { [INJECT]: inject(4, 0x80), [LENGTH]: 2 },
  'unusable data segments': {
    'Guest DS access rights': UNUSABLE,
    'Guest ES access rights': UNUSABLE,
    'Guest FS access rights': UNUSABLE,
    'Guest GS access rights': UNUSABLE,
  },
};
