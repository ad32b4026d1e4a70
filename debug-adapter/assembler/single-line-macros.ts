import { tokenizeFragment } from './lexer.ts';
import { Diagnostics, type SourceRange } from './source.ts';
import { isPunctuator, type Token } from './token.ts';

/** A %define, %xdefine, %assign or %defstr. */
export interface SingleLineMacro {
  readonly name: string;
  /** Undefined without a parameter list; an empty list for `name()`. */
  readonly parameters?: readonly string[];
  readonly body: readonly Token[];
  readonly range: SourceRange;
  readonly ignoreCase: boolean;
}

/** A line that grows beyond this by expansion is a mistake, or an attack. */
const MAXIMUM_EXPANSION_TOKENS = 100_000;
const MAXIMUM_EXPANSION_DEPTH = 200;

/** The single-line macros in force, and the expansion of token lists by them. */
export class SingleLineMacros {
  readonly #macros = new Map<string, SingleLineMacro[]>();
  readonly #report: (range: SourceRange, message: string) => void;
  /** Gives the tokens of macros such as __LINE__ that have no fixed body. */
  readonly #builtIn: (name: string, range: SourceRange) => Token[] | undefined;
  #budget = 0;

  constructor(
    report: (range: SourceRange, message: string) => void,
    builtIn: (name: string, range: SourceRange) => Token[] | undefined,
  ) {
    this.#report = report;
    this.#builtIn = builtIn;
  }

  define(macro: SingleLineMacro): void {
    const key = macro.name.toLowerCase();
    const count = macro.parameters?.length;
    const others = (this.#macros.get(key) ?? []).filter(
      (one) =>
        !(
          sameName(one, macro) &&
          (count === undefined || one.parameters === undefined || one.parameters.length === count)
        ),
    );
    this.#macros.set(key, [...others, macro]);
  }

