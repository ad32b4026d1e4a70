/** Checks on the VMX controls (SDM volume 3, "Checks on VMX Controls"). */
import { CR0, hasBit } from '../../cpu/register-bits.ts';
import { CR3_TARGET_VALUES } from '../capability-values.ts';
import { EXIT, PIN, PRIMARY, SECONDARY } from '../controls.ts';
import { hasEptpMemoryType, hasEptpWalkLength } from '../eptp.ts';
import { VM_FUNCTIONS } from '../vm-functions.ts';
import { offsetOf, type Vmcs } from '../vmcs.ts';
import { hasExit, hasPin, hasPrimary, hasSecondary } from '../vmx-parts.ts';
import type { EntryRule } from './entry-rule.ts';
import {
  allowedRule,
  execution,
  injectedType,
  injectedVector,
  isUnrestricted,
  isWithinPhysicalWidth,
  msrAreaRules,
  OTHER_EVENT,
  PIN_FIELD,
  PRIMARY_FIELD,
  pageRules,
  rulesOf,
  SECONDARY_FIELD,
} from './rule-helpers.ts';
import { virtualApicRules } from './virtual-apic-rules.ts';

const INFORMATION = 'VM-entry interruption-information field';

const exit = rulesOf('VM-Exit Control Fields');
const entry = rulesOf('VM-Entry Control Fields');

const usesIoBitmaps = (vmcs: Vmcs): boolean => hasPrimary(vmcs, PRIMARY['Use I/O bitmaps']);
const usesMsrBitmaps = (vmcs: Vmcs): boolean => hasPrimary(vmcs, PRIMARY['Use MSR bitmaps']);
const usesEpt = (vmcs: Vmcs): boolean => hasSecondary(vmcs, SECONDARY['Enable EPT']);

const shadowsVmcs = (vmcs: Vmcs): boolean => hasSecondary(vmcs, SECONDARY['VMCS shadowing']);
const logsPages = (vmcs: Vmcs): boolean => hasSecondary(vmcs, SECONDARY['Enable PML']);
const SUB_PAGES = 'sub-page write permissions for EPT';
const hasSubPages = (vmcs: Vmcs): boolean => hasSecondary(vmcs, SECONDARY['Sub-page write permissions for EPT']);
const VM_FUNCTION_CONTROLS = offsetOf('VM-function controls');
const hasVmFunctions = (vmcs: Vmcs): boolean => hasSecondary(vmcs, SECONDARY['Enable VM functions']);
const switchesEptp = (vmcs: Vmcs): boolean =>
  hasVmFunctions(vmcs) && (vmcs.u32(VM_FUNCTION_CONTROLS) & VM_FUNCTIONS) !== 0;

const TARGET_COUNT = offsetOf('CR3-target count');
const VPID = offsetOf('Virtual-processor identifier');
const EPTP = offsetOf('EPT pointer');
const MULTIPLIER = offsetOf('TSC multiplier');

