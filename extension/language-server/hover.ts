/** Hovers: instructions, registers, names with their values, numbers. */
import type { Hover, Position } from 'vscode-languageserver';
import type { ClassifiedToken, Definition, ParsedSource } from '../../debug-adapter/assembler/index.ts';
import { parseInteger } from '../../debug-adapter/assembler/literals.ts';
import { vmcsFields, widthBitsOf } from '../../engine/index.ts';
import { instructionHover } from './instruction-hover.ts';
import { numberTable } from './number-text.ts';
import { tokenAt, tokensOfLine, toRange } from './positions.ts';
import { registerHover } from './register-text.ts';
import { definitionsOf, type NamedPlace, nameAt } from './symbols.ts';
import type { Unit } from './workspace.ts';

export async function hover(unit: Unit, uri: string, position: Position): Promise<Hover | null> {
  const source = unit.sources.get(uri);
  const token = source && tokenAt(source, position);
  if (!source || !token) return null;
  const value = await textFor(unit, source, token, position);
  return value === undefined ? null : { contents: { kind: 'markdown', value }, range: toRange(token.range) };
}

async function textFor(
  unit: Unit,
  source: ParsedSource,
  token: ClassifiedToken,
  position: Position,
): Promise<string | undefined> {
  if (token.role === 'mnemonic') return instructionHover(unit, source, token);
  if (token.role === 'register') return registerHover(token.text);
  if (token.role === 'number') return numberHover(source, token);
  const place = nameAt(source, position);
  return place && nameHover(unit, place);
}

function numberHover(source: ParsedSource, token: ClassifiedToken): string | undefined {
  const value = parseInteger(token.text);
  if (value === undefined) return undefined;
  const field = vmcsFieldText(source, token, value);
  return [`**${token.text}**`, ...(field === undefined ? [] : [field]), numberTable(value)].join('\n\n');
}

/** The VMCS field of an encoding, where it is likely to be one: after VMREAD or VMWRITE, or under a telling name. */
function vmcsFieldText(source: ParsedSource, token: ClassifiedToken, value: bigint): string | undefined {
  const field = vmcsFields.find((one) => BigInt(one.encoding) === value);
  if (!field) return undefined;
  const words = tokensOfLine(source, token.range.line - 1).map((one) => one.text.toLowerCase());
  const isTold = words.some((word) => /^vm(?:read|write|cs)|_vmcs|^(?:guest|host)_/u.test(word));
  return isTold || value >= 0x2000n
    ? `VMCS field *${field.name}* (${field.group}, ${widthBitsOf(field.encoding)} bits): ${field.doc}`
    : undefined;
}

const kindNames: Readonly<Record<Definition['kind'], string>> = {
  label: 'label',
  equ: 'constant',
  structure: 'structure',
  section: 'section',
  macro: 'macro',
  define: 'macro',
};

async function nameHover(unit: Unit, place: NamedPlace): Promise<string | undefined> {
  const definitions = definitionsOf(unit, place.name, place.range);
  const [definition] = definitions;
  const { symbols, diagnostics } = await unit.program();
  const symbol = symbols.find(
    (one) => one.name === (definition?.kind === 'structure' ? place.name : (definition?.name ?? place.name)),
  );
  if (!definition && !symbol) return undefined;
  const kind = definition ? kindNames[definition.kind] : (symbol?.kind ?? 'label');
  const parts = [`**${place.name}**${parametersOf(definition)} — ${kind}`];
  if (definition) parts.push(...documentationOf(unit, definition));
  if (symbol) {
    if (symbol.section !== undefined) parts.push(`in section \`${symbol.section}\``);
    const known = diagnostics.every((one) => one.severity !== 'error');
    if (!known) parts.push('*The source has errors: the value may change.*');
    parts.push(numberTable(symbol.value));
  }
  return parts.join('\n\n');
}

/** `(a, b)` of a %define stands at the name, `1-3` of a %macro behind a blank. */
function parametersOf(definition: Definition | undefined): string {
  const parameters = definition?.parameters ?? '';
  return parameters === '' || parameters.startsWith('(') ? parameters : ` ${parameters}`;
}

const SHOWN_LINES = 12;

/** The definition's lines (a macro's with its body) and the comment above it. */
function documentationOf(unit: Unit, { range, lastLine, kind }: Definition): string[] {
  const lines = unit.text(range.file).split(/\r\n|\n|\r/u);
  const last = kind === 'label' ? range.line : Math.min(lastLine, range.line + SHOWN_LINES - 1);
  const shown = lines.slice(range.line - 1, last);
  if (kind !== 'label' && last < lastLine) shown.push('…');
  const comment: string[] = [];
  for (let line = range.line - 2; line >= 0 && /^\s*;/u.test(lines[line] ?? ''); line--) {
    comment.unshift((lines[line] ?? '').replace(/^\s*;+\s?/u, ''));
  }
  const code = ['```asm', ...shown.map((line) => line.trimEnd()), '```'].join('\n');
  return comment.length > 0 ? [escapeMarkdown(comment.join('\n')), code] : [code];
}

const escapeMarkdown = (text: string): string => text.replace(/[\\`*_{}[\]<>#|]/gu, '\\$&');
