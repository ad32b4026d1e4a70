import type { Bits } from './address.ts';
import type { Assembler, OpenStructure } from './assembler.ts';
import { Cursor } from './cursor.ts';
import { evaluate } from './evaluate.ts';
import { type Expression, parseExpression, SyntaxProblem } from './expression.ts';
import type { Section, SectionAttributes } from './section.ts';
import { padStructure } from './space.ts';
import { isPunctuator, type Token } from './token.ts';
import { addValues, constantValue, isRelocatable, scaleValue } from './value.ts';

type Directive = (assembler: Assembler, name: Token, cursor: Cursor) => void;

/** Executes `section`, `bits`, `org`, … in the present pass; a fault is reported to the assembler. */
export function executeDirective(assembler: Assembler, name: Token, tokens: readonly Token[]): void {
  const directive = DIRECTIVES[name.text.toLowerCase()];
  const cursor = new Cursor(tokens, name.range);
  try {
    directive?.(assembler, name, cursor);
    if (directive && !cursor.atEnd) {
      throw new SyntaxProblem(cursor.here, `expected the end of the directive, found ${cursor.found}`);
    }
  } catch (problem) {
    if (!(problem instanceof SyntaxProblem)) throw problem;
    assembler.error(problem.range, problem.message);
  }
}

const DIRECTIVES: Readonly<Record<string, Directive>> = {
  section: executeSection,
  segment: executeSection,
  bits: executeBits,
  use16: (assembler) => setBits(assembler, 16),
  use32: (assembler) => setBits(assembler, 32),
  use64: (assembler) => setBits(assembler, 64),
  org: executeOrg,
  absolute: executeAbsolute,
  default: executeDefault,
  sectalign: (_assembler, _name, cursor) => skip(cursor),
  global: executeNames,
  static: executeNames,
  extern: refuseExternal,
  common: refuseExternal,
  required: refuseExternal,
  cpu: (_assembler, _name, cursor) => skip(cursor),
  float: (_assembler, _name, cursor) => skip(cursor),
  warning: (_assembler, _name, cursor) => skip(cursor),
  list: (_assembler, _name, cursor) => skip(cursor),
  debug: (_assembler, _name, cursor) => skip(cursor),
  map: (_assembler, _name, cursor) => skip(cursor),
  struc: openStruc,
  endstruc: closeStruc,
  istruc: openIstruc,
  iend: closeIstruc,
};

function skip(cursor: Cursor): void {
  while (!cursor.atEnd) cursor.next();
}

function setBits(assembler: Assembler, bits: Bits): void {
  assembler.bits = bits;
}

function executeBits(assembler: Assembler, name: Token, cursor: Cursor): void {
  const expression = parseExpression(cursor);
  const bits = assembler.critical(expression, 'BITS');
  if (bits === 16n || bits === 32n || bits === 64n) setBits(assembler, Number(bits) as Bits);
  else if (bits !== undefined)
    assembler.error(expression.range, `expected 16, 32 or 64 after '${name.text}', found ${bits}`);
}

function executeOrg(assembler: Assembler, name: Token, cursor: Cursor): void {
  const expression = parseExpression(cursor);
  const origin = assembler.critical(expression, 'ORG');
  if (origin === undefined) return;
  if (assembler.origin !== undefined)
    assembler.error(name.range, 'the origin of the program is already set by another ORG');
  else if (origin < 0n || origin > BigInt(Number.MAX_SAFE_INTEGER)) {
    assembler.error(expression.range, `expected an origin from 0 to 2^53-1, found ${origin}`);
  } else assembler.origin = Number(origin);
}

function executeAbsolute(assembler: Assembler, _name: Token, cursor: Cursor): void {
  const expression = parseExpression(cursor);
  const base = evaluate(expression, assembler.context);
  if (isRelocatable(base)) assembler.location = { kind: 'absolute', base, offset: 0 };
  else assembler.error(expression.range, 'expected a number or one address after ABSOLUTE');
}

function executeDefault(assembler: Assembler, _name: Token, cursor: Cursor): void {
  while (!cursor.atEnd) {
    const word = cursor.peek()?.text.toLowerCase();
    if (word === 'rel') assembler.defaultRelative = true;
    else if (word === 'abs') assembler.defaultRelative = false;
    else if (word !== 'bnd' && word !== 'nobnd') {
      throw new SyntaxProblem(cursor.here, `expected 'rel' or 'abs' after 'default', found ${cursor.found}`);
    }
    cursor.next();
    cursor.acceptPunctuator(',');
  }
}

/** A flat binary has no symbol table, so GLOBAL only names labels. */
function executeNames(_assembler: Assembler, _name: Token, cursor: Cursor): void {
  if (cursor.peek()?.kind !== 'identifier')
    throw new SyntaxProblem(cursor.here, `expected a symbol, found ${cursor.found}`);
  skip(cursor);
}

function refuseExternal(assembler: Assembler, name: Token, cursor: Cursor): void {
  assembler.warning(name.range, `a flat binary is not linked, so '${name.text}' finds no other file to look in`);
  skip(cursor);
}

