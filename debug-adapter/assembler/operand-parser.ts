import type { Cursor } from './cursor.ts';
import { type Expression, parseExpression, SyntaxProblem } from './expression.ts';
import { registerNamed } from './registers.ts';
import { type SourceRange, spanOf } from './source.ts';
import {
  type Decorators,
  type MemoryOperand,
  NO_DECORATORS,
  type Operand,
  type OperandBase,
  type RoundingOperand,
} from './syntax.ts';
import { isPunctuator } from './token.ts';

/** Size keywords and their size in bits. */
export const SIZE_KEYWORDS: Readonly<Record<string, number>> = {
  byte: 8,
  word: 16,
  dword: 32,
  qword: 64,
  tword: 80,
  oword: 128,
  yword: 256,
  zword: 512,
};

interface Qualifiers {
  sizeBits?: number;
  strict: boolean;
  distance?: 'short' | 'near' | 'far';
  to: boolean;
}

/** Parses `operand, operand, …` up to the end of the line; throws SyntaxProblem. */
export function parseOperands(cursor: Cursor): Operand[] {
  const operands: Operand[] = [];
  if (cursor.atEnd) return operands;
  do operands.push(parseOperand(cursor));
  while (cursor.acceptPunctuator(','));
  if (!cursor.atEnd) {
    throw new SyntaxProblem(cursor.here, `expected a comma or the end of the line, found ${cursor.found}`);
  }
  return operands;
}

function parseOperand(cursor: Cursor): Operand {
  const start = cursor.here;
  const { to, ...qualifiers } = parseQualifiers(cursor);
  if (isPunctuator(cursor.peek(), '{')) return parseRounding(cursor, start);
  const memory = cursor.acceptPunctuator('[') ? parseMemory(cursor) : undefined;
  const value = memory ? undefined : parseExpression(cursor);
  if (value && cursor.acceptPunctuator(':')) return parseFar(cursor, start, value, qualifiers);
  const decorators = parseDecorators(cursor);
  const base: OperandBase = { ...qualifiers, decorators, range: spanOf(start, cursor.previous) };
  if (memory) return { ...base, ...memory };
  if (value?.kind === 'register') return { ...base, kind: 'register', register: value.register, to };
  return { ...base, kind: 'immediate', value: value as Expression };
}

function parseQualifiers(cursor: Cursor): Qualifiers {
  const found: Qualifiers = { strict: false, to: false };
  for (;;) {
    const token = cursor.peek();
    const word = token?.kind === 'identifier' ? token.text.toLowerCase() : '';
    const size = SIZE_KEYWORDS[word];
    if (size !== undefined) found.sizeBits = size;
    else if (word === 'strict') found.strict = true;
    else if (word === 'to') found.to = true;
    else if (word === 'short' || word === 'near' || word === 'far') found.distance = word;
    else return found;
    cursor.next();
  }
}

function parseFar(
  cursor: Cursor,
  start: SourceRange,
  segment: Expression,
  qualifiers: Omit<Qualifiers, 'to'>,
): Operand {
  const inner = parseQualifiers(cursor);
  if (isPunctuator(cursor.peek(), '[')) {
    throw new SyntaxProblem(spanOf(start, cursor.here), 'a segment override belongs inside the brackets: [es:bx]');
  }
  const offset = parseExpression(cursor);
  const sizeBits = inner.sizeBits ?? qualifiers.sizeBits;
  return {
    ...qualifiers,
    ...(sizeBits === undefined ? {} : { sizeBits }),
    kind: 'far',
    segment,
    offset,
    decorators: NO_DECORATORS,
    range: spanOf(start, cursor.previous),
  };
}

type MemoryParts = Omit<MemoryOperand, keyof OperandBase>;

function parseMemory(cursor: Cursor): MemoryParts {
  const parts: { -readonly [Key in keyof MemoryParts]?: MemoryParts[Key] } = { kind: 'memory', noSplit: false };
  for (;;) {
    const token = cursor.peek();
    const word = token?.kind === 'identifier' ? token.text.toLowerCase() : '';
    const size = SIZE_KEYWORDS[word];
    const register = registerNamed(word);
    if (size !== undefined) parts.displacementBits = size;
    else if (word === 'rel' || word === 'abs') parts.relative = word;
    else if (word === 'nosplit') parts.noSplit = true;
    else if (word === 'a16' || word === 'a32' || word === 'a64') parts.addressBits = Number(word.slice(1));
    else if (register?.class === 'segment' && isPunctuator(cursor.peek(1), ':')) {
      parts.segment = register;
      cursor.next();
    } else break;
    cursor.next();
  }
  const address = parseExpression(cursor);
  if (!cursor.acceptPunctuator(']')) throw new SyntaxProblem(cursor.here, `expected ']', found ${cursor.found}`);
  return { ...(parts as MemoryParts), address };
}

function parseDecorators(cursor: Cursor): Decorators {
  if (!isPunctuator(cursor.peek(), '{')) return NO_DECORATORS;
  const found: { mask?: number; zeroing?: boolean; broadcast?: number } = {};
  while (isPunctuator(cursor.peek(), '{')) {
    const { text, range } = braced(cursor);
    const mask = /^k([0-7])$/u.exec(text);
    const broadcast = /^1to(\d+)$/u.exec(text);
    if (mask) found.mask = Number(mask[1]);
    else if (broadcast) found.broadcast = Number(broadcast[1]);
    else if (text === 'z') found.zeroing = true;
    else throw new SyntaxProblem(range, `expected {k0}..{k7}, {z} or {1toN}, found {${text}}`);
  }
  return found;
}

const ROUNDING_MODES: ReadonlySet<string> = new Set(['rn-sae', 'rd-sae', 'ru-sae', 'rz-sae', 'sae']);

function parseRounding(cursor: Cursor, start: SourceRange): RoundingOperand {
  const { text, range } = braced(cursor);
  if (!ROUNDING_MODES.has(text)) throw new SyntaxProblem(range, `expected a rounding mode, found {${text}}`);
  const mode = text as RoundingOperand['mode'];
  return { kind: 'rounding', mode, strict: false, decorators: {}, range: spanOf(start, range) };
}

/** The text between braces, blanks left out. */
export function braced(cursor: Cursor): { text: string; range: SourceRange } {
  const open = cursor.next();
  let text = '';
  while (!cursor.atEnd && !isPunctuator(cursor.peek(), '}')) text += cursor.next()?.text ?? '';
  const close = cursor.acceptPunctuator('}');
  if (!close || !open) throw new SyntaxProblem(cursor.here, `expected '}', found ${cursor.found}`);
  return { text: text.toLowerCase(), range: spanOf(open.range, close.range) };
}
