/** Checks on the controls of APIC virtualization (SDM volume 3, "VM-Execution Control Fields"). */
import { EXIT, PIN, PRIMARY, SECONDARY } from '../controls.ts';
import { VIRTUAL_APIC } from '../virtual-apic.ts';
import { offsetOf, type Vmcs } from '../vmcs.ts';
import { hasExit, hasPin, hasPrimary, hasSecondary } from '../vmx-parts.ts';
import type { EntryRule } from './entry-rule.ts';
import {
  execution,
  isWithinPhysicalWidth,
  PIN_FIELD,
  PRIMARY_FIELD,
  pageRules,
  SECONDARY_FIELD,
} from './rule-helpers.ts';

const VIRTUAL_APIC_ADDRESS = offsetOf('Virtual-APIC address');
const THRESHOLD = offsetOf('TPR threshold');
const NOTIFICATION_VECTOR = offsetOf('Posted-interrupt notification vector');

const shadowsTpr = (vmcs: Vmcs): boolean => hasPrimary(vmcs, PRIMARY['Use TPR shadow']);
const virtualizesAccesses = (vmcs: Vmcs): boolean => hasSecondary(vmcs, SECONDARY['Virtualize APIC accesses']);
const virtualizesX2apic = (vmcs: Vmcs): boolean => hasSecondary(vmcs, SECONDARY['Virtualize x2APIC mode']);
const deliversInterrupts = (vmcs: Vmcs): boolean => hasSecondary(vmcs, SECONDARY['Virtual-interrupt delivery']);
const isPosted = (vmcs: Vmcs): boolean => hasPin(vmcs, PIN['Process posted interrupts']);

/** What makes no sense without the TPR shadow. */
const needsShadow = (id: string, control: string, mask: number): EntryRule =>
  execution(
    id,
    [SECONDARY_FIELD, PRIMARY_FIELD],
    `If "use TPR shadow" is 0, "${control}" must be 0.`,
    (_, vmcs) => !shadowsTpr(vmcs) && hasSecondary(vmcs, mask),
  );

export const virtualApicRules: readonly EntryRule[] = [
  ...pageRules('virtual-apic', 'Virtual-APIC address', 'use TPR shadow', shadowsTpr),
  execution(
    'tpr-threshold-reserved',
    ['TPR threshold'],
    'If "use TPR shadow" is 1 and "virtual-interrupt delivery" is 0, bits 31:4 of the TPR threshold must be 0.',
    (_, vmcs) => shadowsTpr(vmcs) && !deliversInterrupts(vmcs) && vmcs.u32(THRESHOLD) > 15,
  ),
  execution(
    'tpr-threshold-above-vtpr',
    ['TPR threshold', 'Virtual-APIC address'],
    'If "use TPR shadow" is 1, and "virtualize APIC accesses" and "virtual-interrupt delivery" are 0, the TPR threshold must not be greater than bits 7:4 of VTPR.',
    (parts, vmcs) => {
      if (!shadowsTpr(vmcs) || virtualizesAccesses(vmcs) || deliversInterrupts(vmcs)) return false;
      if (!isWithinPhysicalWidth(parts, VIRTUAL_APIC_ADDRESS)) return false;
      const vtpr = parts.physical.peekU32(vmcs.number(VIRTUAL_APIC_ADDRESS) + VIRTUAL_APIC.TPR);
      return (vmcs.u32(THRESHOLD) & 0xf) > ((vtpr >>> 4) & 0xf);
    },
  ),
  needsShadow('x2apic-needs-tpr-shadow', 'virtualize x2APIC mode', SECONDARY['Virtualize x2APIC mode']),
  needsShadow(
    'apic-registers-need-tpr-shadow',
    'APIC-register virtualization',
    SECONDARY['APIC-register virtualization'],
  ),
  needsShadow(
    'virtual-interrupts-need-tpr-shadow',
    'virtual-interrupt delivery',
    SECONDARY['Virtual-interrupt delivery'],
  ),
  ...pageRules('apic-access', 'APIC-access address', 'virtualize APIC accesses', virtualizesAccesses),
  execution(
    'x2apic-excludes-apic-accesses',
    [SECONDARY_FIELD],
    'If "virtualize x2APIC mode" is 1, "virtualize APIC accesses" must be 0.',
    (_, vmcs) => virtualizesX2apic(vmcs) && virtualizesAccesses(vmcs),
  ),
  execution(
    'virtual-interrupts-need-interrupt-exiting',
    [SECONDARY_FIELD, PIN_FIELD],
    'If "virtual-interrupt delivery" is 1, "external-interrupt exiting" must be 1.',
    (_, vmcs) => deliversInterrupts(vmcs) && !hasPin(vmcs, PIN['External-interrupt exiting']),
  ),
  execution(
    'posted-interrupts-need-delivery',
    [PIN_FIELD, SECONDARY_FIELD],
    'If "process posted interrupts" is 1, "virtual-interrupt delivery" must be 1.',
    (_, vmcs) => isPosted(vmcs) && !deliversInterrupts(vmcs),
  ),
  execution(
    'posted-interrupts-need-acknowledge',
    [PIN_FIELD, 'Primary VM-exit controls'],
    'If "process posted interrupts" is 1, "acknowledge interrupt on exit" must be 1.',
    (_, vmcs) => isPosted(vmcs) && !hasExit(vmcs, EXIT['Acknowledge interrupt on exit']),
  ),
  execution(
    'posted-interrupt-vector',
    ['Posted-interrupt notification vector'],
    'If "process posted interrupts" is 1, bits 15:8 of the posted-interrupt notification vector must be 0.',
    (_, vmcs) => isPosted(vmcs) && (vmcs.u32(NOTIFICATION_VECTOR) & 0xff00) !== 0,
  ),
  ...pageRules('posted-interrupts', 'Posted-interrupt descriptor address', 'process posted interrupts', isPosted, 6),
];
