import type { Cursor } from './cursor.ts';
import { looksLikeFloat, numberOfString, parseInteger } from './literals.ts';
import { type RegisterInfo, registerNamed } from './registers.ts';
import { type SourceRange, spanOf } from './source.ts';
import type { Token } from './token.ts';

export type BinaryOperator = keyof typeof PRECEDENCE;
export type UnaryOperator = '-' | '+' | '~' | '!' | 'seg';

/** A parsed expression; every node knows the source it was read from. */
export type Expression = { readonly range: SourceRange } & (
  | { readonly kind: 'number'; readonly value: bigint }
  | { readonly kind: 'string'; readonly text: string; readonly value: bigint }
  | { readonly kind: 'float'; readonly text: string }
  | { readonly kind: 'symbol'; readonly name: string }
  | { readonly kind: 'register'; readonly register: RegisterInfo }
  | { readonly kind: 'here' }
  | { readonly kind: 'section-start' }
  | { readonly kind: 'unary'; readonly operator: UnaryOperator; readonly operand: Expression }
  | {
      readonly kind: 'binary';
      readonly operator: BinaryOperator;
      readonly left: Expression;
      readonly right: Expression;
    }
  | {
      readonly kind: 'conditional';
      readonly test: Expression;
      readonly then: Expression;
      readonly otherwise: Expression;
    }
);

/** Binary operators; a larger number binds tighter. */
const PRECEDENCE = {
  '||': 1,
  '^^': 2,
  '&&': 3,
  '=': 4,
  '==': 4,
  '!=': 4,
  '<>': 4,
  '<': 4,
  '<=': 4,
  '>': 4,
  '>=': 4,
  '<=>': 4,
  '|': 5,
  '^': 6,
  '&': 7,
  '<<': 8,
  '>>': 8,
  '<<<': 8,
  '>>>': 8,
  '+': 9,
  '-': 9,
  '*': 10,
  '/': 10,
  '//': 10,
  '%': 10,
  '%%': 10,
  wrt: 0,
} as const;

const MAXIMUM_DEPTH = 200;
const MAXIMUM_OPERATORS = 1000;

/** Thrown inside the parser of one line and caught at its statement: the line is reported and the next one read. */
export class SyntaxProblem extends Error {
  readonly range: SourceRange;

  constructor(range: SourceRange, message: string) {
    super(message);
    this.range = range;
  }
}

/** Parses an expression; throws SyntaxProblem where the source is not one. */
export function parseExpression(cursor: Cursor, depth = 0): Expression {
  if (depth > MAXIMUM_DEPTH) {
    throw new SyntaxProblem(cursor.here, `expression is nested more than ${MAXIMUM_DEPTH} deep`);
  }
  const test = parseBinary(cursor, 0, depth);
  if (!cursor.acceptPunctuator('?')) return test;
  const then = parseExpression(cursor, depth + 1);
  if (!cursor.acceptPunctuator(':')) throw new SyntaxProblem(cursor.here, `expected ':', found ${cursor.found}`);
  const otherwise = parseExpression(cursor, depth + 1);
  return { kind: 'conditional', test, then, otherwise, range: spanOf(test.range, otherwise.range) };
}

function parseBinary(cursor: Cursor, minimum: number, depth: number): Expression {
  let left = parseUnary(cursor, depth);
  for (let count = 0; ; count++) {
    if (count > MAXIMUM_OPERATORS) {
      throw new SyntaxProblem(cursor.here, `expression has more than ${MAXIMUM_OPERATORS} operators in a row`);
    }
    const operator = binaryOperator(cursor.peek());
    if (operator === undefined || PRECEDENCE[operator] < minimum) return left;
    cursor.next();
    const right = parseBinary(cursor, PRECEDENCE[operator] + 1, depth + 1);
    left = { kind: 'binary', operator, left, right, range: spanOf(left.range, right.range) };
  }
}

function binaryOperator(token: Token | undefined): BinaryOperator | undefined {
  if (token?.kind === 'identifier') return token.text.toLowerCase() === 'wrt' ? 'wrt' : undefined;
  return token?.kind === 'punctuator' && token.text in PRECEDENCE ? (token.text as BinaryOperator) : undefined;
}

function parseUnary(cursor: Cursor, depth: number): Expression {
  if (depth > MAXIMUM_DEPTH) {
    throw new SyntaxProblem(cursor.here, `expression is nested more than ${MAXIMUM_DEPTH} deep`);
  }
  const token = cursor.peek();
  const operator = token ? unaryOperator(token) : undefined;
  if (token && operator) {
    cursor.next();
    const operand = parseUnary(cursor, depth + 1);
    return { kind: 'unary', operator, operand, range: spanOf(token.range, operand.range) };
  }
  return parsePrimary(cursor, depth);
}

function unaryOperator(token: Token): UnaryOperator | undefined {
  if (token.kind === 'identifier') return token.text.toLowerCase() === 'seg' ? 'seg' : undefined;
  if (token.kind !== 'punctuator') return undefined;
  const text = token.text;
  return text === '-' || text === '+' || text === '~' || text === '!' ? text : undefined;
}

function parsePrimary(cursor: Cursor, depth: number): Expression {
  const token = cursor.next();
  if (token === undefined) throw new SyntaxProblem(cursor.here, 'expected a value, found the end of the line');
  const { range } = token;
  switch (token.kind) {
    case 'number':
      return parseNumber(token);
    case 'string':
      return { kind: 'string', text: token.value ?? '', value: numberOfString(token.value ?? ''), range };
    case 'identifier':
      return parseName(token);
    case 'punctuator':
      if (token.text === '$') return { kind: 'here', range };
      if (token.text === '$$') return { kind: 'section-start', range };
      if (token.text === '(') return parseGroup(cursor, token, depth);
      break;
    case 'preprocessor':
      break;
  }
  throw new SyntaxProblem(range, `expected a value, found '${token.text}'`);
}

function parseGroup(cursor: Cursor, open: Token, depth: number): Expression {
  const inner = parseExpression(cursor, depth + 1);
  const close = cursor.acceptPunctuator(')');
  if (!close) throw new SyntaxProblem(cursor.here, `expected ')', found ${cursor.found}`);
  return { ...inner, range: spanOf(open.range, close.range) };
}

function parseNumber(token: Token): Expression {
  const value = parseInteger(token.text);
  if (value !== undefined) return { kind: 'number', value: BigInt.asIntN(64, value), range: token.range };
  if (looksLikeFloat(token.text)) return { kind: 'float', text: token.text, range: token.range };
  throw new SyntaxProblem(token.range, `'${token.text}' is not a number in any notation`);
}

const FLOAT_NAMES = /^__\??(?:infinity|nan|qnan|snan)\??__$/iu;

function parseName(token: Token): Expression {
  const { range, text } = token;
  const register = registerNamed(text);
  if (register) return { kind: 'register', register, range };
  if (FLOAT_NAMES.test(text)) return { kind: 'float', text, range };
  return { kind: 'symbol', name: text.startsWith('$') ? text.slice(1) : text, range };
}

/** Calls `visit` for every node of the expression, parents first. */
export function walkExpression(expression: Expression, visit: (node: Expression) => void): void {
  visit(expression);
  if (expression.kind === 'unary') walkExpression(expression.operand, visit);
  if (expression.kind === 'binary') {
    walkExpression(expression.left, visit);
    walkExpression(expression.right, visit);
  }
  if (expression.kind === 'conditional') {
    for (const part of [expression.test, expression.then, expression.otherwise]) walkExpression(part, visit);
  }
}
