/** Go to definition, references and highlights. */
import { type DocumentHighlight, DocumentHighlightKind, type Location, type Position } from 'vscode-languageserver';
import type { SourceRange } from '../../debug-adapter/assembler/index.ts';
import { uriOfFile } from './files.ts';
import { covers, sameRange, toRange } from './positions.ts';
import { definitionPlaces, nameAt, placesOf } from './symbols.ts';
import type { Unit, Workspace } from './workspace.ts';

const locationOf = (range: SourceRange): Location => ({
  uri: uriOfFile(range.file) ?? range.file,
  range: toRange(range),
});

export async function definition(workspace: Workspace, uri: string, position: Position): Promise<Location[]> {
  const unit = await workspace.unitOf(uri);
  const source = unit?.sources.get(uri);
  if (!unit || !source) return [];
  const include = source.includes.find((one) => covers(one.range, position));
  if (include) {
    const target = await workspace.resolve(include.path, uri);
    const start = { line: 0, character: 0 };
    return target === undefined ? [] : [{ uri: target, range: { start, end: start } }];
  }
  const place = nameAt(source, position);
  return place ? (await definitionPlaces(unit, place)).map(locationOf) : [];
}

/** In all open sources that share the file, and all that those include. */
export async function references(
  workspace: Workspace,
  uri: string,
  position: Position,
  includeDeclaration: boolean,
): Promise<Location[]> {
  const found: SourceRange[] = [];
  for (const unit of await workspace.unitsWith(uri)) {
    const source = unit.sources.get(uri);
    const place = source && nameAt(source, position);
    if (!place) continue;
    for (const { range, isDefinition } of placesOf(unit, place)) {
      const known = found.some((one) => sameRange(one, range));
      if (!known && (includeDeclaration || !isDefinition)) found.push(range);
    }
  }
  return found.map(locationOf);
}

export function highlights(unit: Unit, uri: string, position: Position): DocumentHighlight[] {
  const source = unit.sources.get(uri);
  const place = source && nameAt(source, position);
  if (!place) return [];
  return placesOf(unit, place)
    .filter(({ range }) => range.file === uri)
    .map(({ range, isDefinition }) => ({
      range: toRange(range),
      kind: isDefinition ? DocumentHighlightKind.Write : DocumentHighlightKind.Read,
    }));
}
