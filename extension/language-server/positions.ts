/** Between the assembler's places (lines and columns from 1) and those of the Language Server Protocol (from 0). */
import type { Position, Range } from 'vscode-languageserver';
import type { ClassifiedToken, ParsedLine, ParsedSource, SourceRange } from '../../debug-adapter/assembler/index.ts';

export function toRange({ line, column, length }: SourceRange): Range {
  return {
    start: { line: line - 1, character: column - 1 },
    end: { line: line - 1, character: column - 1 + length },
  };
}

/** True also just behind the last character, where a cursor stands after typing a word. */
export function covers({ line, column, length }: SourceRange, { line: at, character }: Position): boolean {
  return line - 1 === at && column - 1 <= character && character <= column - 1 + length;
}

export const sameRange = (a: SourceRange, b: SourceRange): boolean =>
  a.file === b.file && a.line === b.line && a.column === b.column;

/** Groups by source line; made once a source. */
function byLine<T>(items: readonly T[], lineOf: (item: T) => number): ReadonlyMap<number, readonly T[]> {
  const lines = new Map<number, T[]>();
  for (const item of items) {
    const line = lines.get(lineOf(item));
    if (line) line.push(item);
    else lines.set(lineOf(item), [item]);
  }
  return lines;
}

const tokenIndex = new WeakMap<ParsedSource, ReadonlyMap<number, readonly ClassifiedToken[]>>();
const lineIndex = new WeakMap<ParsedSource, ReadonlyMap<number, readonly ParsedLine[]>>();

/** The tokens of a line (from 0), from left to right. */
export function tokensOfLine(source: ParsedSource, line: number): readonly ClassifiedToken[] {
  let index = tokenIndex.get(source);
  if (!index) tokenIndex.set(source, (index = byLine(source.tokens, (token) => token.range.line)));
  return [...(index.get(line + 1) ?? [])].sort((a, b) => a.range.column - b.range.column);
}

/** The line as parsed (counted from 0), or undefined where it is empty. */
export function parsedLine(source: ParsedSource, line: number): ParsedLine | undefined {
  let index = lineIndex.get(source);
  if (!index) lineIndex.set(source, (index = byLine(source.lines, (one) => startOf(one).line)));
  return index.get(line + 1)?.[0];
}

const startOf = (line: ParsedLine): SourceRange => (line.kind === 'statement' ? line.statement.range : line.range);

/** The token under the cursor; between two that touch, the word rather than the punctuation. */
export function tokenAt(source: ParsedSource, position: Position): ClassifiedToken | undefined {
  const touching = tokensOfLine(source, position.line).filter((token) => covers(token.range, position));
  return touching.find((token) => token.role !== 'operator' && token.role !== 'comment') ?? touching[0];
}