  undefine(name: string): void {
    const key = name.toLowerCase();
    const rest = (this.#macros.get(key) ?? []).filter((one) => one.name !== name && !one.ignoreCase);
    if (rest.length > 0) this.#macros.set(key, rest);
    else this.#macros.delete(key);
  }

  clear(): void {
    this.#macros.clear();
  }

  find(name: string): SingleLineMacro[] {
    const found = this.#macros.get(name.toLowerCase());
    return found ? found.filter((one) => one.ignoreCase || one.name === name) : NONE;
  }

  isDefined(name: string, range: SourceRange): boolean {
    return this.find(name).length > 0 || this.#builtIn(name, range) !== undefined;
  }

  /** Replaces all macros, then joins what %+ and %[...] put together. */
  expand(tokens: readonly Token[]): readonly Token[] {
    if (!tokens.some((token) => this.#mayExpand(token))) return tokens;
    this.#budget = MAXIMUM_EXPANSION_TOKENS;
    const expanded = pasteTokens(this.#expand(tokens, new Set(), 0));
    const [first] = tokens;
    if (this.#budget <= 0 && first) {
      this.#report(first.range, `line grows beyond ${MAXIMUM_EXPANSION_TOKENS} tokens by macro expansion`);
      return [];
    }
    return expanded;
  }

  #mayExpand(token: Token): boolean {
    if (token.kind === 'preprocessor') return true;
    return token.kind === 'identifier' && (this.#macros.has(token.text.toLowerCase()) || token.text.startsWith('__'));
  }

  #expand(tokens: readonly Token[], active: ReadonlySet<string>, depth: number): Token[] {
    const result: Token[] = [];
    for (let index = 0; index < tokens.length && this.#budget > 0; index++) {
      const token = tokens[index];
      if (!token) break;
      this.#budget--;
      if (token.kind === 'preprocessor' && token.text === '%[') {
        const end = matchingBracket(tokens, index);
        const inner = this.#expand(tokens.slice(index + 1, end), active, depth + 1);
        appendPasted(result, inner, token.spaced);
        const next = tokens[end + 1];
        if (next && !next.spaced && inner.length > 0) result.push({ ...PASTE, range: token.range });
        index = end;
        continue;
      }
      const call =
        token.kind === 'identifier' && depth < MAXIMUM_EXPANSION_DEPTH ? this.#call(tokens, index, active) : undefined;
      if (!call) {
        result.push(token);
        continue;
      }
      const inner = this.#expand(call.tokens, new Set([...active, call.name]), depth + 1);
      inner.forEach((one, position) => {
        result.push(position === 0 ? { ...one, spaced: token.spaced } : one);
      });
      index = call.end;
    }
    return result;
  }

  /** The replacement of the macro call at `index`, and the index of its last token. */
  #call(
    tokens: readonly Token[],
    index: number,
    active: ReadonlySet<string>,
  ): { tokens: readonly Token[]; end: number; name: string } | undefined {
    const token = tokens[index];
    if (!token) return undefined;
    const candidates = this.find(token.text);
    if (candidates.length === 0) {
      const builtIn = token.text.startsWith('__') ? this.#builtIn(token.text, token.range) : undefined;
      return builtIn && { tokens: builtIn, end: index, name: token.text };
    }
    const [first] = candidates;
    if (!first || active.has(first.name)) return undefined;
    const plain = candidates.find((one) => one.parameters === undefined);
    if (plain) {
      return { tokens: relocate(plain.body, token.range), end: index, name: plain.name };
    }
    const args = isPunctuator(tokens[index + 1], '(') ? splitArguments(tokens, index + 2) : undefined;
    if (!args) return undefined;
    const macro = candidates.find((one) => takes(one, args.list));
    if (!macro) return undefined;
    return { tokens: substitute(macro, args.list, token.range), end: args.end, name: macro.name };
  }
}

const NONE: SingleLineMacro[] = [];

const PASTE: Omit<Token, 'range'> = { kind: 'preprocessor', text: '%+', spaced: false };

function sameName(a: SingleLineMacro, b: SingleLineMacro): boolean {
  return a.name === b.name || a.ignoreCase || b.ignoreCase;
}

function takes(macro: SingleLineMacro, list: readonly (readonly Token[])[]): boolean {
  const count = macro.parameters?.length ?? 0;
  return list.length === count || (count === 0 && list.length === 1 && list[0]?.length === 0);
}

function relocate(tokens: readonly Token[], range: SourceRange): Token[] {
  return tokens.map((token) => ({ ...token, range }));
}

function matchingBracket(tokens: readonly Token[], open: number): number {
  let depth = 0;
  for (let index = open; index < tokens.length; index++) {
    const token = tokens[index];
    if (token?.text === '[' || token?.text === '%[') depth++;
    else if (token?.text === ']' && --depth === 0) return index;
  }
  return tokens.length;
}

/** Splits `a, (b, c), d)` at its outer commas; undefined when the closing parenthesis is missing. */
function splitArguments(tokens: readonly Token[], start: number): { list: Token[][]; end: number } | undefined {
  const list: Token[][] = [[]];
  let depth = 0;
  for (let index = start; index < tokens.length; index++) {
    const token = tokens[index];
    if (!token) break;
    if (token.kind === 'punctuator') {
      if (depth === 0 && token.text === ')') return { list, end: index };
      if (depth === 0 && token.text === ',') {
        list.push([]);
        continue;
      }
      if ('([{'.includes(token.text)) depth++;
      if (')]}'.includes(token.text)) depth--;
    }
    list.at(-1)?.push(token);
  }
  return undefined;
}

function substitute(macro: SingleLineMacro, list: readonly (readonly Token[])[], range: SourceRange): Token[] {
  const result: Token[] = [];
  for (const token of macro.body) {
    const position = token.kind === 'identifier' ? (macro.parameters?.indexOf(token.text) ?? -1) : -1;
    const argument = list[position];
    if (argument)
      argument.forEach((one, index) => {
        result.push(index === 0 ? { ...one, spaced: token.spaced } : one);
      });
    else result.push({ ...token, range });
  }
  return result;
}

function appendPasted(result: Token[], inner: readonly Token[], spaced: boolean): void {
  const [first] = inner;
  if (!first) return;
  if (!spaced && result.length > 0 && isWordLike(result.at(-1))) result.push({ ...PASTE, range: first.range });
  inner.forEach((one, index) => {
    result.push(index === 0 ? { ...one, spaced } : one);
  });
}

function isWordLike(token: Token | undefined): boolean {
  return token?.kind === 'identifier' || token?.kind === 'number';
}

/** Carries out %+: joins the texts of its neighbours and reads the result as tokens again. */
function pasteTokens(tokens: readonly Token[]): Token[] {
  if (!tokens.some((token) => token.text === '%+')) return [...tokens];
  const result: Token[] = [];
  for (let index = 0; index < tokens.length; index++) {
    const token = tokens[index];
    if (!token) continue;
    const left = token.text === '%+' ? result.pop() : undefined;
    const right = tokens[index + 1];
    if (left && right) {
      result.push(...joinTokens(left, right));
      index++;
    } else if (left) result.push(left);
    else if (token.text !== '%+') result.push(token);
  }
  return result;
}

/** The tokens that the texts of two tokens make when written without a blank between them. */
export function joinTokens(left: Token, right: Token): Token[] {
  const joined = tokenizeFragment(left.text + right.text, left.range, new Diagnostics());
  return joined.map((token, index) => (index === 0 ? { ...token, spaced: left.spaced } : token));
}
