/** Runs the checks of VM entry, in the manual's order. */
import type { VmxParts } from '../vmx-parts.ts';
import type { EntryRule } from './entry-rule.ts';
import { controlRules, guestRules, hostRules } from './rules.ts';

/** VM-instruction errors of refused VM entries. */
const INVALID_CONTROLS = 7;
const INVALID_HOST_STATE = 8;

function firstViolated(rules: readonly EntryRule[], parts: VmxParts): EntryRule | undefined {
  for (const rule of rules) if (rule.violated(parts)) return rule;
  return undefined;
}

/** The checks whose failure is a VMfailValid: controls and host state. */
export function checkControlsAndHost(parts: VmxParts): { error: number; rule: EntryRule } | undefined {
  const control = firstViolated(controlRules, parts);
  if (control) return { error: INVALID_CONTROLS, rule: control };
  const host = firstViolated(hostRules, parts);
  return host && { error: INVALID_HOST_STATE, rule: host };
}

/** The checks whose failure is a VM exit with reason 33: the guest-state area. */
export const checkGuestState = (parts: VmxParts): EntryRule | undefined => firstViolated(guestRules, parts);

/**
 * Every rule that the current VMCS breaks. As the processor stops at the first part with a violation, so does this:
 * rules about the guest are meaningless while the controls are wrong.
 */
export function checkVmEntry(parts: VmxParts): EntryRule[] {
  for (const rules of [controlRules, hostRules, guestRules]) {
    const violated = rules.filter((rule) => rule.violated(parts));
    if (violated.length > 0) return violated;
  }
  return [];
}
