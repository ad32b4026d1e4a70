import { SyntaxProblem } from './expression.ts';
import { tokenizeFragment } from './lexer.ts';
import { parseArity, splitMacroArguments } from './multi-line-macros.ts';
import { MAXIMUM_REPETITIONS, type Preprocessor } from './preprocessor.ts';
import { isPunctuator, type Token, type TokenLine, textOf } from './token.ts';

type Directive = (preprocessor: Preprocessor, tokens: readonly Token[], name: Token) => void;

/** Carries out a directive other than a condition; throws SyntaxProblem where it is malformed. */
export function executePreprocessorDirective(preprocessor: Preprocessor, name: string, tokens: readonly Token[]): void {
  const [first, ...rest] = tokens;
  if (!first) return;
  const directive = DIRECTIVES[name];
  if (directive) directive(preprocessor, rest, first);
  else if (UNSUPPORTED.has(name))
    preprocessor.error(first.range, `'%${name}' is not supported by the built-in assembler`);
  else preprocessor.error(first.range, `'${first.text}' is no preprocessor directive`);
}

const UNSUPPORTED: ReadonlySet<string> = new Set([
  'use',
  'arg',
  'local',
  'stacksize',
  'depend',
  'pathsearch',
  'defalias',
]);

const ignore: Directive = () => undefined;

const DIRECTIVES: Readonly<Record<string, Directive>> = {
  define: (p, tokens, name) => define(p, tokens, name, { ignoreCase: false, expandNow: false }),
  idefine: (p, tokens, name) => define(p, tokens, name, { ignoreCase: true, expandNow: false }),
  xdefine: (p, tokens, name) => define(p, tokens, name, { ignoreCase: false, expandNow: true }),
  ixdefine: (p, tokens, name) => define(p, tokens, name, { ignoreCase: true, expandNow: true }),
  undef: (p, tokens, name) => p.singleLine.undefine(macroName(p, tokens, name).text),
  assign: (p, tokens, name) => assign(p, tokens, name, false),
  iassign: (p, tokens, name) => assign(p, tokens, name, true),
  defstr: (p, tokens, name) => defineString(p, tokens, name, (rest) => textOf(p.expand(rest))),
  idefstr: (p, tokens, name) => defineString(p, tokens, name, (rest) => textOf(p.expand(rest))),
  deftok: defineTokens,
  strlen: (p, tokens, name) => defineNumber(p, tokens, name, (rest) => BigInt(stringArgument(p, rest, name).length)),
  strcat: (p, tokens, name) => defineString(p, tokens, name, (rest) => concatenate(p, rest)),
  substr: (p, tokens, name) => defineString(p, tokens, name, (rest) => substring(p, rest, name)),
  macro: (p, tokens, name) => defineMacro(p, tokens, name, false),
  imacro: (p, tokens, name) => defineMacro(p, tokens, name, true),
  unmacro: undefineMacro,
  endmacro: (p, _tokens, name) => p.error(name.range, "'%endmacro' without %macro"),
  endm: (p, _tokens, name) => p.error(name.range, "'%endm' without %macro"),
  exitmacro: exitMacro,
  rotate,
  rep: repeat,
  endrep: (p, _tokens, name) => p.error(name.range, "'%endrep' without %rep"),
  exitrep: exitRepeat,
  include,
  error: (p, tokens, name) => p.error(name.range, messageOf(p, tokens)),
  fatal: (p, tokens, name) => {
    p.error(name.range, messageOf(p, tokens));
    p.stopped = true;
  },
  warning: (p, tokens, name) => p.diagnostics.warning(name.range, messageOf(p, tokens), p.expansion),
  note: ignore,
  push: (p, tokens) => p.contexts.push({ name: tokens[0]?.text ?? '', id: p.nextId() }),
  pop: (p, _tokens, name) => {
    if (!p.contexts.pop()) p.error(name.range, "'%pop' without %push");
  },
  repl: (p, tokens, name) => {
    const context = p.contexts.at(-1);
    if (context) context.name = tokens[0]?.text ?? '';
    else p.error(name.range, "'%repl' without %push");
  },
  clear: (p) => {
    p.singleLine.clear();
    p.multiLine.clear();
  },
  pragma: ignore,
  line: ignore,
  comment: skipComment,
  endcomment: ignore,
};