export const executionControlRules: readonly EntryRule[] = [
  allowedRule(execution, 'pin-based-allowed', 'pin', PIN_FIELD),
  allowedRule(execution, 'primary-allowed', 'primary', PRIMARY_FIELD),
  allowedRule(execution, 'secondary-allowed', 'secondary', SECONDARY_FIELD, (vmcs) =>
    hasPrimary(vmcs, PRIMARY['Activate secondary controls']),
  ),
  execution(
    'cr3-target-count',
    ['CR3-target count'],
    `The CR3-target count must not be greater than ${CR3_TARGET_VALUES}.`,
    (_, vmcs) => vmcs.u32(TARGET_COUNT) > CR3_TARGET_VALUES,
  ),
  ...pageRules('io-bitmap-a', 'Address of I/O bitmap A', 'use I/O bitmaps', usesIoBitmaps),
  ...pageRules('io-bitmap-b', 'Address of I/O bitmap B', 'use I/O bitmaps', usesIoBitmaps),
  ...pageRules('msr-bitmaps', 'Address of MSR bitmaps', 'use MSR bitmaps', usesMsrBitmaps),
  execution(
    'virtual-nmis-need-nmi-exiting',
    [PIN_FIELD],
    'If "NMI exiting" is 0, "virtual NMIs" must be 0.',
    (_, vmcs) => !hasPin(vmcs, PIN['NMI exiting']) && hasPin(vmcs, PIN['Virtual NMIs']),
  ),
  execution(
    'nmi-window-needs-virtual-nmis',
    [PRIMARY_FIELD, PIN_FIELD],
    'If "virtual NMIs" is 0, "NMI-window exiting" must be 0.',
    (_, vmcs) => !hasPin(vmcs, PIN['Virtual NMIs']) && hasPrimary(vmcs, PRIMARY['NMI-window exiting']),
  ),
  execution(
    'vpid-not-zero',
    ['Virtual-processor identifier'],
    'If "enable VPID" is 1, the virtual-processor identifier must not be 0000H.',
    (_, vmcs) => hasSecondary(vmcs, SECONDARY['Enable VPID']) && (vmcs.u32(VPID) & 0xffff) === 0,
  ),
  execution(
    'eptp-memory-type',
    ['EPT pointer'],
    'If "enable EPT" is 1, bits 2:0 of the EPT pointer must be 0 (uncacheable) or 6 (write-back).',
    (_, vmcs) => usesEpt(vmcs) && !hasEptpMemoryType(vmcs.u32(EPTP)),
  ),
  execution(
    'eptp-walk-length',
    ['EPT pointer'],
    'If "enable EPT" is 1, bits 5:3 of the EPT pointer must be 3 or 4: a page-walk length of 4 or 5.',
    (_, vmcs) => usesEpt(vmcs) && !hasEptpWalkLength(vmcs.u32(EPTP)),
  ),
  execution(
    'eptp-reserved',
    ['EPT pointer'],
    'If "enable EPT" is 1, reserved bits 11:7 of the EPT pointer must be 0.',
    (_, vmcs) => usesEpt(vmcs) && (vmcs.u32(EPTP) & 0xf80) !== 0,
  ),
  execution(
    'eptp-width',
    ['EPT pointer'],
    'If "enable EPT" is 1, the EPT pointer must not set bits beyond the physical-address width.',
    (parts, vmcs) => usesEpt(vmcs) && !isWithinPhysicalWidth(parts, EPTP),
  ),
  execution(
    'unrestricted-guest-needs-ept',
    [SECONDARY_FIELD],
    'If "unrestricted guest" is 1, "enable EPT" must be 1.',
    (_, vmcs) => isUnrestricted(vmcs) && !usesEpt(vmcs),
  ),
  ...virtualApicRules,
  ...pageRules('vmread-bitmap', 'VMREAD-bitmap address', 'VMCS shadowing', shadowsVmcs),
  ...pageRules('vmwrite-bitmap', 'VMWRITE-bitmap address', 'VMCS shadowing', shadowsVmcs),
  ...pageRules('pml', 'PML address', 'enable PML', logsPages),
  execution(
    'pml-needs-ept',
    [SECONDARY_FIELD],
    'If "enable PML" is 1, "enable EPT" must be 1.',
    (_, vmcs) => logsPages(vmcs) && !usesEpt(vmcs),
  ),
  ...pageRules('ve-information', 'Virtualization-exception information address', 'EPT-violation #VE', (vmcs) =>
    hasSecondary(vmcs, SECONDARY['EPT-violation #VE']),
  ),
  execution(
    'mode-based-execute-needs-ept',
    [SECONDARY_FIELD],
    'If "mode-based execute control for EPT" is 1, "enable EPT" must be 1.',
    (_, vmcs) => hasSecondary(vmcs, SECONDARY['Mode-based execute control for EPT']) && !usesEpt(vmcs),
  ),
  ...pageRules('sub-page-table', 'Sub-page-permission-table pointer', SUB_PAGES, hasSubPages),
  execution(
    'sub-pages-need-ept',
    [SECONDARY_FIELD],
    `If "${SUB_PAGES}" is 1, "enable EPT" must be 1.`,
    (_, vmcs) => hasSubPages(vmcs) && !usesEpt(vmcs),
  ),
  execution(
    'vm-functions-allowed',
    ['VM-function controls'],
    'If "enable VM functions" is 1, the VM-function controls must have only bits that IA32_VMX_VMFUNC has.',
    (_, vmcs) =>
      hasVmFunctions(vmcs) &&
      ((vmcs.u32(VM_FUNCTION_CONTROLS) & ~VM_FUNCTIONS) !== 0 || vmcs.high(VM_FUNCTION_CONTROLS) !== 0),
  ),
  execution(
    'eptp-switching-needs-ept',
    ['VM-function controls', SECONDARY_FIELD],
    'If EPTP switching (VM-function control 0) is 1, "enable EPT" must be 1.',
    (_, vmcs) => switchesEptp(vmcs) && !usesEpt(vmcs),
  ),
  ...pageRules('eptp-list', 'EPTP-list address', 'EPTP switching', switchesEptp),
  execution(
    'tsc-multiplier-not-zero',
    ['TSC multiplier'],
    'If "use TSC scaling" is 1, the TSC multiplier must not be 0.',
    (_, vmcs) =>
      hasSecondary(vmcs, SECONDARY['Use TSC scaling']) && vmcs.u32(MULTIPLIER) === 0 && vmcs.high(MULTIPLIER) === 0,
  ),
];

