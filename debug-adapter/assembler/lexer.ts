import { resolveEscapes } from './literals.ts';
import type { Diagnostics, SourceRange } from './source.ts';
import type { Token, TokenKind, TokenLine } from './token.ts';

/** The groups are: white space, comment, preprocessor, number, identifier; what is in none is a punctuator. */
const PATTERN = new RegExp(
  [
    '([ \\t\\r\\f\\v]+)',
    '(;.*)',
    '(%(?:%[A-Za-z_.?@][\\w.?@$#~]*|\\$+[A-Za-z_.?@][\\w.?@$#~]*|[+-]?\\d+|\\+(?!\\d)|\\{[^}]*\\}|![A-Za-z_]\\w*|\\?\\??|[A-Za-z_][\\w.?@$#~]*|\\[))',
    '(\\d(?:[\\w.]|(?<=[eEpP])[+-](?=\\d))*|\\$\\d\\w*|\\.\\d\\w*)',
    '(\\$?(?:[A-Za-z_.@]|\\?(?=[\\w.?@$#~]))[\\w.?@$#~]*)',
    '(?:<<<|>>>|<=>|\\$\\$|<<|>>|//|%%|&&|\\|\\||\\^\\^|<=|>=|==|!=|<>|[-+*/%&|^~!<>=(){}\\[\\],:?$])',
  ].join('|'),
  'uy',
);

/** An exponent sign is part of a number only in a decimal or `0x…p` number: `0x1e+2` is a sum. */
const SIGN_OF_HEXADECIMAL = /^0[xh].*[eE][+-]|^\$.*[eE][+-]/i;

/** Splits a source text into lines of tokens. Lines that end in a backslash continue on the next one. */
export function tokenize(file: string, text: string, diagnostics: Diagnostics): TokenLine[] {
  const physical = text.split(/\r\n|\n|\r/u);
  const lines: TokenLine[] = [];
  for (let index = 0; index < physical.length; index++) {
    const first = index;
    const tokens: Token[] = [];
    let comment: SourceRange | undefined;
    for (;;) {
      const source = physical[index] ?? '';
      const continued = source.endsWith('\\') && index + 1 < physical.length;
      const body = continued ? source.slice(0, -1) : source;
      comment = tokenizeLine(file, body, index + 1, tokens, diagnostics) ?? comment;
      if (!continued) break;
      index++;
    }
    const range = { file, line: first + 1, column: 1, length: physical[first]?.length ?? 0 };
    lines.push(comment === undefined ? { tokens, range } : { tokens, range, comment });
  }
  return lines;
}

/** Tokens of a text that stands on no line of its own, such as the value of a `defines` option. */
export function tokenizeFragment(text: string, range: SourceRange, diagnostics: Diagnostics): Token[] {
  const tokens: Token[] = [];
  tokenizeLine(range.file, text, range.line, tokens, diagnostics);
  return tokens.map((token) => ({ ...token, range }));
}

/** Appends the tokens of one physical line to `tokens`; returns the range of its comment. */
function tokenizeLine(
  file: string,
  text: string,
  line: number,
  tokens: Token[],
  diagnostics: Diagnostics,
): SourceRange | undefined {
  let position = 0;
  let spaced = true;
  const rangeOf = (start: number, end: number): SourceRange => ({ file, line, column: start + 1, length: end - start });
  const add = (kind: TokenKind, end: number, value?: string): void => {
    const token = { kind, text: text.slice(position, end), range: rangeOf(position, end), spaced };
    tokens.push(value === undefined ? token : { ...token, value });
    position = end;
    spaced = false;
  };
  while (position < text.length) {
    const quote = text[position] ?? '';
    if (quote === '"' || quote === "'" || quote === '`') {
      const end = endOfString(text, position);
      const closed = end > position + 1 && text[end - 1] === quote;
      if (!closed) diagnostics.error(rangeOf(position, end), `expected a closing ${quote} before the end of the line`);
      const inner = text.slice(position + 1, closed ? end - 1 : end);
      add('string', end, quote === '`' ? resolveEscapes(inner) : inner);
      continue;
    }
    PATTERN.lastIndex = position;
    const match = PATTERN.exec(text);
    if (!match) {
      diagnostics.error(rangeOf(position, position + 1), `unexpected character '${text[position]}'`);
      position++;
      continue;
    }
    const [found, space, comment, preprocessor, number, identifier] = match;
    const end = position + found.length;
    if (space !== undefined) {
      position = end;
      spaced = true;
    } else if (comment !== undefined) {
      return rangeOf(position, end);
    } else if (number !== undefined) {
      const sign = SIGN_OF_HEXADECIMAL.test(number) ? number.search(/[+-]/u) : -1;
      add('number', sign > 0 ? position + sign : end);
    } else if (preprocessor !== undefined) add('preprocessor', end);
    else add(identifier !== undefined ? 'identifier' : 'punctuator', end);
  }
  return undefined;
}

function endOfString(text: string, start: number): number {
  const quote = text[start];
  for (let index = start + 1; index < text.length; index++) {
    if (quote === '`' && text[index] === '\\') index++;
    else if (text[index] === quote) return index + 1;
  }
  return text.length;
}
