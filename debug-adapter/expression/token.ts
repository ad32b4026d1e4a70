import { UserError } from '../errors.ts';

export type TokenKind = 'number' | 'name' | 'string' | 'operator' | 'end';

export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  /** Of a number. */
  readonly value: bigint;
  /** Index of its first character. */
  readonly start: number;
}

const OPERATORS = [
  ...['<<=', '>>='],
  ...['<<', '>>', '<=', '>=', '==', '!=', '&&', '||'],
  ...['+', '-', '*', '/', '%', '&', '|', '^', '~', '!', '<', '>', '=', '?', ':', '(', ')', '[', ']', ','],
];
/** Names may hold what labels of NASM and C hold (but for a `?` at the front); `$rip` and `%rip` are registers for those who come from gdb. */
const NAME = /[\p{L}_.@$%][\p{L}\p{N}_.?@$#~]*/uy;
const NUMBER = /[0-9][0-9A-Za-z_]*/y;

/**
 * Splits an expression into its tokens, the last one of kind `end`.
 *
 * @throws UserError at a character that begins no token
 */
export function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  for (;;) {
    while (/\s/.test(text[at] ?? '')) at += 1;
    const token = nextToken(text, at, tokens.at(-1));
    tokens.push(token);
    if (token.kind === 'end') {
      return tokens;
    }
    at = token.start + lengthOf(token);
  }
}

/** The tokens of strings keep their quotes. */
function lengthOf(token: Token): number {
  return token.text.length;
}

function nextToken(text: string, start: number, before: Token | undefined): Token {
  if (start >= text.length) {
    return { kind: 'end', text: '', value: 0n, start };
  }
  const number = matchAt(NUMBER, text, start);
  if (number !== undefined) {
    return { kind: 'number', text: number, value: parseNumber(number), start };
  }
  if (text[start] === '"' || text[start] === "'") {
    return { kind: 'string', text: quoted(text, start), value: 0n, start };
  }
  // `%` is an operator behind a value, else the sign of a register.
  const isModulo = text[start] === '%' && before !== undefined && endsValue(before);
  const name = isModulo ? undefined : matchAt(NAME, text, start);
  if (name !== undefined && name !== '%') {
    return { kind: 'name', text: name, value: 0n, start };
  }
  const operator = OPERATORS.find((one) => text.startsWith(one, start));
  if (operator === undefined) {
    throw new UserError('The expression is not understood', {
      expected: 'a number, a register, a symbol or an operator',
      found: `'${text[start]}'`,
      where: `column ${start + 1}`,
    });
  }
  return { kind: 'operator', text: operator, value: 0n, start };
}

function endsValue(token: Token): boolean {
  return token.kind === 'number' || token.kind === 'name' || token.text === ')' || token.text === ']';
}

function matchAt(pattern: RegExp, text: string, start: number): string | undefined {
  pattern.lastIndex = start;
  return pattern.exec(text)?.[0];
}

function quoted(text: string, start: number): string {
  const end = text.indexOf(text[start] ?? '', start + 1);
  if (end < 0) {
    throw new UserError('The expression is not understood', {
      expected: `a closing ${text[start]}`,
      found: 'the end of the expression',
      where: `column ${start + 1}`,
    });
  }
  return text.slice(start, end + 1);
}

const NUMBER_FORMS: readonly (readonly [RegExp, string])[] = [
  [/^0[xh]([0-9a-f]+)$/i, '0x'],
  [/^0[by]([01]+)$/i, '0b'],
  [/^0[oq]([0-7]+)$/i, '0o'],
  [/^([0-9][0-9a-f]*)[hx]$/i, '0x'],
  [/^([01]+)[by]$/i, '0b'],
  [/^([0-7]+)[oq]$/i, '0o'],
  [/^(?:0d)?([0-9]+)d?$/i, ''],
];

/** A number in NASM's or C's notation: `10`, `0x0a`, `0Ah`, `0b1010`, `1010b`, `0o12`, with `_` anywhere. */
export function parseNumber(text: string): bigint {
  const plain = text.replaceAll('_', '');
  for (const [form, prefix] of NUMBER_FORMS) {
    const digits = form.exec(plain)?.[1];
    if (digits !== undefined) {
      return BigInt(prefix + digits);
    }
  }
  throw new UserError('The number is not understood', {
    expected: 'a decimal, 0x…, …h, 0b… or 0o… number',
    found: text,
  });
}
