import type { Token } from './token.ts';

/** The state of one %if … %endif. */
export interface Condition {
  readonly opening: Token;
  /** The lines of the present branch are read. */
  active: boolean;
  /** A branch was taken, so the ones after it are not. */
  taken: boolean;
  /** %else was met. */
  ended: boolean;
  /** The whole block stands in a branch that is not read. */
  readonly skipped: boolean;
}

export type ConditionName = (typeof NAMES)[number];

const NAMES = ['', 'def', 'macro', 'idn', 'idni', 'id', 'num', 'str', 'token', 'empty', 'ctx', 'env'] as const;

export interface ConditionDirective {
  readonly name: ConditionName;
  readonly negated: boolean;
  readonly isElse: boolean;
}

/** Takes `%if`, `%ifndef`, `%elifidn` … apart; undefined for any other directive. */
export function conditionDirective(directive: string): ConditionDirective | undefined {
  const match = /^(el)?if(.*)$/u.exec(directive);
  if (!match) return undefined;
  const rest = match[2] ?? '';
  const isElse = match[1] !== undefined;
  const name = NAMES.find((one) => one === rest);
  if (name !== undefined) return { name, negated: false, isElse };
  const negatedName = rest.startsWith('n') ? NAMES.find((one) => one === rest.slice(1)) : undefined;
  return negatedName === undefined ? undefined : { name: negatedName, negated: true, isElse };
}
