/** Vector groups of single features: one line a group. A form belongs to the first group that claims it. */
import type { Mode } from '../layout.ts';

/** What a lane of a vector, or an x87 operand, holds. */
export interface Lane {
  kind: 'integer' | 'float' | 'bcd';
  bits: number;
}

export interface FeatureGroup {
  /** As iced-x86 names CPU features; a form that needs several has them joined by '+'. */
  features: readonly string[];
  /** Of these features only the mnemonics (iced-x86's) that match; all, when it is not given. */
  mnemonics?: RegExp;
  /** Where it is recorded: in 64-bit mode only, when it is not given. */
  modes?: readonly Mode[];
  /** Encodings with registers, and as many with memory, of each form (2); three times as many with an immediate. */
  encodings?: number;
  /** Inputs for each encoding (4). */
  cases?: number;
  /** What the lanes hold, where the type of the form's memory operand would mislead. */
  lane?: Lane;
}

export const FEATURE_GROUPS: Record<string, FeatureGroup> = {};

/** The name and the properties of the group that a form of these features belongs to. */
export function featureGroupOf(
  mode: Mode,
  features: readonly string[],
  mnemonic: string,
): [string, FeatureGroup] | undefined {
  const joined = features.join('+');
  return Object.entries(FEATURE_GROUPS).find(
    ([, group]) =>
      group.features.includes(joined) &&
      (group.modes ?? [64]).includes(mode) &&
      (group.mnemonics === undefined || group.mnemonics.test(mnemonic)),
  );
}
