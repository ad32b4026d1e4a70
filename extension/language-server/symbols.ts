/** What a name means: its definitions and the places it is used at, over all sources of a unit. */
import type { Position } from 'vscode-languageserver';
import type { Definition, ParsedSource, Reference, SourceRange } from '../../debug-adapter/assembler/index.ts';
import { isMacroLabel, macroLabelAt, macroLabelPlaces } from './macro-labels.ts';
import { covers, sameRange, tokensOfLine } from './positions.ts';
import type { Unit } from './workspace.ts';

export interface NamedPlace {
  /** With the label a local name belongs to. */
  readonly name: string;
  readonly range: SourceRange;
  readonly isDefinition: boolean;
}

/** The name under the cursor. */
export function nameAt(source: ParsedSource, position: Position): NamedPlace | undefined {
  const definition = source.definitions.find((one) => covers(one.range, position));
  if (definition) return { name: definition.name, range: definition.range, isDefinition: true };
  const reference = source.references.find((one) => covers(one.range, position));
  if (reference) return { name: reference.name, range: reference.range, isDefinition: false };
  return macroLabelAt(source, position);
}

export const isLocal = (name: string): boolean => /[^.]\./u.test(name);

/** The part of a local name after the label it belongs to, with its dot: `.loop` of `start.loop`. */
export const localPart = (name: string): string => name.slice(name.indexOf('.', 1));

const ignoresCase = (definition: Definition): boolean => definition.kind === 'macro' || definition.kind === 'define';

/**
 * Definitions of a name in the sources as written. Where there is none: macros in another case, the structure of
 * `name_size`, and a local label of that name whose owner a macro defines.
 */
export function definitionsOf(unit: Unit, name: string, at?: SourceRange): readonly Definition[] {
  const all = [...unit.sources.values()].flatMap((source) => source.definitions);
  const named = all.filter((one) => one.name === name && one.kind !== 'section');
  if (named.length > 0) return named;
  const lower = name.toLowerCase();
  const folded = all.filter((one) => ignoresCase(one) && one.name.toLowerCase() === lower);
  if (folded.length > 0) return folded;
  const structure = all.filter((one) => one.kind === 'structure' && `${one.name}_size` === name);
  if (structure.length > 0 || !isLocal(name) || !at) return structure;
  return nearest(
    all.filter((one) => isLocal(one.name) && localPart(one.name) === localPart(name) && one.range.file === at.file),
    at.line,
  );
}

function nearest(definitions: readonly Definition[], line: number): Definition[] {
  const distance = (one: Definition): number => Math.abs(one.range.line - line);
  const [first] = [...definitions].sort((a, b) => distance(a) - distance(b));
  return first ? [first] : [];
}

/** Where a name is defined: as written, or else by the macro that the assembler found to define it. */
export async function definitionPlaces(unit: Unit, place: NamedPlace): Promise<SourceRange[]> {
  const { name, range } = place;
  if (isMacroLabel(name)) {
    return placesOf(unit, place)
      .filter((one) => one.isDefinition)
      .map((one) => one.range);
  }
  const written = definitionsOf(unit, name, range);
  if (written.length > 0) return written.map((one) => one.range);
  const { symbols } = await unit.program();
  return symbols.filter((one) => one.name === name).map((one) => one.location);
}

/** All places where a name stands, its definitions first. */
export function placesOf(unit: Unit, place: NamedPlace): NamedPlace[] {
  const { name, range } = place;
  const own = isMacroLabel(name) ? unit.sources.get(range.file) : undefined;
  if (own) return macroLabelPlaces(own, place);
  const sources = [...unit.sources.values()];
  const definitions = sources.flatMap((source) =>
    source.definitions
      .filter((one) => one.name === name && one.kind !== 'section')
      .map((one) => ({ name, range: one.range, isDefinition: true })),
  );
  const references = sources
    .flatMap((source) => source.references)
    .filter((one: Reference) => one.name === name && !definitions.some((d) => sameRange(d.range, one.range)))
    .map((one) => ({ name, range: one.range, isDefinition: false }));
  return [...definitions, ...references];
}

/** The text of a token of the unit, given its range. */
export function textAt(unit: Unit, range: SourceRange): string | undefined {
  const source = unit.sources.get(range.file);
  const token = source && tokensOfLine(source, range.line - 1).find((one) => sameRange(one.range, range));
  return token?.text;
}