export const exitControlRules: readonly EntryRule[] = [
  allowedRule(exit, 'exit-controls-allowed', 'exit', 'Primary VM-exit controls'),
  exit(
    'save-preemption-timer-needs-timer',
    ['Primary VM-exit controls', PIN_FIELD],
    'If "activate VMX-preemption timer" is 0, "save VMX-preemption timer value" must be 0.',
    (_, vmcs) =>
      hasExit(vmcs, EXIT['Save VMX-preemption timer value']) && !hasPin(vmcs, PIN['Activate VMX-preemption timer']),
  ),
  ...msrAreaRules(exit, 'exit-msr-store', 'VM-exit MSR-store count', 'VM-exit MSR-store address'),
  ...msrAreaRules(exit, 'exit-msr-load', 'VM-exit MSR-load count', 'VM-exit MSR-load address'),
];

const INFORMATION_AT = offsetOf(INFORMATION);
const ERROR_CODE = offsetOf('VM-entry exception error code');
const LENGTH = offsetOf('VM-entry instruction length');
const GUEST_CR0 = offsetOf('Guest CR0');

/** Interruption types. */
const NMI = 2;
const HARDWARE_EXCEPTION = 3;
const SOFTWARE_INTERRUPT = 4;
const DELIVER_ERROR_CODE = 1 << 11;
const vectorsWithErrorCode = new Set([8, 10, 11, 12, 13, 14, 17]);

const deliversErrorCode = (vmcs: Vmcs): boolean =>
  injectedType(vmcs) >= 0 && hasBit(vmcs.u32(INFORMATION_AT), DELIVER_ERROR_CODE);

/** Whether the event to inject is one that has an error code. In real-address mode none has. */
function hasErrorCode(vmcs: Vmcs): boolean {
  if (injectedType(vmcs) !== HARDWARE_EXCEPTION || !vectorsWithErrorCode.has(injectedVector(vmcs))) return false;
  return !isUnrestricted(vmcs) || hasBit(vmcs.u32(GUEST_CR0), CR0.PE);
}

export const entryControlRules: readonly EntryRule[] = [
  allowedRule(entry, 'entry-controls-allowed', 'entry', 'VM-entry controls'),
  entry(
    'injected-type',
    [INFORMATION],
    'The interruption type to inject must not be 1, which is reserved.',
    (_, vmcs) => injectedType(vmcs) === 1,
  ),
  entry(
    'injected-other-event-vector',
    [INFORMATION],
    'If the interruption type is 7 (other event), the vector must be 0 (a pending MTF VM exit).',
    (_, vmcs) => injectedType(vmcs) === OTHER_EVENT && injectedVector(vmcs) !== 0,
  ),
  entry(
    'injected-nmi-vector',
    [INFORMATION],
    'If the interruption type is 2 (NMI), the vector must be 2.',
    (_, vmcs) => injectedType(vmcs) === NMI && injectedVector(vmcs) !== 2,
  ),
  entry(
    'injected-exception-vector',
    [INFORMATION],
    'If the interruption type is 3 (hardware exception), the vector must be at most 31.',
    (_, vmcs) => injectedType(vmcs) === HARDWARE_EXCEPTION && injectedVector(vmcs) > 31,
  ),
  entry(
    'injected-error-code-delivered',
    [INFORMATION],
    'The deliver-error-code bit (11) must be 1 if and only if the event is a hardware exception that has an error code.',
    (_, vmcs) => injectedType(vmcs) >= 0 && deliversErrorCode(vmcs) !== hasErrorCode(vmcs),
  ),
  entry(
    'injected-reserved',
    [INFORMATION],
    'Reserved bits 30:12 of the VM-entry interruption-information field must be 0 if it is valid.',
    (_, vmcs) => injectedType(vmcs) >= 0 && (vmcs.u32(INFORMATION_AT) & 0x7fff_f000) !== 0,
  ),
  entry(
    'injected-error-code-reserved',
    ['VM-entry exception error code'],
    'Bits 31:16 of the VM-entry exception error code must be 0 if it is delivered.',
    (_, vmcs) => deliversErrorCode(vmcs) && vmcs.u32(ERROR_CODE) > 0xffff,
  ),
  entry(
    'injected-instruction-length',
    ['VM-entry instruction length'],
    'For a software interrupt or exception (types 4, 5, 6) the VM-entry instruction length must be 0 to 15.',
    (_, vmcs) => {
      const type = injectedType(vmcs);
      return type >= SOFTWARE_INTERRUPT && type < OTHER_EVENT && vmcs.u32(LENGTH) > 15;
    },
  ),
  ...msrAreaRules(entry, 'entry-msr-load', 'VM-entry MSR-load count', 'VM-entry MSR-load address'),
];
