/** Renames labels (local ones with their label's name in front where it is written), constants, macros, structures. */
import type { Position, Range, TextEdit, WorkspaceEdit } from 'vscode-languageserver';
import { isReservedWord, registerNamed, type SourceRange } from '../../debug-adapter/assembler/index.ts';
import { isMacroLabel } from './macro-labels.ts';
import { sameRange, toRange } from './positions.ts';
import { definitionsOf, isLocal, localPart, type NamedPlace, nameAt, placesOf, textAt } from './symbols.ts';
import type { Unit, Workspace } from './workspace.ts';

/** What the user may not do, with what would do instead. */
export class RenameProblem extends Error {}

interface Renaming {
  readonly place: NamedPlace;
  /** The part of the place that the new name replaces. */
  readonly range: SourceRange;
  readonly placeholder: string;
}

export async function prepareRename(
  workspace: Workspace,
  uri: string,
  position: Position,
): Promise<{ range: Range; placeholder: string }> {
  const unit = await workspace.unitOf(uri);
  const { range, placeholder } = renamingAt(unit, uri, position);
  return { range: toRange(range), placeholder };
}

function renamingAt(unit: Unit | undefined, uri: string, position: Position): Renaming {
  const source = unit?.sources.get(uri);
  const place = source && nameAt(source, position);
  if (!unit || !place) throw new RenameProblem('expected a label, a constant, a macro or a structure here');
  if (isMacroLabel(place.name)) return partToRename(unit, place);
  const [target] = definitionsOf(unit, place.name, place.range);
  if (!target || target.name !== place.name) {
    throw new RenameProblem(`'${place.name}' is not defined in the sources as written, so it cannot be renamed`);
  }
  if (target.kind === 'section') throw new RenameProblem('a section cannot be renamed');
  return partToRename(unit, place);
}

/** Of a name such as `start.loop`, the part after the dot. */
function partToRename(unit: Unit, place: NamedPlace): Renaming {
  const { name, range } = place;
  const text = textAt(unit, range) ?? name;
  const dot = isLocal(name) ? text.indexOf('.', text.startsWith('.') ? 0 : 1) : -1;
  const escaped = text.startsWith('$') ? 1 : 0;
  const start = dot >= 0 ? dot : escaped;
  return {
    place,
    range: { ...range, column: range.column + start, length: range.length - start },
    placeholder: text.slice(start),
  };
}

export async function rename(
  workspace: Workspace,
  uri: string,
  position: Position,
  newName: string,
): Promise<WorkspaceEdit> {
  const changes: Record<string, TextEdit[]> = {};
  const seen: SourceRange[] = [];
  for (const unit of await workspace.unitsWith(uri)) {
    const { place } = renamingAt(unit, uri, position);
    checkName(unit, place.name, newName);
    for (const edit of editsOf(unit, place, newName)) {
      if (seen.some((one) => sameRange(one, edit.range))) continue;
      seen.push(edit.range);
      (changes[edit.range.file] ??= []).push({ range: toRange(edit.range), newText: edit.newText });
    }
  }
  return { changes };
}

/** What a new name looks like, and how that is said. */
function formOf(name: string): readonly [RegExp, string] {
  if (isMacroLabel(name)) return [/^%%[A-Za-z_?][\w?@$#~]*$/u, '%% and a name, such as %%done'];
  if (isLocal(name)) return [/^\.[A-Za-z_?][\w?@$#~]*$/u, 'a dot and a name, such as .loop'];
  return [/^[A-Za-z_?][\w?@$#~]*$/u, 'a name of letters, digits and _, such as main_loop'];
}

function checkName(unit: Unit, name: string, newName: string): void {
  const local = isLocal(name);
  const [form, expected] = formOf(name);
  if (!form.test(newName)) {
    throw new RenameProblem(`expected ${expected}; found '${newName}'`);
  }
  if (!local && (isReservedWord(newName) || registerNamed(newName))) {
    throw new RenameProblem(`'${newName}' is a word of the assembler's and cannot be a name`);
  }
  const full = local ? name.slice(0, name.length - localPart(name).length) + newName : newName;
  if (full !== name && definitionsOf(unit, full).some((one) => one.name === full)) {
    throw new RenameProblem(`'${full}' is already defined: choose another name`);
  }
}

function editsOf(unit: Unit, place: NamedPlace, newName: string): { range: SourceRange; newText: string }[] {
  const places = placesOf(unit, place).map((one) => ({ range: partToRename(unit, one).range, newText: newName }));
  return isLocal(place.name) ? places : [...places, ...ownersOf(unit, place.name, newName)];
}

/** `start` where it is written in front of its local labels: `start.loop`. */
function ownersOf(unit: Unit, name: string, newText: string): { range: SourceRange; newText: string }[] {
  return [...unit.sources.values()].flatMap((source) =>
    source.references
      .filter((one) => one.name.startsWith(`${name}.`) && textAt(unit, one.range)?.startsWith(`${name}.`))
      .map(({ range }) => ({ range: { ...range, length: name.length }, newText })),
  );
}