function messageOf(preprocessor: Preprocessor, tokens: readonly Token[]): string {
  return preprocessor
    .expand(tokens)
    .map((token) => `${token.spaced ? ' ' : ''}${token.value ?? token.text}`)
    .join('')
    .trim();
}

function macroName(preprocessor: Preprocessor, tokens: readonly Token[], directive: Token): Token {
  const [name] = preprocessor.resolveContextNames(tokens.slice(0, 1));
  if (name?.kind !== 'identifier') {
    throw new SyntaxProblem(name?.range ?? directive.range, `expected a name after '${directive.text}'`);
  }
  return name;
}

function define(
  preprocessor: Preprocessor,
  tokens: readonly Token[],
  directive: Token,
  options: { ignoreCase: boolean; expandNow: boolean },
): void {
  const name = macroName(preprocessor, tokens, directive);
  const open = tokens[1];
  const hasParameters = isPunctuator(open, '(') && open?.spaced === false;
  const close = hasParameters ? tokens.findIndex((token) => isPunctuator(token, ')')) : 0;
  if (close < 0) throw new SyntaxProblem(open?.range ?? name.range, "expected ')' after the parameters of the macro");
  const parameters = hasParameters ? parameterNames(tokens.slice(2, close)) : undefined;
  const rest = preprocessor.resolveContextNames(tokens.slice(close + 1));
  const body = options.expandNow ? preprocessor.expand(rest) : rest;
  preprocessor.singleLine.define({
    name: name.text,
    body,
    range: name.range,
    ignoreCase: options.ignoreCase,
    ...(parameters ? { parameters } : {}),
  });
}

function parameterNames(tokens: readonly Token[]): string[] {
  return tokens.filter((token) => token.kind === 'identifier').map((token) => token.text);
}

function defineAs(
  preprocessor: Preprocessor,
  name: Token,
  kind: 'number' | 'string',
  text: string,
  ignoreCase = false,
): void {
  const token: Token =
    kind === 'string'
      ? { kind, text: quote(text), value: text, range: name.range, spaced: true }
      : { kind, text, range: name.range, spaced: true };
  preprocessor.singleLine.define({ name: name.text, body: [token], range: name.range, ignoreCase });
}

function quote(text: string): string {
  return text.includes("'") ? `"${text}"` : `'${text}'`;
}

function assign(preprocessor: Preprocessor, tokens: readonly Token[], directive: Token, ignoreCase: boolean): void {
  const name = macroName(preprocessor, tokens, directive);
  const value = preprocessor.evaluateTokens(tokens.slice(1), name.range, `the value of '${directive.text}'`) ?? 0n;
  defineAs(preprocessor, name, 'number', `${value < 0n ? BigInt.asUintN(64, value) : value}`, ignoreCase);
}

function defineString(
  preprocessor: Preprocessor,
  tokens: readonly Token[],
  directive: Token,
  make: (rest: readonly Token[]) => string,
): void {
  const name = macroName(preprocessor, tokens, directive);
  defineAs(preprocessor, name, 'string', make(tokens.slice(1)));
}

function defineNumber(
  preprocessor: Preprocessor,
  tokens: readonly Token[],
  directive: Token,
  make: (rest: readonly Token[]) => bigint,
): void {
  const name = macroName(preprocessor, tokens, directive);
  defineAs(preprocessor, name, 'number', `${make(tokens.slice(1))}`);
}

