/** Labels that belong to one macro: `%%done`. Their names mean something between its %macro and its %endmacro alone. */
import type { Position } from 'vscode-languageserver';
import type { ClassifiedToken, ParsedSource } from '../../debug-adapter/assembler/index.ts';
import { tokenAt, tokensOfLine } from './positions.ts';
import type { NamedPlace } from './symbols.ts';

export const isMacroLabel = (name: string): boolean => name.startsWith('%%');

export function macroLabelAt(source: ParsedSource, position: Position): NamedPlace | undefined {
  const token = tokenAt(source, position);
  if (token?.role !== 'preprocessor' || !isMacroLabel(token.text) || token.text.length === 2) return undefined;
  return placeOf(source, token);
}

const placeOf = (source: ParsedSource, token: ClassifiedToken): NamedPlace => ({
  name: token.text,
  range: token.range,
  isDefinition: isDefinition(source, token),
});

/** It stands first in its line, with a colon or a statement behind it. */
const isDefinition = (source: ParsedSource, { range }: ClassifiedToken): boolean =>
  tokensOfLine(source, range.line - 1)[0]?.range.column === range.column;

/** All places of the label within its macro. */
export function macroLabelPlaces(source: ParsedSource, { name, range }: NamedPlace): NamedPlace[] {
  const macro = source.definitions.find(
    (one) => one.kind === 'macro' && one.range.line <= range.line && range.line <= one.lastLine,
  );
  return source.tokens
    .filter(
      (token) =>
        token.text === name &&
        token.role === 'preprocessor' &&
        macro !== undefined &&
        macro.range.line <= token.range.line &&
        token.range.line <= macro.lastLine,
    )
    .map((token) => placeOf(source, token));
}
