import type { Vcpu } from '../../engine-target.ts';
import { isUserError, UserError } from '../../errors.ts';
import type { EvaluationContext } from '../../expression/context.ts';
import { evaluate, isTrue } from '../../expression/evaluate.ts';
import { formatResult } from '../../expression/format.ts';
import { parseExpression } from '../../expression/parser.ts';
import type { ParsedExpression } from '../../expression/syntax.ts';
import { parseNumber } from '../../expression/token.ts';
import type { SymbolTable } from '../../program/symbols.ts';

/** In which of the worlds that share linear addresses a breakpoint holds. */
export const breakpointModes = [
  { mode: 'any', label: 'Any', description: 'Wherever the linear address is executed' },
  { mode: 'root', label: 'Host', description: 'Only outside VMX non-root operation' },
  { mode: 'non-root', label: 'Guest', description: 'Only in VMX non-root operation' },
  { mode: 'cr3', label: 'This address space', description: 'Only under the CR3 of the moment in which it is set' },
] as const;
export type BreakpointMode = (typeof breakpointModes)[number]['mode'];

export interface BreakpointOptions {
  readonly condition?: string | undefined;
  readonly hitCondition?: string | undefined;
  readonly logMessage?: string | undefined;
  readonly mode?: string | undefined;
}

type HitTest = (hits: number) => boolean;
type LogPart = string | ParsedExpression;

/** What must hold for a breakpoint to stop, and what it prints instead of stopping. */
export class BreakpointAction {
  readonly #condition: ParsedExpression | undefined;
  readonly #hitTest: HitTest | undefined;
  readonly #log: readonly LogPart[] | undefined;
  readonly #mode: BreakpointMode;
  readonly #cr3: bigint | undefined;
  #hits = 0;

  /**
   * @param vcpu gives the CR3 for the mode `cr3`
   * @throws UserError if one of the options cannot be parsed
   */
  constructor(options: BreakpointOptions, vcpu: Vcpu | undefined) {
    this.#condition = options.condition?.trim() ? parseExpression(options.condition) : undefined;
    this.#hitTest = options.hitCondition?.trim() ? parseHitCondition(options.hitCondition) : undefined;
    this.#log = options.logMessage ? parseLogMessage(options.logMessage) : undefined;
    this.#mode = breakpointModes.find(({ mode }) => mode === options.mode)?.mode ?? 'any';
    this.#cr3 = this.#mode === 'cr3' ? vcpu?.readRegister('cr3') : undefined;
  }

  /** Counts a hit: whether to stop, and what to print. */
  hit(vcpu: Vcpu, symbols: SymbolTable): { stops: boolean; message: string | undefined } {
    const context: EvaluationContext = { vcpu, symbols };
    if (!this.#holdsHere(vcpu)) {
      return { stops: false, message: undefined };
    }
    try {
      if (this.#condition !== undefined && !isTrue(evaluate(this.#condition.root, context))) {
        return { stops: false, message: undefined };
      }
    } catch (error) {
      // Stopping is the way to see why; going on would hide the breakpoint.
      return { stops: true, message: `The breakpoint's condition cannot be evaluated: ${userMessage(error)}` };
    }
    this.#hits += 1;
    if (this.#hitTest !== undefined && !this.#hitTest(this.#hits)) {
      return { stops: false, message: undefined };
    }
    return this.#log === undefined
      ? { stops: true, message: undefined }
      : { stops: false, message: this.#log.map((part) => logPart(part, context)).join('') };
  }

  /** Whether a hit stops, apart from how many there were before; nothing is counted or printed. */
  stops(vcpu: Vcpu, symbols: SymbolTable): boolean {
    if (this.#log !== undefined || !this.#holdsHere(vcpu)) {
      return false;
    }
    try {
      return this.#condition === undefined || isTrue(evaluate(this.#condition.root, { vcpu, symbols }));
    } catch (error) {
      userMessage(error);
      return true;
    }
  }

  #holdsHere(vcpu: Vcpu): boolean {
    if (this.#mode === 'any') {
      return true;
    }
    if (this.#mode === 'cr3') {
      return this.#cr3 === undefined || vcpu.readRegister('cr3') === this.#cr3;
    }
    return (vcpu.mode().vmxOperation === 'non-root') === (this.#mode === 'non-root');
  }
}

const HIT_TESTS: Readonly<Record<string, (count: number) => HitTest>> = {
  '': (count) => (hits) => hits >= count,
  '=': (count) => (hits) => hits === count,
  '==': (count) => (hits) => hits === count,
  '>': (count) => (hits) => hits > count,
  '>=': (count) => (hits) => hits >= count,
  '<': (count) => (hits) => hits < count,
  '<=': (count) => (hits) => hits <= count,
  '%': (count) => (hits) => hits % count === 0,
};

/** `5` (from the fifth on), `== 5`, `> 5`, `% 5` (every fifth). */
function parseHitCondition(text: string): HitTest {
  const match = /^\s*(==?|>=?|<=?|%)?\s*([0-9][0-9a-zA-Z_]*)\s*$/.exec(text);
  const count = match?.[2] === undefined ? 0 : Number(parseNumber(match[2]));
  const make = HIT_TESTS[match?.[1] ?? ''];
  if (match === null || make === undefined || count < 1) {
    throw new UserError('The hit count is not understood', {
      expected: 'a number from 1, or one after ==, >, >=, <, <= or %',
      found: text,
    });
  }
  return make(count);
}

/** Text with expressions in braces; `{{` and `}}` stand for braces. */
function parseLogMessage(text: string): LogPart[] {
  return [...text.matchAll(/\{\{|\}\}|\{([^{}]*)\}|[^{}]+|[{}]/g)].map(([whole, expression]) => {
    if (expression !== undefined) {
      return parseExpression(expression);
    }
    return whole === '{{' ? '{' : whole === '}}' ? '}' : whole;
  });
}

function logPart(part: LogPart, context: EvaluationContext): string {
  if (typeof part === 'string') {
    return part;
  }
  try {
    return formatResult(evaluate(part.root, context), { format: part.format, hex: false }, context);
  } catch (error) {
    return `<${userMessage(error)}>`;
  }
}

function userMessage(error: unknown): string {
  if (!isUserError(error)) {
    throw error;
  }
  return error.message;
}