function executeSection(assembler: Assembler, _name: Token, cursor: Cursor): void {
  const name = sectionName(cursor);
  const section = assembler.section(name.text, name.range);
  while (!cursor.atEnd) {
    parseAttribute(assembler, section, cursor);
    cursor.acceptPunctuator(',');
  }
  assembler.location = { kind: 'section', section };
}

/** A section name runs up to white space and may hold characters that make several tokens. */
function sectionName(cursor: Cursor): { text: string; range: Token['range'] } {
  const first = cursor.next();
  if (!first) throw new SyntaxProblem(cursor.here, 'expected the name of a section');
  let text = first.value ?? first.text;
  for (let token = cursor.peek(); token && !token.spaced && first.kind !== 'string'; token = cursor.peek()) {
    text += token.text;
    cursor.next();
  }
  return { text, range: first.range };
}

const NUMBERS: ReadonlySet<string> = new Set(['align', 'valign', 'start', 'vstart']);

function parseAttribute(assembler: Assembler, section: Section, cursor: Cursor): void {
  const token = cursor.next();
  const word = token?.text.toLowerCase() ?? '';
  const attributes: SectionAttributes = section.attributes;
  if (word === 'progbits' || word === 'nobits') attributes.type = word;
  else if (!isPunctuator(cursor.peek(), '=') || !token) {
    if (!IGNORED_ATTRIBUTES.has(word))
      throw new SyntaxProblem(token?.range ?? cursor.here, `'${word}' is no attribute of a section`);
  } else {
    cursor.next();
    if (word === 'follows' || word === 'vfollows') attributes[word] = sectionName(cursor).text;
    else if (NUMBERS.has(word)) setNumber(assembler, attributes, word as NumberAttribute, parseExpression(cursor));
    else throw new SyntaxProblem(token.range, `'${word}' is no attribute of a section`);
  }
}

/** What object formats know and a flat binary has no use for. */
const IGNORED_ATTRIBUTES: ReadonlySet<string> = new Set([
  'exec',
  'noexec',
  'write',
  'nowrite',
  'alloc',
  'noalloc',
  'code',
  'data',
  'bss',
]);

type NumberAttribute = 'align' | 'valign' | 'start' | 'vstart';

function setNumber(
  assembler: Assembler,
  attributes: SectionAttributes,
  name: NumberAttribute,
  expression: Expression,
): void {
  if (evaluate(expression, assembler.context).unknown !== 0) return;
  const value = assembler.critical(expression, `${name}=`);
  if (value === undefined) return;
  const isAlignment = name === 'align' || name === 'valign';
  const valid = isAlignment ? value > 0n && (value & (value - 1n)) === 0n : value >= 0n;
  if (!valid || value > BigInt(Number.MAX_SAFE_INTEGER)) {
    const expected = isAlignment ? 'a power of two' : 'an address from 0 to 2^53-1';
    assembler.error(expression.range, `expected ${expected} for ${name}=, found ${value}`);
  } else attributes[name] = Number(value);
}

function structureName(cursor: Cursor): Token {
  const token = cursor.next();
  if (token?.kind !== 'identifier')
    throw new SyntaxProblem(token?.range ?? cursor.here, 'expected the name of a structure');
  return token;
}

function openStruc(assembler: Assembler, _name: Token, cursor: Cursor): void {
  const name = structureName(cursor);
  cursor.acceptPunctuator(',');
  const offset = cursor.atEnd ? 0n : (assembler.critical(parseExpression(cursor), 'the first offset') ?? 0n);
  const open: OpenStructure = { kind: 'struc', name: name.text, range: name.range, outer: assembler.location };
  assembler.structures.push(open);
  assembler.location = { kind: 'absolute', base: constantValue(offset), offset: 0 };
  assembler.defineLabel(name.text, name.range);
}

function closeStruc(assembler: Assembler, name: Token): void {
  const open = assembler.structures.pop();
  if (open?.kind !== 'struc' || !open.outer) {
    if (open) assembler.structures.push(open);
    assembler.error(name.range, "'endstruc' without 'struc'");
    return;
  }
  const start = assembler.symbols.lookup(open.name, assembler.pass) ?? constantValue(0n);
  const size = addValues(assembler.currentAddress(), scaleValue(start, -1n));
  assembler.symbols.define(`${open.name}_size`, 'equ', size, open.range, assembler.pass);
  assembler.location = open.outer;
}

function openIstruc(assembler: Assembler, _name: Token, cursor: Cursor): void {
  const name = structureName(cursor);
  const start = assembler.currentAddress();
  assembler.structures.push({ kind: 'istruc', name: name.text, range: name.range, start });
}

function closeIstruc(assembler: Assembler, name: Token): void {
  const open = assembler.structures.pop();
  if (open?.kind !== 'istruc') {
    if (open) assembler.structures.push(open);
    assembler.error(name.range, "'iend' without 'istruc'");
    return;
  }
  const size = assembler.context.symbol(`${open.name}_size`, open.range);
  if (size.unknown === 0) padStructure(assembler, open, size.constant, name.range);
}
