import { joinTokens } from './single-line-macros.ts';
import type { SourceRange } from './source.ts';
import { isPunctuator, type Token, type TokenLine, textOf } from './token.ts';

/** A %macro. */
export interface MultiLineMacro {
  readonly name: string;
  readonly minimum: number;
  readonly maximum: number;
  /** The last parameter takes the rest of the line, commas included. */
  readonly greedy: boolean;
  readonly defaults: readonly (readonly Token[])[];
  readonly lines: readonly TokenLine[];
  readonly range: SourceRange;
  readonly ignoreCase: boolean;
}

/** One invocation while its body is read. */
export interface MacroCall {
  readonly macro: MultiLineMacro;
  /** %ROTATE turns this list. */
  args: (readonly Token[])[];
  /** Makes the names of %%labels unique. */
  readonly id: number;
  /** The label in front of the invocation, for %00. */
  readonly label: readonly Token[];
  readonly nameToken: Token;
}

/** Reads `2`, `1-3`, `0-*`, `1+`, with `.nolist`; undefined when it is none of them. */
export function parseArity(text: string): { minimum: number; maximum: number; greedy: boolean } | undefined {
  const match = /^(\d+)(?:-(\d+|\*))?(\+)?(?:\.nolist)?$/iu.exec(text);
  if (!match) return undefined;
  const minimum = Number(match[1]);
  const upper = match[2];
  const maximum = upper === undefined ? minimum : upper === '*' ? Number.POSITIVE_INFINITY : Number(upper);
  return maximum < minimum ? undefined : { minimum, maximum, greedy: match[3] === '+' };
}

/** Splits the text after a macro name at its commas; braces keep commas together and are taken off. */
export function splitMacroArguments(tokens: readonly Token[]): Token[][] {
  if (tokens.length === 0) return [];
  const list: Token[][] = [[]];
  let depth = 0;
  for (const token of tokens) {
    if (isPunctuator(token, '{')) depth++;
    if (isPunctuator(token, '}')) depth--;
    if (depth <= 0 && isPunctuator(token, ',')) list.push([]);
    else list.at(-1)?.push(token);
  }
  return list.map(withoutBraces);
}

function withoutBraces(tokens: Token[]): Token[] {
  const wrapped = isPunctuator(tokens[0], '{') && isPunctuator(tokens.at(-1), '}');
  return wrapped ? tokens.slice(1, -1) : tokens;
}

/** The arguments of a call, or undefined when the macro does not take that many. */
export function bindArguments(macro: MultiLineMacro, tokens: readonly Token[]): (readonly Token[])[] | undefined {
  let args: (readonly Token[])[] = splitMacroArguments(tokens);
  if (macro.greedy && args.length > macro.maximum) {
    const rest = tokensAfterCommas(tokens, macro.maximum - 1);
    args = [...args.slice(0, macro.maximum - 1), rest];
  }
  // A macro that takes no arguments may be followed by nothing only; one that takes some sees an empty one.
  if (args.length < macro.minimum || args.length > macro.maximum) return undefined;
  const missing = macro.defaults.slice(args.length - macro.minimum, macro.maximum - macro.minimum);
  return [...args, ...missing];
}

function tokensAfterCommas(tokens: readonly Token[], commas: number): readonly Token[] {
  let depth = 0;
  let seen = 0;
  for (let index = 0; index < tokens.length; index++) {
    if (seen === commas) return withoutBraces(tokens.slice(index));
    const token = tokens[index];
    if (isPunctuator(token, '{')) depth++;
    if (isPunctuator(token, '}')) depth--;
    if (depth <= 0 && isPunctuator(token, ',')) seen++;
  }
  return [];
}

type Report = (range: SourceRange, message: string) => void;

/** Replaces %1, %0, %%label, %{1:3} … in one line of the body. */
export function substituteParameters(tokens: readonly Token[], call: MacroCall, report: Report): readonly Token[] {
  if (!tokens.some((token) => token.kind === 'preprocessor')) return tokens;
  const result: Token[] = [];
  let glue = false;
  for (const token of tokens) {
    const replacement = token.kind === 'preprocessor' ? replacementOf(token, call, report) : undefined;
    const pieces = replacement ?? [token];
    pieces.forEach((piece, index) => {
      const spaced = index === 0 ? token.spaced : piece.spaced;
      const last = result.at(-1);
      const joins = index === 0 && !spaced && last && (glue || replacement !== undefined) && joinable(last, piece);
      if (joins) {
        result.pop();
        result.push(...joinTokens(last, piece));
      } else result.push({ ...piece, spaced });
    });
    glue = replacement !== undefined && pieces.length > 0;
  }
  return result;
}

function joinable(left: Token, right: Token): boolean {
  const wordLike = (token: Token): boolean => token.kind === 'identifier' || token.kind === 'number';
  return wordLike(left) && wordLike(right);
}

function replacementOf(token: Token, call: MacroCall, report: Report): readonly Token[] | undefined {
  const braced = /^%\{(.*)\}$/u.exec(token.text);
  const text = braced ? (braced[1] ?? '') : token.text.slice(1);
  const make = (kind: 'number' | 'identifier', name: string): Token[] => [{ ...token, kind, text: name }];
  if (text === '0') return make('number', String(call.args.length));
  if (text === '00') return call.label;
  if (/^\d+$/u.test(text)) return call.args[Number(text) - 1] ?? [];
  if (text.startsWith('%')) return make('identifier', `..@${call.id}.${text.slice(1)}`);
  if (text === '?' || text === '??') return make('identifier', text === '?' ? call.nameToken.text : call.macro.name);
  const range = /^(-?\d+):(-?\d+)$/u.exec(text);
  if (range) return argumentRange(call, Number(range[1]), Number(range[2]), token);
  const condition = /^([+-])(\d+)$/u.exec(text);
  if (condition) return conditionCode(call.args[Number(condition[2]) - 1] ?? [], condition[1] === '-', token, report);
  return undefined;
}

/** %{2:-1}: the arguments from the second to the last, in either direction, with commas. */
function argumentRange(call: MacroCall, from: number, to: number, token: Token): Token[] {
  const count = call.args.length;
  const position = (index: number): number => (index < 0 ? count + index : index - 1);
  const [first, last] = [position(from), position(to)];
  const step = first <= last ? 1 : -1;
  const result: Token[] = [];
  for (let index = first; index !== last + step; index += step) {
    if (result.length > 0) result.push({ ...token, kind: 'punctuator', text: ',' });
    result.push(...(call.args[index] ?? []));
    if (index < -count || index > 2 * count) break;
  }
  return result;
}

const OPPOSITES: Readonly<Record<string, string>> = Object.fromEntries(
  'a:na ae:nae b:nb be:nbe c:nc e:ne g:ng ge:nge l:nl le:nle o:no p:np s:ns z:nz pe:po cxz:- ecxz:- rcxz:-'
    .split(' ')
    .map((pair) => pair.split(':') as [string, string])
    .flatMap(([one, other]) =>
      other === '-'
        ? [[one, '']]
        : [
            [one, other],
            [other, one],
          ],
    ),
);

function conditionCode(argument: readonly Token[], negated: boolean, token: Token, report: Report): Token[] {
  const text = textOf(argument).toLowerCase();
  const opposite = OPPOSITES[text];
  const name = negated ? opposite : text;
  if (opposite === undefined || !name)
    report(argument[0]?.range ?? token.range, `expected a condition such as 'e' or 'nz', found '${text}'`);
  return [{ ...token, kind: 'identifier', text: name ?? text }];
}