function stringArgument(preprocessor: Preprocessor, tokens: readonly Token[], directive: Token): string {
  const [token] = preprocessor.expand(tokens);
  if (token?.kind !== 'string') throw new SyntaxProblem(token?.range ?? directive.range, 'expected a string in quotes');
  return token.value ?? '';
}

function concatenate(preprocessor: Preprocessor, tokens: readonly Token[]): string {
  return preprocessor
    .expand(tokens)
    .filter((token) => token.kind === 'string')
    .map((token) => token.value ?? '')
    .join('');
}

/** `%substr name 'string' first[,count]`; positions count from 1, a negative count from the end. */
function substring(preprocessor: Preprocessor, tokens: readonly Token[], directive: Token): string {
  const expanded = preprocessor.expand(tokens);
  const text = stringArgument(preprocessor, expanded, directive);
  const rest = expanded.slice(isPunctuator(expanded[1], ',') ? 2 : 1);
  const [first = [], count] = splitMacroArguments(rest);
  const start = Number(preprocessor.evaluateTokens(first, directive.range, 'the position') ?? 1n);
  const length = count ? Number(preprocessor.evaluateTokens(count, directive.range, 'the length') ?? 1n) : 1;
  const end = length < 0 ? text.length + length + 1 : start - 1 + length;
  return start < 1 ? '' : text.slice(start - 1, Math.max(start - 1, end));
}

function defineTokens(preprocessor: Preprocessor, tokens: readonly Token[], directive: Token): void {
  const name = macroName(preprocessor, tokens, directive);
  const text = stringArgument(preprocessor, tokens.slice(1), directive);
  const body = tokenizeFragment(text, name.range, preprocessor.diagnostics);
  preprocessor.singleLine.define({ name: name.text, body, range: name.range, ignoreCase: false });
}

/** Takes the lines up to the matching end out of the present frame; undefined after reporting that there is none. */
function collectBody(
  preprocessor: Preprocessor,
  opening: Token,
  openers: ReadonlySet<string>,
  closers: ReadonlySet<string>,
): TokenLine[] | undefined {
  const { frame } = preprocessor;
  if (!frame) return undefined;
  const body: TokenLine[] = [];
  let depth = 1;
  for (let line = frame.lines[frame.index++]; line; line = frame.lines[frame.index++]) {
    const word = line.tokens[0]?.kind === 'preprocessor' ? line.tokens[0].text.toLowerCase() : '';
    if (openers.has(word)) depth++;
    if (closers.has(word) && --depth === 0) return body;
    body.push(line);
  }
  preprocessor.error(opening.range, `'${opening.text}' has no ${[...closers][0]} before the end of the file`);
  return undefined;
}

const MACRO_OPENERS: ReadonlySet<string> = new Set(['%macro', '%imacro', '%rmacro', '%irmacro']);
const MACRO_CLOSERS: ReadonlySet<string> = new Set(['%endmacro', '%endm']);

function defineMacro(
  preprocessor: Preprocessor,
  tokens: readonly Token[],
  directive: Token,
  ignoreCase: boolean,
): void {
  const lines = collectBody(preprocessor, directive, MACRO_OPENERS, MACRO_CLOSERS);
  if (!lines) return;
  const name = macroName(preprocessor, tokens, directive);
  const expanded = preprocessor.expand(tokens.slice(1));
  let count = 1;
  while (expanded[count] && expanded[count]?.spaced === false) count++;
  const text = textOf(expanded.slice(0, count));
  const arity = parseArity(text);
  if (!arity) {
    throw new SyntaxProblem(
      expanded[0]?.range ?? name.range,
      `expected a number of parameters such as 2, 1-3, 0-* or 1+, found '${text}'`,
    );
  }
  const defaults = splitMacroArguments(expanded.slice(count));
  const macro = { name: name.text, ...arity, defaults, lines, range: name.range, ignoreCase };
  const key = name.text.toLowerCase();
  const others = (preprocessor.multiLine.get(key) ?? []).filter(
    (one) => one.name !== macro.name || one.minimum !== macro.minimum || one.maximum !== macro.maximum,
  );
  preprocessor.multiLine.set(key, [macro, ...others]);
}

