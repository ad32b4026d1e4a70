import { UserError } from '../errors.ts';
import {
  addressSpaces,
  type Expression,
  type FormatSpecifier,
  formatSpecifiers,
  type IntegerType,
  integerTypeNamed,
  type ParsedExpression,
} from './syntax.ts';
import { type Token, tokenize } from './token.ts';

/** From the weakest to the strongest, as in C. */
const PRECEDENCE: readonly (readonly string[])[] = [
  ['||'],
  ['&&'],
  ['|'],
  ['^'],
  ['&'],
  ['==', '!='],
  ['<', '<=', '>', '>='],
  ['<<', '>>'],
  ['+', '-'],
  ['*', '/', '%'],
];
const UNARY = ['-', '+', '~', '!'];
const SEGMENTS = ['cs', 'ds', 'es', 'ss', 'fs', 'gs'];
/** Deeper nesting than this is no expression that a person wrote; the recursion must not end the session. */
const MAXIMUM_DEPTH = 200;

/**
 * Parses an expression with an optional format specifier: `dword [rsp+8],x`.
 *
 * @throws UserError with the column of what was not understood
 */
export function parseExpression(text: string): ParsedExpression {
  const { expression, format } = splitFormat(text);
  const parser = new Parser(tokenize(expression));
  return { root: parser.parse(), format };
}

