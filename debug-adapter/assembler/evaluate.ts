import type { BinaryOperator, Expression } from './expression.ts';
import type { RegisterInfo } from './registers.ts';
import type { SourceRange } from './source.ts';
import {
  addValues,
  constantValue,
  isRegister,
  isSimple,
  scaleValue,
  sectionOf,
  termValue,
  UNKNOWN,
  type Value,
} from './value.ts';

/** What an expression may ask of its surroundings. */
export interface EvaluationContext {
  /** The value of a symbol; UNKNOWN while it may still be defined later in the first pass. */
  symbol(name: string, range: SourceRange): Value;
  /** The start of the current statement. */
  here(): Value;
  /** The start of the current section. */
  sectionStart(): Value;
  error(range: SourceRange, message: string): void;
}

/**
 * Which register an address names as its base, from the way it is written: `[ebx+eax]` has base EBX, `[ebx*1+eax]` has
 * not. `summed` says that equal terms were added up, which makes NASM forget the order.
 */
export interface AddressHint {
  kind: 'none' | 'base' | 'not-base' | 'summed';
  register?: RegisterInfo;
}

const ERRONEOUS = constantValue(0n);

/** Evaluates an expression; faults are reported to the context and yield zero. */
export function evaluate(expression: Expression, context: EvaluationContext, hint?: AddressHint): Value {
  switch (expression.kind) {
    case 'number':
    case 'string':
      return constantValue(expression.value);
    case 'float':
      context.error(expression.range, `expected an integer, found the floating-point constant '${expression.text}'`);
      return ERRONEOUS;
    case 'symbol':
      return context.symbol(expression.name, expression.range);
    case 'register':
      if (hint?.kind === 'none') Object.assign(hint, { kind: 'base', register: expression.register });
      return termValue(expression.register);
    case 'here':
      return context.here();
    case 'section-start':
      return context.sectionStart();
    case 'unary':
      return evaluateUnary(expression, context, hint);
    case 'binary':
      return evaluateBinary(expression, context, hint);
    case 'conditional': {
      const test = evaluate(expression.test, context);
      if (test.unknown !== 0) return UNKNOWN;
      return evaluate(test.constant !== 0n ? expression.then : expression.otherwise, context, hint);
    }
  }
}

function evaluateUnary(
  expression: Expression & { kind: 'unary' },
  context: EvaluationContext,
  hint: AddressHint | undefined,
): Value {
  const { operator, operand, range } = expression;
  const value = evaluate(operand, context, hint);
  if (operator === '+') return value;
  if (operator === '-') return scaleValue(value, -1n);
  if (operator === 'seg') {
    context.error(range, "a flat binary has no segment bases, so 'seg' has no value here");
    return ERRONEOUS;
  }
  if (value.unknown !== 0) return UNKNOWN;
  if (!isSimple(value)) return notPlain(operator, range, context);
  return constantValue(operator === '~' ? ~value.constant : value.constant === 0n ? 1n : 0n);
}

function notPlain(operator: string, range: SourceRange, context: EvaluationContext): Value {
  context.error(range, `operator '${operator}' needs plain numbers, but found an address or a register`);
  return ERRONEOUS;
}

function evaluateBinary(
  expression: Expression & { kind: 'binary' },
  context: EvaluationContext,
  hint: AddressHint | undefined,
): Value {
  const { operator, range } = expression;
  const left = evaluate(expression.left, context, hint);
  const right = evaluate(expression.right, context, hint);
  const merged = (): void => {
    if (hint) hint.kind = 'summed';
  };
  if (operator === '+') return addValues(left, right, merged);
  if (operator === '-') return addValues(left, scaleValue(right, -1n), merged);
  if (operator === '*') return multiply(left, right, range, context, hint);
  if (operator === 'wrt') {
    context.error(range, "a flat binary has no relocations, so 'wrt' is not supported");
    return left;
  }
  if (left.unknown !== 0 || right.unknown !== 0) return UNKNOWN;
  const comparison = compareAddresses(operator, left, right);
  if (comparison) return comparison;
  if (!isSimple(left) || !isSimple(right)) return notPlain(operator, range, context);
  if (DIVISIONS.has(operator) && right.constant === 0n) {
    context.error(range, `division by zero: the right side of '${operator}' is 0`);
    return ERRONEOUS;
  }
  return constantValue(OPERATIONS[operator](left.constant, right.constant));
}

function multiply(
  left: Value,
  right: Value,
  range: SourceRange,
  context: EvaluationContext,
  hint: AddressHint | undefined,
): Value {
  if (left.unknown !== 0 || right.unknown !== 0) return UNKNOWN;
  if (!isSimple(left) && !isSimple(right)) return notPlain('*', range, context);
  const [vector, factor] = isSimple(left) ? [right, left.constant] : [left, right.constant];
  if (hint?.kind === 'base' && vector.terms.some((term) => isRegister(term.base) && term.base === hint.register)) {
    hint.kind = 'not-base';
  }
  return scaleValue(vector, factor);
}

/** Two addresses in the same section can be compared; their distance is known before layout. */
function compareAddresses(operator: BinaryOperator, left: Value, right: Value): Value | undefined {
  if (!COMPARISONS.has(operator)) return undefined;
  const [a, b] = [sectionOf(left), sectionOf(right)];
  if (!a || !b || a.sectionName !== b.sectionName || a.kind !== b.kind) return undefined;
  return constantValue(
    OPERATIONS[operator as Exclude<BinaryOperator, '+' | '-' | '*' | 'wrt'>](left.constant, right.constant),
  );
}

const DIVISIONS: ReadonlySet<string> = new Set(['/', '//', '%', '%%']);
const COMPARISONS: ReadonlySet<string> = new Set(['=', '==', '!=', '<>', '<', '<=', '>', '>=', '<=>']);

const unsigned = (value: bigint): bigint => BigInt.asUintN(64, value);
const truth = (condition: boolean): bigint => (condition ? 1n : 0n);
const shift = (count: bigint): bigint => (unsigned(count) > 63n ? 64n : count);

const OPERATIONS: Readonly<Record<Exclude<BinaryOperator, '+' | '-' | '*' | 'wrt'>, (a: bigint, b: bigint) => bigint>> =
  {
    '||': (a, b) => truth(a !== 0n || b !== 0n),
    '^^': (a, b) => truth((a !== 0n) !== (b !== 0n)),
    '&&': (a, b) => truth(a !== 0n && b !== 0n),
    '=': (a, b) => truth(a === b),
    '==': (a, b) => truth(a === b),
    '!=': (a, b) => truth(a !== b),
    '<>': (a, b) => truth(a !== b),
    '<': (a, b) => truth(a < b),
    '<=': (a, b) => truth(a <= b),
    '>': (a, b) => truth(a > b),
    '>=': (a, b) => truth(a >= b),
    '<=>': (a, b) => (a < b ? -1n : a > b ? 1n : 0n),
    '|': (a, b) => a | b,
    '^': (a, b) => a ^ b,
    '&': (a, b) => a & b,
    '<<': (a, b) => a << shift(b),
    '<<<': (a, b) => a << shift(b),
    '>>': (a, b) => unsigned(a) >> shift(b),
    '>>>': (a, b) => a >> shift(b),
    '/': (a, b) => unsigned(a) / unsigned(b),
    '//': (a, b) => a / b,
    '%': (a, b) => unsigned(a) % unsigned(b),
    '%%': (a, b) => a % b,
  };
