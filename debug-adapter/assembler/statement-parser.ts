import { closest } from '../closest.ts';
import { Cursor } from './cursor.ts';
import { type Expression, parseExpression, SyntaxProblem } from './expression.ts';
import { isMnemonic, mnemonicNames } from './mnemonics.ts';
import { braced, parseOperands } from './operand-parser.ts';
import { registerNamed } from './registers.ts';
import { type Diagnostics, spanOf } from './source.ts';
import type { DataItem, Label, Statement, StatementBody } from './syntax.ts';
import { isPunctuator, isWord, type Token, type TokenLine } from './token.ts';

const UNIT_BYTES: readonly (readonly [string, number])[] = Object.entries({
  b: 1,
  w: 2,
  d: 4,
  q: 8,
  t: 10,
  o: 16,
  y: 32,
  z: 64,
});
/** `db` … `dz` and `resb` … `resz`, with the bytes of a unit. */
const DATA: ReadonlyMap<string, number> = new Map(UNIT_BYTES.map(([letter, bytes]) => [`d${letter}`, bytes]));
const RESERVE: ReadonlyMap<string, number> = new Map(UNIT_BYTES.map(([letter, bytes]) => [`res${letter}`, bytes]));

/** Directives that stand at the start of a line, and in brackets as well. */
const DIRECTIVES: ReadonlySet<string> = new Set(
  (
    'section segment bits use16 use32 use64 org absolute global extern static common required default cpu float ' +
    'warning list debug map sectalign struc endstruc istruc iend'
  ).split(' '),
);

const PREFIXES: ReadonlySet<string> = new Set(
  (
    'lock rep repe repz repne repnz xacquire xrelease bnd nobnd a16 a32 a64 asp o16 o32 o64 osp ' +
    'es cs ss ds fs gs wait'
  ).split(' '),
);

/** Words that cannot be labels unless a colon follows. */
export function isReservedWord(word: string): boolean {
  const lower = word.toLowerCase();
  return (
    isMnemonic(lower) ||
    DATA.has(lower) ||
    RESERVE.has(lower) ||
    DIRECTIVES.has(lower) ||
    PREFIXES.has(lower) ||
    OTHER_STATEMENTS.has(lower)
  );
}

const OTHER_STATEMENTS: ReadonlySet<string> = new Set(['equ', 'times', 'incbin', 'align', 'alignb', 'at']);

/** The words that start a data definition, a reservation or a directive, for completion and highlighting. */
export function directiveNames(): readonly string[] {
  return [...DIRECTIVES, ...OTHER_STATEMENTS, ...DATA.keys(), ...RESERVE.keys()];
}

export function isPrefix(word: string): boolean {
  return PREFIXES.has(word.toLowerCase());
}

type ParsedTokens = Pick<Statement, 'label' | 'times' | 'body'>;

/** Lines that %rep and macros repeat share their tokens, and so their parse. */
const parsedTokens = new WeakMap<readonly Token[], ParsedTokens>();

/** Parses one line. A fault is reported and gives a body of kind `invalid`; the label in front of it survives. */
export function parseStatement(line: TokenLine, diagnostics: Diagnostics): Statement {
  const { tokens, expansion } = line;
  let parsed = parsedTokens.get(tokens);
  if (!parsed) {
    parsed = parseTokens(line, diagnostics);
    // What is not well-formed is read again, to be reported again.
    if (parsed.body.kind !== 'invalid') parsedTokens.set(tokens, parsed);
  }
  const first = tokens[0];
  const last = tokens.at(-1);
  const range = first && last ? spanOf(first.range, last.range) : line.range;
  const { label, times, body } = parsed;
  return { range, times, body, tokens, ...(label ? { label } : {}), ...(expansion ? { expansion } : {}) };
}

function parseTokens(line: TokenLine, diagnostics: Diagnostics): ParsedTokens {
  const cursor = new Cursor(line.tokens, line.range);
  const times: Expression[] = [];
  let label: Label | undefined;
  let body: StatementBody;
  try {
    label = parseLabel(cursor);
    while (cursor.acceptWord('times')) times.push(parseExpression(cursor));
    body = parseBody(cursor, label !== undefined);
  } catch (problem) {
    if (!(problem instanceof SyntaxProblem)) throw problem;
    report(problem, line, diagnostics);
    if (problem.range === label?.range) label = undefined;
    body = { kind: 'invalid' };
  }
  return label ? { label, times, body } : { times, body };
}

