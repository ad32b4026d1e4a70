/** Folding ranges: macros, structures, labels, conditional and repeated blocks, comments of several lines. */
import { type FoldingRange, FoldingRangeKind } from 'vscode-languageserver';
import type { ParsedSource } from '../../debug-adapter/assembler/index.ts';
import { extentsOf } from './outline.ts';

const openers = /^%(?:if|rep$|comment$)/iu;
const closers: ReadonlySet<string> = new Set(['%endif', '%endrep', '%endcomment']);
const branches = /^%(?:else|elif)/iu;

export function foldingRanges(source: ParsedSource): FoldingRange[] {
  const blocks = extentsOf(source).map(({ first, last }) => ({ startLine: first - 1, endLine: last - 1 }));
  const all = [...blocks, ...preprocessorBlocks(source), ...comments(source)];
  return all.filter((range) => range.endLine > range.startLine);
}

function preprocessorBlocks(source: ParsedSource): FoldingRange[] {
  const ranges: FoldingRange[] = [];
  const open: number[] = [];
  for (const line of source.lines) {
    if (line.kind !== 'preprocessor') continue;
    const word = line.directive.text.toLowerCase();
    const at = line.range.line - 1;
    const ends = closers.has(word) || branches.test(word);
    const start = ends ? open.pop() : undefined;
    if (start !== undefined) ranges.push({ startLine: start, endLine: at - 1 });
    if (openers.test(word) || branches.test(word)) open.push(at);
  }
  return ranges;
}

/** Comments on lines of their own, as many as follow each other. */
function comments(source: ParsedSource): FoldingRange[] {
  const occupied = new Set(source.tokens.filter((one) => one.role !== 'comment').map((one) => one.range.line));
  const lines = source.tokens.filter((one) => one.role === 'comment' && !occupied.has(one.range.line));
  const ranges: { startLine: number; endLine: number; kind: FoldingRangeKind }[] = [];
  for (const { range } of lines) {
    const line = range.line - 1;
    const last = ranges.at(-1);
    if (last?.endLine === line - 1) last.endLine = line;
    else ranges.push({ startLine: line, endLine: line, kind: FoldingRangeKind.Comment });
  }
  return ranges;
}