/** `,x` at the end; a comma is no operator. */
function splitFormat(text: string): { expression: string; format: FormatSpecifier | undefined } {
  const comma = text.lastIndexOf(',');
  const name = text.slice(comma + 1).trim();
  if (comma < 0 || /["'\]]/.test(name)) {
    return { expression: text, format: undefined };
  }
  const format = formatSpecifiers.find((one) => one === name);
  if (format === undefined) {
    throw new UserError('The format specifier is not known', {
      expected: formatSpecifiers.map((one) => `,${one}`).join(' '),
      found: `,${name}`,
    });
  }
  return { expression: text.slice(0, comma), format };
}

class Parser {
  readonly #tokens: readonly Token[];
  #position = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  parse(): Expression {
    const root = this.#assignment();
    if (this.#current.kind !== 'end') {
      throw this.#unexpected('an operator or the end of the expression');
    }
    return root;
  }

  get #current(): Token {
    return this.#tokens[this.#position] ?? { kind: 'end', text: '', value: 0n, start: 0 };
  }

  #peek(distance: number): Token | undefined {
    return this.#tokens[this.#position + distance];
  }

  #take(): Token {
    const token = this.#current;
    this.#position += 1;
    return token;
  }

  #accept(operator: string): boolean {
    const found = this.#current.kind === 'operator' && this.#current.text === operator;
    if (found) this.#position += 1;
    return found;
  }

  #expect(operator: string): void {
    if (!this.#accept(operator)) {
      throw this.#unexpected(`'${operator}'`);
    }
  }

  #unexpected(expected: string): UserError {
    const { kind, text, start } = this.#current;
    return new UserError('The expression is not understood', {
      expected,
      found: kind === 'end' ? 'the end of the expression' : `'${text}'`,
      where: `column ${start + 1}`,
    });
  }

  #assignment(): Expression {
    const target = this.#conditional();
    return this.#accept('=') ? { kind: 'assignment', target, value: this.#conditional() } : target;
  }

  #conditional(): Expression {
    this.#depth += 1;
    if (this.#depth > MAXIMUM_DEPTH) {
      throw new UserError('The expression is nested too deeply', { expected: `at most ${MAXIMUM_DEPTH} levels` });
    }
    const condition = this.#binary(0);
    let result = condition;
    if (this.#accept('?')) {
      const whenTrue = this.#conditional();
      this.#expect(':');
      result = { kind: 'conditional', condition, whenTrue, whenFalse: this.#conditional() };
    }
    this.#depth -= 1;
    return result;
  }

  #binary(level: number): Expression {
    const operators = PRECEDENCE[level];
    if (operators === undefined) {
      return this.#unary();
    }
    let left = this.#binary(level + 1);
    while (this.#current.kind === 'operator' && operators.includes(this.#current.text)) {
      const operator = this.#take().text;
      left = { kind: 'binary', operator, left, right: this.#binary(level + 1) };
    }
    return left;
  }

  #unary(): Expression {
    const operators: string[] = [];
    while (this.#current.kind === 'operator' && UNARY.includes(this.#current.text)) {
      operators.push(this.#take().text);
    }
    return operators.reduceRight<Expression>(
      (operand, operator) => ({ kind: 'unary', operator, operand }),
      this.#primary(),
    );
  }

  #primary(): Expression {
    const token = this.#current;
    if (token.kind === 'number') {
      return { kind: 'number', value: this.#take().value };
    }
    if (token.kind === 'string') {
      return { kind: 'string', text: this.#take().text.slice(1, -1) };
    }
    if (token.kind === 'name') {
      return this.#named();
    }
    if (token.text === '[') {
      return this.#memory(undefined);
    }
    if (this.#accept('(')) {
      return this.#parenthesised();
    }
    throw this.#unexpected('a number, a register, a symbol, [memory] or (');
  }

  /** `(dword) expression`, or a plain parenthesis. */
  #parenthesised(): Expression {
    const type = this.#current.kind === 'name' ? integerTypeNamed(this.#current.text) : undefined;
    if (type !== undefined && this.#peek(1)?.text === ')') {
      this.#position += 2;
      return { kind: 'cast', type, operand: this.#unary() };
    }
    const inner = this.#conditional();
    this.#expect(')');
    return inner;
  }

  #named(): Expression {
    const type = integerTypeNamed(this.#current.text);
    const next = this.#peek(1);
    if (type !== undefined && (next?.text === '[' || (next?.kind === 'name' && this.#peek(2)?.text === ':'))) {
      this.#position += 1;
      return this.#memory(type);
    }
    if (type !== undefined && next?.text === '(') {
      this.#position += 2;
      const operand = this.#conditional();
      this.#expect(')');
      return { kind: 'cast', type, operand };
    }
    const isSpace = Object.hasOwn(addressSpaces, this.#current.text.toLowerCase());
    if (next?.text === ':' && (isSpace || (this.#isPrefix(this.#current.text) && this.#peek(2)?.text === '['))) {
      return this.#memory(undefined);
    }
    const { text: name, start } = this.#take();
    return { kind: 'name', name, start };
  }

  #isPrefix(name: string): boolean {
    const lower = name.toLowerCase();
    return SEGMENTS.includes(lower) || Object.hasOwn(addressSpaces, lower);
  }

  /** `[address]`, with a space (`gpa:`) or segment (`fs:`) before it; without brackets, an address of that space. */
  #memory(type: IntegerType | undefined): Expression {
    const prefix = this.#current.kind === 'name' ? this.#take().text.toLowerCase() : undefined;
    if (prefix !== undefined) {
      if (!this.#isPrefix(prefix)) {
        this.#position -= 1;
        throw this.#unexpected("'gpa:', 'hpa:', 'linear:' or a segment register");
      }
      this.#expect(':');
    }
    const space = addressSpaces[prefix ?? 'linear'] ?? 'linear';
    const segment = prefix !== undefined && SEGMENTS.includes(prefix) ? prefix : undefined;
    if (prefix !== undefined && segment === undefined && type === undefined && this.#current.text !== '[') {
      return { kind: 'address', space, address: this.#unary() };
    }
    this.#expect('[');
    const inner = this.#segmentInside();
    const address = this.#conditional();
    this.#expect(']');
    return { kind: 'memory', space, type, segment: segment ?? inner, address };
  }

  /** NASM writes the segment within the brackets: `[fs:8]`. */
  #segmentInside(): string | undefined {
    const name = this.#current.text.toLowerCase();
    if (this.#current.kind === 'name' && SEGMENTS.includes(name) && this.#peek(1)?.text === ':') {
      this.#position += 2;
      return name;
    }
    return undefined;
  }
}