function parseLabel(cursor: Cursor): Label | undefined {
  const token = cursor.peek();
  if (token?.kind !== 'identifier') return undefined;
  const colon = isPunctuator(cursor.peek(1), ':');
  if (!colon && (isReservedWord(token.text) || registerNamed(token.text))) return undefined;
  if (registerNamed(token.text)) {
    throw new SyntaxProblem(token.range, `'${token.text}' is a register and cannot be a label`);
  }
  cursor.next();
  if (colon) cursor.next();
  const name = token.text.startsWith('$') ? token.text.slice(1) : token.text;
  return { name, range: token.range, hasColon: colon };
}

/** What is wrong with a label alone on its line: without a colon it is more often a mistyped instruction. */
export function orphanedLabel(label: Label | undefined): string | undefined {
  if (label === undefined || label.hasColon) return undefined;
  const { name } = label;
  const near = name.startsWith('.') ? undefined : closest(name, statementNames());
  const hint = near === undefined ? '' : `; did you mean '${near}'?`;
  return `'${name}' is taken for a label: write '${name}:' if it is one${hint}`;
}

function parseBody(cursor: Cursor, labelled: boolean): StatementBody {
  const token = cursor.peek();
  if (!token) return { kind: 'empty' };
  if (isPunctuator(token, '[')) return parseBracketed(cursor, labelled);
  if (isPunctuator(token, '{')) return parseInstruction(cursor, labelled);
  if (token.kind !== 'identifier') {
    const instead = labelled ? misspelled(cursor) : undefined;
    if (instead) throw instead;
    throw new SyntaxProblem(token.range, `expected a label, an instruction or a directive, found '${token.text}'`);
  }
  const word = token.text.toLowerCase();
  const dataBytes = DATA.get(word);
  const reservedBytes = RESERVE.get(word);
  if (dataBytes !== undefined || reservedBytes !== undefined) cursor.next();
  if (dataBytes !== undefined) return { kind: 'data', unitBytes: dataBytes, items: parseItems(cursor) };
  if (reservedBytes !== undefined) {
    return finish(cursor, { kind: 'reserve', unitBytes: reservedBytes, count: parseExpression(cursor) });
  }
  if (DIRECTIVES.has(word)) return { kind: 'directive', name: token, arguments: cursor.tokens.slice(cursor.index + 1) };
  if (OTHER_STATEMENTS.has(word)) return parseOther(cursor, word);
  return parseInstruction(cursor, labelled);
}

function finish<Body extends StatementBody>(cursor: Cursor, body: Body): Body {
  if (!cursor.atEnd) throw new SyntaxProblem(cursor.here, `expected the end of the line, found ${cursor.found}`);
  return body;
}

function parseBracketed(cursor: Cursor, labelled: boolean): StatementBody {
  const instead = labelled ? misspelled(cursor) : undefined;
  cursor.next();
  const name = cursor.next();
  const last = cursor.tokens.length - 1;
  const close = isPunctuator(cursor.tokens[last], ']') ? last : -1;
  if (name?.kind !== 'identifier' || !DIRECTIVES.has(name.text.toLowerCase())) {
    if (instead) throw instead;
    throw new SyntaxProblem(name?.range ?? cursor.here, `expected a directive after '[', found '${name?.text ?? ''}'`);
  }
  if (close < 0) throw new SyntaxProblem(cursor.here, "expected ']' at the end of the directive");
  return { kind: 'directive', name, arguments: cursor.tokens.slice(cursor.index, close) };
}

function parseOther(cursor: Cursor, word: string): StatementBody {
  cursor.next();
  if (word === 'equ') return finish(cursor, { kind: 'equ', value: parseExpression(cursor) });
  if (word === 'incbin') return parseIncbin(cursor);
  if (word === 'at') return parseAt(cursor);
  const boundary = parseExpression(cursor);
  const fill = cursor.acceptPunctuator(',') ? parseBody(cursor, false) : undefined;
  return finish(cursor, { kind: 'align', boundary, reserve: word === 'alignb', ...(fill ? { fill } : {}) });
}

function parseAt(cursor: Cursor): StatementBody {
  const localField = cursor.peek()?.text.startsWith('.') ?? false;
  const field = parseExpression(cursor);
  const body = cursor.acceptPunctuator(',') ? parseBody(cursor, false) : undefined;
  return finish(cursor, { kind: 'at', field, localField, ...(body ? { body } : {}) });
}

