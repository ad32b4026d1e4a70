/** All checks of VM entry, in the order in which the processor makes them. */
import { entryControlRules, executionControlRules, exitControlRules } from './control-rules.ts';
import type { EntryRule } from './entry-rule.ts';
import { guestNonRegisterRules, guestPdpteRules } from './guest-non-register-rules.ts';
import { guestDescriptorTableRules, guestFlowRules, guestRegisterRules } from './guest-register-rules.ts';
import { guestSegmentRules } from './guest-segment-rules.ts';
import { addressSpaceRules, hostRegisterRules, hostSegmentRules } from './host-rules.ts';

export const controlRules: readonly EntryRule[] = [...executionControlRules, ...exitControlRules, ...entryControlRules];
export const hostRules: readonly EntryRule[] = [...hostRegisterRules, ...hostSegmentRules, ...addressSpaceRules];
export const guestRules: readonly EntryRule[] = [
  ...guestRegisterRules,
  ...guestSegmentRules,
  ...guestDescriptorTableRules,
  ...guestFlowRules,
  ...guestNonRegisterRules,
  ...guestPdpteRules,
];
export const entryRules: readonly EntryRule[] = [...controlRules, ...hostRules, ...guestRules];
