/** Semantic tokens. Mnemonics of privileged and of sensitive instructions carry modifiers of their own. */
import {
  type Range,
  type SemanticTokens,
  SemanticTokensBuilder,
  type SemanticTokensLegend,
} from 'vscode-languageserver';
import type { ClassifiedToken, DefinitionKind, ParsedSource, TokenRole } from '../../debug-adapter/assembler/index.ts';
import { classifyText, instructionIn } from './instruction-form.ts';
import { parsedLine } from './positions.ts';
import type { Unit } from './workspace.ts';

/** `mnemonic`, `register`, `directive` and `section` are Ringside's own; package.json declares them. */
const tokenTypes = [
  'mnemonic',
  'register',
  'directive',
  'section',
  'label',
  'enumMember',
  'struct',
  'macro',
  'keyword',
  'number',
  'string',
  'operator',
  'comment',
] as const;
type TokenType = (typeof tokenTypes)[number];

const tokenModifiers = ['declaration', 'privileged', 'sensitive'] as const;
type TokenModifier = (typeof tokenModifiers)[number];

export const legend: SemanticTokensLegend = { tokenTypes: [...tokenTypes], tokenModifiers: [...tokenModifiers] };

const byRole: Readonly<Record<TokenRole, TokenType>> = {
  mnemonic: 'mnemonic',
  prefix: 'mnemonic',
  directive: 'directive',
  preprocessor: 'directive',
  macro: 'macro',
  register: 'register',
  keyword: 'keyword',
  definition: 'label',
  symbol: 'label',
  number: 'number',
  string: 'string',
  operator: 'operator',
  comment: 'comment',
};

const byKind: Readonly<Record<DefinitionKind, TokenType>> = {
  label: 'label',
  equ: 'enumMember',
  define: 'macro',
  macro: 'macro',
  structure: 'struct',
  section: 'section',
};

export function semanticTokens(unit: Unit, source: ParsedSource, range?: Range): SemanticTokens {
  const builder = new SemanticTokensBuilder();
  const kinds = kindsOf(unit);
  const sections = new Set(source.definitions.filter((one) => one.kind === 'section').map((one) => keyOf(one.range)));
  for (const token of inOrder(source.tokens, range)) {
    const { line, column, length } = token.range;
    const type = sections.has(keyOf(token.range)) ? 'section' : typeOf(token, kinds);
    builder.push(line - 1, column - 1, length, tokenTypes.indexOf(type), modifierBits(modifiersOf(source, token)));
  }
  return builder.build();
}

const keyOf = ({ line, column }: { line: number; column: number }): string => `${line}:${column}`;

function inOrder(tokens: readonly ClassifiedToken[], range: Range | undefined): ClassifiedToken[] {
  const wanted = range
    ? tokens.filter(({ range: { line } }) => line > range.start.line && line <= range.end.line + 1)
    : [...tokens];
  return wanted.sort((a, b) => a.range.line - b.range.line || a.range.column - b.range.column);
}

function kindsOf(unit: Unit): ReadonlyMap<string, DefinitionKind> {
  const all = [...unit.sources.values()].flatMap((source) => source.definitions);
  return new Map(all.map(({ name, kind }) => [name, kind]));
}

function typeOf({ role, text }: ClassifiedToken, kinds: ReadonlyMap<string, DefinitionKind>): TokenType {
  const kind = role === 'symbol' || role === 'definition' ? kinds.get(text) : undefined;
  return kind === undefined || kind === 'section' ? byRole[role] : byKind[kind];
}

function modifiersOf(source: ParsedSource, token: ClassifiedToken): TokenModifier[] {
  if (token.role === 'definition') return ['declaration'];
  if (token.role !== 'mnemonic') return [];
  const instruction = instructionIn(parsedLine(source, token.range.line - 1), token.range);
  const facts = classifyText(token.text, instruction?.operands ?? []);
  const modifiers: TokenModifier[] = [];
  if (facts?.privileged) modifiers.push('privileged');
  if (facts?.sensitive) modifiers.push('sensitive');
  return modifiers;
}

const modifierBits = (modifiers: readonly TokenModifier[]): number =>
  modifiers.reduce((bits, modifier) => bits | (1 << tokenModifiers.indexOf(modifier)), 0);