function parseIncbin(cursor: Cursor): StatementBody {
  const path = cursor.next();
  if (path?.kind !== 'string') throw new SyntaxProblem(path?.range ?? cursor.here, 'expected a file name in quotes');
  const skip = cursor.acceptPunctuator(',') ? parseExpression(cursor) : undefined;
  const length = cursor.acceptPunctuator(',') ? parseExpression(cursor) : undefined;
  return finish(cursor, { kind: 'incbin', path, ...(skip ? { skip } : {}), ...(length ? { length } : {}) });
}

function parseItems(cursor: Cursor): DataItem[] {
  const items: DataItem[] = [];
  if (cursor.atEnd) throw new SyntaxProblem(cursor.here, 'expected a value, found the end of the line');
  // NASM allows a comma at the end of the list.
  do items.push(parseItem(cursor));
  while (cursor.acceptPunctuator(',') && !cursor.atEnd);
  return cursor.atEnd || isPunctuator(cursor.peek(), ')') ? items : failItems(cursor);
}

function failItems(cursor: Cursor): never {
  throw new SyntaxProblem(cursor.here, `expected a comma or the end of the line, found ${cursor.found}`);
}

function parseItem(cursor: Cursor): DataItem {
  const start = cursor.here;
  if (cursor.acceptPunctuator('?')) return { kind: 'uninitialized', range: start };
  const value = parseExpression(cursor);
  if (!cursor.acceptWord('dup')) return { kind: 'value', value };
  if (!cursor.acceptPunctuator('(')) return { kind: 'dup', count: value, items: [parseItem(cursor)] };
  const items = parseItems(cursor);
  if (!cursor.acceptPunctuator(')')) throw new SyntaxProblem(cursor.here, `expected ')', found ${cursor.found}`);
  return { kind: 'dup', count: value, items };
}

function parseInstruction(cursor: Cursor, labelled: boolean): StatementBody {
  const prefixes: Token[] = [];
  for (let token = cursor.peek(); token; token = cursor.peek()) {
    if (isPunctuator(token, '{')) {
      const { text, range } = braced(cursor);
      if (!/^(?:vex[23]?|evex)$/u.test(text))
        throw new SyntaxProblem(range, `expected {vex2}, {vex3} or {evex}, found {${text}}`);
      prefixes.push({ ...token, text, range });
    } else if (token.kind === 'identifier' && isPrefix(token.text) && !(isWord(token, 'wait') && isLast(cursor))) {
      prefixes.push(token);
      cursor.next();
    } else break;
  }
  const mnemonic = cursor.peek();
  if (!mnemonic) return { kind: 'instruction', prefixes, operands: [] };
  if (mnemonic.kind !== 'identifier' || !isMnemonic(mnemonic.text.toLowerCase())) {
    const instead = labelled ? misspelled(cursor) : undefined;
    throw instead ?? new UnknownWord(mnemonic, `expected an instruction, found '${mnemonic.text}'`);
  }
  cursor.next();
  return { kind: 'instruction', mnemonic, prefixes, operands: parseOperands(cursor) };
}

function isLast(cursor: Cursor): boolean {
  return cursor.peek(1) === undefined;
}

/** A word where an instruction should be; its report may suggest one. */
class UnknownWord extends SyntaxProblem {
  readonly word: string;

  constructor({ text, range }: Token, message: string) {
    super(range, message);
    this.word = text;
  }
}

/** What was read as a label, without a colon and in front of what starts no statement, was meant for an instruction. */
function misspelled(cursor: Cursor): UnknownWord | undefined {
  const [before] = cursor.tokens;
  if (cursor.index !== 1 || !before) return undefined;
  const message = `'${before.text}' is neither an instruction nor a macro here: expected one, or a label followed by ':'`;
  return new UnknownWord(before, message);
}

/** After so many faults the file is of another language; searching all names for each of its lines would take long. */
const MAXIMUM_SUGGESTIONS = 50;

function report(problem: SyntaxProblem, line: TokenLine, diagnostics: Diagnostics): void {
  const searches = !diagnostics.isFull && diagnostics.list.length < MAXIMUM_SUGGESTIONS;
  const near = searches && problem instanceof UnknownWord ? closest(problem.word, statementNames()) : undefined;
  const hint = near === undefined ? '' : `; did you mean '${near}'?`;
  diagnostics.error(problem.range, problem.message + hint, line.expansion);
}

function* statementNames(): Iterable<string> {
  yield* mnemonicNames();
  yield* directiveNames();
}
