import type { Expansion, SourceRange } from './source.ts';

/**
 * - `identifier`: names, mnemonics, registers, `.local`, `$escaped`
 * - `number`: anything that starts as a numeric constant; its value is worked out by the expression parser
 * - `string`: 'text', "text" or `text`; `value` holds the text with escapes resolved
 * - `preprocessor`: %directive, %1, %%local, %$context, %{...}, %+
 * - `punctuator`: operators and brackets
 */
export type TokenKind = 'identifier' | 'number' | 'string' | 'preprocessor' | 'punctuator';

export interface Token {
  readonly kind: TokenKind;
  /** The characters as written. */
  readonly text: string;
  readonly range: SourceRange;
  /** White space stands between this token and the one before it. */
  readonly spaced: boolean;
  /** Only for `string`: the text between the quotes, escapes resolved, one character per byte value or code point. */
  readonly value?: string;
}

/** One line of source after joining continuation lines. */
export interface TokenLine {
  readonly tokens: readonly Token[];
  /** The whole physical line the tokens start on. */
  readonly range: SourceRange;
  readonly comment?: SourceRange;
  readonly expansion?: Expansion;
}

export function isWord(token: Token | undefined, word: string): boolean {
  return token !== undefined && token.kind === 'identifier' && token.text.toLowerCase() === word;
}

export function isPunctuator(token: Token | undefined, text: string): boolean {
  return token !== undefined && token.kind === 'punctuator' && token.text === text;
}

/** The tokens as source text again, with single blanks where there was white space. */
export function textOf(tokens: readonly Token[]): string {
  return tokens.map((token, index) => (token.spaced && index > 0 ? ` ${token.text}` : token.text)).join('');
}
