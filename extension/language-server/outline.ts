/** The outline of a source: sections, labels with their local labels, macros, structures with their fields, constants. */
import { type DocumentSymbol, SymbolKind } from 'vscode-languageserver';
import type { Definition, DefinitionKind, ParsedSource } from '../../debug-adapter/assembler/index.ts';
import { toRange } from './positions.ts';
import { isLocal, localPart } from './symbols.ts';

const kinds: Readonly<Record<DefinitionKind, SymbolKind>> = {
  label: SymbolKind.Function,
  equ: SymbolKind.Constant,
  define: SymbolKind.Constant,
  structure: SymbolKind.Struct,
  section: SymbolKind.Namespace,
  macro: SymbolKind.Method,
};

/** A definition with the lines (from 1) that belong to it. */
export interface Extent {
  readonly definition: Definition;
  readonly first: number;
  readonly last: number;
}

/** Which definitions end a label's or section's extent: those of the same kind or a larger one. */
const endsLabel = ({ kind, name }: Definition): boolean =>
  (kind === 'label' && !isLocal(name)) || kind === 'section' || kind === 'macro' || kind === 'structure';

/** Definitions in source order with their extents; those inside of a macro or structure lie within its extent. */
export function extentsOf(source: ParsedSource): Extent[] {
  const sorted = [...source.definitions].sort((a, b) => a.range.line - b.range.line || a.range.column - b.range.column);
  const blocks = sorted.filter((one) => one.kind === 'macro' || one.kind === 'structure');
  const blockAround = (line: number): Definition | undefined =>
    blocks.find((one) => one.range.line < line && line <= one.lastLine);
  const end = Math.max(1, ...source.lines.map((line) => lineOf(line)));
  return sorted.map((definition, index) => {
    const { line } = definition.range;
    const block = blockAround(line);
    const ends = definition.kind === 'section' ? (one: Definition) => one.kind === 'section' : endsLabel;
    const opens = definition.kind === 'section' || (definition.kind === 'label' && !isLocal(definition.name));
    if (!opens) return { definition, first: line, last: definition.lastLine };
    const next = firstAfter(sorted, index, (one) => ends(one) && blockAround(one.range.line) === block);
    const last = Math.min(next ? next.range.line - 1 : end, block ? block.lastLine : end);
    return { definition, first: line, last: Math.max(line, last) };
  });
}

function firstAfter<T>(list: readonly T[], index: number, accept: (item: T) => boolean): T | undefined {
  for (let next = index + 1; next < list.length; next++) {
    const item = list[next];
    if (item !== undefined && accept(item)) return item;
  }
  return undefined;
}

const lineOf = (line: ParsedSource['lines'][number]): number =>
  line.kind === 'statement' ? line.statement.range.line : line.range.line;

export function documentSymbols(source: ParsedSource): DocumentSymbol[] {
  const top: DocumentSymbol[] = [];
  const open: { extent: Extent; symbol: DocumentSymbol }[] = [];
  for (const extent of extentsOf(source)) {
    const symbol = symbolOf(extent);
    while (open.length > 0 && (open.at(-1)?.extent.last ?? 0) < extent.first) open.pop();
    const parent = parentOf(open, extent);
    if (parent) (parent.children ??= []).push(symbol);
    else top.push(symbol);
    if (extent.last > extent.first) open.push({ extent, symbol });
  }
  return top;
}

/** The innermost open extent that holds the whole of this one. */
function parentOf(
  open: readonly { extent: Extent; symbol: DocumentSymbol }[],
  { last }: Extent,
): DocumentSymbol | undefined {
  return [...open].reverse().find((one) => one.extent.last >= last)?.symbol;
}

function symbolOf({ definition, last }: Extent): DocumentSymbol {
  const { name, kind, range, parameters } = definition;
  const selectionRange = toRange(range);
  const wholeLines = { start: { line: range.line - 1, character: 0 }, end: { line: last - 1, character: 1e6 } };
  return {
    name: isLocal(name) && kind !== 'section' ? localPart(name) : name,
    kind: kind === 'label' && isLocal(name) ? SymbolKind.Field : kinds[kind],
    range: last > range.line ? wholeLines : selectionRange,
    selectionRange,
    ...(parameters === undefined ? {} : { detail: parameters }),
  };
}
