/** What a check of VM entry is. */
import type { VmcsFieldName } from '../fields.ts';
import type { VmxParts } from '../vmx-parts.ts';

export interface EntryRule {
  /** Kebab-case, unique. */
  readonly id: string;
  /** Fields the rule is about, the one to correct first. */
  readonly fields: readonly VmcsFieldName[];
  /** Title of the manual's section (volume 3). */
  readonly section: string;
  /** What the manual demands, in one sentence. */
  readonly text: string;
  /** Exit qualification of a VM-entry failure by this rule, where it is not 0. */
  readonly qualification?: number;
  /** Whether the VMCS of the parts breaks the rule. Reads only. */
  violated(parts: VmxParts): boolean;
}
