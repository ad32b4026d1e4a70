import type { SourceRange } from './source.ts';
import { isPunctuator, isWord, type Token } from './token.ts';

/** Walks the tokens of one line. */
export class Cursor {
  readonly tokens: readonly Token[];
  /** What to point at when the line ends too early. */
  readonly #line: SourceRange;
  index = 0;

  constructor(tokens: readonly Token[], line: SourceRange) {
    this.tokens = tokens;
    this.#line = line;
  }

  peek(ahead = 0): Token | undefined {
    return this.tokens[this.index + ahead];
  }

  next(): Token | undefined {
    return this.tokens[this.index++];
  }

  get atEnd(): boolean {
    return this.index >= this.tokens.length;
  }

  acceptPunctuator(text: string): Token | undefined {
    return isPunctuator(this.peek(), text) ? this.next() : undefined;
  }

  acceptWord(word: string): Token | undefined {
    return isWord(this.peek(), word) ? this.next() : undefined;
  }

  /** Where the current token stands, or the column after the last one. */
  get here(): SourceRange {
    const token = this.peek();
    if (token) return token.range;
    const last = this.tokens.at(-1)?.range;
    return last ? { ...last, column: last.column + last.length, length: 1 } : this.#line;
  }

  get previous(): SourceRange {
    return this.tokens[this.index - 1]?.range ?? this.here;
  }

  /** How the current token reads in an error message. */
  get found(): string {
    const token = this.peek();
    if (!token) return 'the end of the line';
    const remainder = token.kind === 'preprocessor' && /^%\d/u.test(token.text);
    return remainder ? `'${token.text}' outside of a macro; for a remainder write a blank after %` : `'${token.text}'`;
  }
}