function undefineMacro(preprocessor: Preprocessor, tokens: readonly Token[], directive: Token): void {
  const name = macroName(preprocessor, tokens, directive);
  const arity = parseArity(textOf(tokens.slice(1)).replaceAll(' ', ''));
  const rest = preprocessor
    .macrosNamed(name.text)
    .filter((one) => one.minimum !== arity?.minimum || one.maximum !== arity.maximum);
  preprocessor.multiLine.set(name.text.toLowerCase(), rest);
}

function exitMacro(preprocessor: Preprocessor, _tokens: readonly Token[], name: Token): void {
  leave(preprocessor, 'macro', name, "'%exitmacro' outside of a macro");
}

function exitRepeat(preprocessor: Preprocessor, _tokens: readonly Token[], name: Token): void {
  leave(preprocessor, 'rep', name, "'%exitrep' outside of %rep");
}

/** Ends the innermost frame of that kind, and the ones inside it. */
function leave(preprocessor: Preprocessor, kind: 'macro' | 'rep', name: Token, otherwise: string): void {
  const { frames } = preprocessor;
  let index = frames.length - 1;
  while (index > 0 && frames[index]?.kind !== kind) index--;
  if (frames[index]?.kind === kind) frames.length = index;
  else preprocessor.error(name.range, otherwise);
}

function rotate(preprocessor: Preprocessor, tokens: readonly Token[], name: Token): void {
  const call = preprocessor.frame?.call;
  if (!call) {
    preprocessor.error(name.range, "'%rotate' outside of a macro");
    return;
  }
  const count = preprocessor.evaluateTokens(tokens, name.range, "the count of '%rotate'");
  const { length } = call.args;
  if (count === undefined || length === 0) return;
  const shift = Number(((count % BigInt(length)) + BigInt(length)) % BigInt(length));
  call.args = [...call.args.slice(shift), ...call.args.slice(0, shift)];
}

const REP_OPENERS: ReadonlySet<string> = new Set(['%rep']);
const REP_CLOSERS: ReadonlySet<string> = new Set(['%endrep']);

function repeat(preprocessor: Preprocessor, tokens: readonly Token[], name: Token): void {
  const { frame } = preprocessor;
  const lines = collectBody(preprocessor, name, REP_OPENERS, REP_CLOSERS);
  if (!lines || !frame) return;
  const rest = tokens.filter((token) => token.text.toLowerCase() !== '.nolist');
  const count = preprocessor.evaluateTokens(rest, name.range, "the count of '%rep'");
  if (count === undefined || count <= 0n) return;
  if (count > BigInt(MAXIMUM_REPETITIONS)) {
    throw new SyntaxProblem(
      rest[0]?.range ?? name.range,
      `expected a count of at most ${MAXIMUM_REPETITIONS}, found ${count}`,
    );
  }
  const { call, expansion, file } = frame;
  preprocessor.frames.push({
    kind: 'rep',
    file,
    lines,
    index: 0,
    conditions: [],
    remaining: Number(count) - 1,
    ...(call ? { call } : {}),
    ...(expansion ? { expansion } : {}),
  });
}

function include(preprocessor: Preprocessor, tokens: readonly Token[], name: Token): void {
  const [path] = preprocessor.expand(tokens);
  if (path?.kind !== 'string') throw new SyntaxProblem(path?.range ?? name.range, 'expected a file name in quotes');
  preprocessor.include(path.value ?? '', path.range);
}

function skipComment(preprocessor: Preprocessor, _tokens: readonly Token[], name: Token): void {
  collectBody(preprocessor, name, new Set(['%comment']), new Set(['%endcomment']));
}
