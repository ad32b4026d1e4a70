/** All checks of VM entry, in the order in which the processor makes them. */
import type { EntryRule } from './entry-rule.ts';

export const controlRules: readonly EntryRule[] = [];
export const hostRules: readonly EntryRule[] = [];
export const guestRules: readonly EntryRule[] = [];
export const entryRules: readonly EntryRule[] = [...controlRules, ...hostRules, ...guestRules];
