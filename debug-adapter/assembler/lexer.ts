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
      comment = new LineLexer(file, body, index + 1, tokens, diagnostics).run() ?? comment;
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
  new LineLexer(range.file, text, range.line, tokens, diagnostics).run();
  return tokens.map((token) => ({ ...token, range }));
}

/** Appends the tokens of one physical line to `tokens`. */
class LineLexer {
  readonly #file: string;
  readonly #text: string;
  readonly #line: number;
  readonly #tokens: Token[];
  readonly #diagnostics: Diagnostics;
  #position = 0;
  #spaced = true;
  #comment: SourceRange | undefined;

  constructor(file: string, text: string, line: number, tokens: Token[], diagnostics: Diagnostics) {
    this.#file = file;
    this.#text = text;
    this.#line = line;
    this.#tokens = tokens;
    this.#diagnostics = diagnostics;
  }

  /** Returns the range of the comment. */
  run(): SourceRange | undefined {
    while (this.#position < this.#text.length) {
      const first = this.#text[this.#position] ?? '';
      if (first === '"' || first === "'" || first === '`') this.#string(first);
      else this.#other();
    }
    return this.#comment;
  }

  #range(start: number, end: number): SourceRange {
    return { file: this.#file, line: this.#line, column: start + 1, length: end - start };
  }

  #add(kind: TokenKind, end: number, value?: string): void {
    const text = this.#text.slice(this.#position, end);
    const token = { kind, text, range: this.#range(this.#position, end), spaced: this.#spaced };
    this.#tokens.push(value === undefined ? token : { ...token, value });
    this.#position = end;
    this.#spaced = false;
  }

  #string(quote: string): void {
    const start = this.#position;
    const end = endOfString(this.#text, start);
    const closed = end > start + 1 && this.#text[end - 1] === quote;
    if (!closed) {
      this.#diagnostics.error(this.#range(start, end), `expected a closing ${quote} before the end of the line`);
    }
    const inner = this.#text.slice(start + 1, closed ? end - 1 : end);
    this.#add('string', end, quote === '`' ? resolveEscapes(inner) : inner);
  }

  #other(): void {
    const start = this.#position;
    PATTERN.lastIndex = start;
    const match = PATTERN.exec(this.#text);
    if (!match) {
      this.#diagnostics.error(this.#range(start, start + 1), `unexpected character '${this.#text[start]}'`);
      this.#position++;
      return;
    }
    const [found, space, comment, preprocessor, number, identifier] = match;
    const end = start + found.length;
    if (space !== undefined) {
      this.#position = end;
      this.#spaced = true;
    } else if (comment !== undefined) {
      this.#comment = this.#range(start, end);
      this.#position = this.#text.length;
    } else if (number !== undefined) {
      const sign = SIGN_OF_HEXADECIMAL.test(number) ? number.search(/[+-]/u) : -1;
      this.#add('number', sign > 0 ? start + sign : end);
    } else if (preprocessor !== undefined) this.#add('preprocessor', end);
    else this.#add(identifier !== undefined ? 'identifier' : 'punctuator', end);
  }
}

function endOfString(text: string, start: number): number {
  const quote = text[start];
  for (let index = start + 1; index < text.length; index++) {
    if (quote === '`' && text[index] === '\\') index++;
    else if (text[index] === quote) return index + 1;
  }
  return text.length;
}
