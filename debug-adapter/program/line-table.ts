import { compareAddresses, partitionPoint } from './search.ts';
import { pathKey } from './source-path.ts';
import type { AddressRange } from './symbols.ts';

/**
 * A row as DWARF has it and as an assembler makes it: from `address` up to the next row's, the code belongs to this
 * line. A row of `endSequence` only gives the end of the one before.
 */
export interface LineRow {
  /** Linear address, unsigned. */
  readonly address: bigint;
  readonly path: string;
  /** From 1; 0 for code that belongs to no line. */
  readonly line: number;
  /** From 1; 0 if unknown. */
  readonly column: number;
  /** True where a breakpoint on the line is sensible. */
  readonly isStatement: boolean;
  readonly endSequence: boolean;
}

export interface SourcePosition {
  readonly path: string;
  readonly line: number;
  /** From 1; 0 if unknown. */
  readonly column: number;
}

/** A piece of code without a gap that belongs to one line. */
export interface LineRange extends SourcePosition, AddressRange {}

/** Where a breakpoint of a source line goes: the line may be a later one, the first that has code. */
export interface LineAddresses {
  readonly line: number;
  readonly column: number;
  readonly addresses: readonly bigint[];
}

export interface BreakpointLocation {
  readonly line: number;
  readonly column: number;
  readonly address: bigint;
}

export interface LineTableOptions {
  /** False for the start of a sequence that is not loaded, as of a function that the linker took out. */
  readonly isLoaded?: (address: bigint) => boolean;
  /** The start of the function that an address is in. */
  readonly functionStart?: (address: bigint) => bigint | undefined;
}

/** Code of one row: not empty, of a line that is not 0. */
interface Span {
  readonly start: bigint;
  readonly end: bigint;
  readonly source: number;
  readonly line: number;
  readonly column: number;
  readonly isStatement: boolean;
}

/** From one source: its breakpoint locations by line, then address. */
interface Source {
  readonly path: string;
  readonly locations: BreakpointLocation[];
}

/** The addresses of source lines and the lines of addresses, of a whole program. */
export class LineTable {
  /** By address, without overlap. */
  readonly #spans: readonly Span[];
  /** For each span the index of the first span of its run: adjacent spans of one line. */
  readonly #runStarts: Uint32Array;
  readonly #table: readonly Source[];
  readonly #sourceByKey = new Map<string, Source>();
  readonly #functionStart: (address: bigint) => bigint | undefined;

  /** @param rows sequences in any order, each in ascending order and ended by a row of `endSequence` */
  constructor(rows: Iterable<LineRow>, options: LineTableOptions = {}) {
    const sources = new SourceIndex();
    this.#spans = readSpans(rows, sources, options.isLoaded ?? (() => true));
    this.#runStarts = findRuns(this.#spans);
    this.#table = sources.paths.map((path) => ({ path, locations: [] }));
    this.#functionStart = options.functionStart ?? (() => undefined);
    for (const source of this.#table) {
      this.#sourceByKey.set(pathKey(source.path), source);
    }
    this.#collectLocations();
  }

  /** The paths of all sources that have code, in the order of their first row. */
  get sources(): string[] {
    return this.#table.filter((source) => source.locations.length > 0).map((source) => source.path);
  }

  /** The line that the instruction at an address belongs to. */
  at(address: bigint): SourcePosition | undefined {
    const span = this.#spans[this.#indexAt(address)];
    const path = span === undefined ? undefined : this.#table[span.source]?.path;
    return span === undefined || path === undefined ? undefined : { path, line: span.line, column: span.column };
  }

  /** The gapless code around an address that belongs to the same line: a step by line leaves it. */
  rangeAt(address: bigint): LineRange | undefined {
    const index = this.#indexAt(address);
    const position = this.at(address);
    const first = this.#runStarts[index];
    const start = first === undefined ? undefined : this.#spans[first]?.start;
    if (position === undefined || first === undefined || start === undefined) {
      return undefined;
    }
    const next = first + partitionPoint(this.#spans.length - first, (i) => (this.#runStarts[first + i] ?? 0) <= first);
    return { ...position, start, end: this.#spans[next - 1]?.end ?? start };
  }

  /** The lines of an address range in ascending order, each with its part of the range: for a disassembly. */
  *within(start: bigint, end: bigint): Generator<LineRange> {
    const first = partitionPoint(this.#spans.length, (index) => (this.#spans[index]?.end ?? 0n) <= start);
    for (let index = first; index < this.#spans.length; index += 1) {
      const span = this.#spans[index];
      const path = span === undefined ? undefined : this.#table[span.source]?.path;
      if (span === undefined || path === undefined || span.start >= end) {
        return;
      }
      const { line, column } = span;
      yield {
        path,
        line,
        column,
        start: span.start > start ? span.start : start,
        end: span.end < end ? span.end : end,
      };
    }
  }

  /**
   * The addresses of a breakpoint on a line, or on the next line that has code; undefined if none has.
   *
   * A line may be compiled several times (inlined, a macro, an included file): each copy has its address. The parts
   * of one copy have not: of `for (a; b; c)` only `a`, known by its column.
   */
  addressesOf(path: string, line: number, column?: number): LineAddresses | undefined {
    const locations = this.#locationsFrom(path, line);
    const first = locations[0];
    if (first === undefined) {
      return undefined;
    }
    const ofLine = locations.slice(
      0,
      partitionPoint(locations.length, (i) => locations[i]?.line === first.line),
    );
    const ofColumn = column === undefined || first.line !== line ? [] : ofLine.filter((at) => at.column === column);
    const chosen = ofColumn.length > 0 ? ofColumn : this.#copiesOf(ofLine);
    return { line: first.line, column: chosen[0]?.column ?? 0, addresses: chosen.map((at) => at.address) };
  }

  /** Where breakpoints can be set in the lines from `startLine` to `endLine`, both included; one for each column. */
  breakpointLocations(path: string, startLine: number, endLine = startLine): BreakpointLocation[] {
    const locations = this.#locationsFrom(path, startLine);
    const seen = new Set<string>();
    return locations
      .slice(
        0,
        partitionPoint(locations.length, (i) => (locations[i]?.line ?? 0) <= endLine),
      )
      .filter(({ line, column }) => !seen.has(`${line}:${column}`) && seen.add(`${line}:${column}`))
      .sort((a, b) => a.line - b.line || a.column - b.column);
  }

  #locationsFrom(path: string, line: number): BreakpointLocation[] {
    const locations = this.#sourceByKey.get(pathKey(path))?.locations ?? [];
    return locations.slice(partitionPoint(locations.length, (index) => (locations[index]?.line ?? 0) < line));
  }

  /** In each function: the lowest address, and all others that begin at the same column. */
  #copiesOf(locations: readonly BreakpointLocation[]): BreakpointLocation[] {
    const firstColumns = new Map<bigint | undefined, number>();
    return locations.filter(({ address, column }) => {
      const start = this.#functionStart(address);
      const first = firstColumns.get(start);
      if (first === undefined) {
        firstColumns.set(start, column);
      }
      return first === undefined || first === column;
    });
  }

  #indexAt(address: bigint): number {
    const index = partitionPoint(this.#spans.length, (i) => (this.#spans[i]?.start ?? 0n) <= address) - 1;
    const span = this.#spans[index];
    return span !== undefined && address < span.end ? index : -1;
  }

  /** Every statement that begins a run, or a column of it, is a location. */
  #collectLocations(): void {
    let isFirst = true;
    this.#spans.forEach((span, index) => {
      isFirst = this.#runStarts[index] === index || isFirst;
      const sameColumn = !isFirst && this.#spans[index - 1]?.column === span.column;
      if (span.isStatement && !sameColumn) {
        this.#table[span.source]?.locations.push({ line: span.line, column: span.column, address: span.start });
        isFirst = false;
      }
    });
    for (const { locations } of this.#table) {
      locations.sort((a, b) => a.line - b.line || compareAddresses(a.address, b.address));
    }
  }
}

/** Gives each path a number, two spellings of one path the same. */
class SourceIndex {
  readonly paths: string[] = [];
  readonly #byPath = new Map<string, number>();
  readonly #byKey = new Map<string, number>();

  of(path: string): number {
    return this.#byPath.get(path) ?? this.#add(path);
  }

  #add(path: string): number {
    const key = pathKey(path);
    const index = this.#byKey.get(key) ?? this.paths.push(path) - 1;
    this.#byKey.set(key, index);
    this.#byPath.set(path, index);
    return index;
  }
}

function readSpans(rows: Iterable<LineRow>, sources: SourceIndex, isLoaded: (address: bigint) => boolean): Span[] {
  const spans: Span[] = [];
  let sequence: LineRow[] = [];
  for (const row of rows) {
    sequence.push(row);
    if (row.endSequence) {
      appendSequence(spans, sequence, sources, isLoaded);
      sequence = [];
    }
  }
  spans.sort((a, b) => compareAddresses(a.start, b.start));
  return withoutOverlap(spans);
}

function appendSequence(
  spans: Span[],
  sequence: LineRow[],
  sources: SourceIndex,
  isLoaded: (address: bigint) => boolean,
): void {
  const first = sequence[0];
  if (first === undefined || !isLoaded(first.address)) {
    return;
  }
  sequence.sort((a, b) => compareAddresses(a.address, b.address));
  let holder = sequence[0] ?? first;
  for (const row of sequence) {
    if (row.address > holder.address) {
      appendSpan(spans, holder, row.address, sources);
      holder = row;
    } else if (replaces(row, holder)) {
      holder = row;
    }
  }
}

/**
 * Of several rows of one address the last statement holds, or the last row if none is one: compilers put rows that are
 * none, of what is inlined there, behind it, and gdb passes over them as well. Of the parts of a line, as of a `for`,
 * the first holds.
 */
function replaces(row: LineRow, holder: LineRow): boolean {
  const isSameLine = row.line === holder.line && row.path === holder.path;
  return holder.isStatement ? row.isStatement && !isSameLine : true;
}

function appendSpan(spans: Span[], row: LineRow, end: bigint, sources: SourceIndex): void {
  const { address: start, path, line, column, isStatement } = row;
  if (line > 0 && path !== '' && !row.endSequence) {
    spans.push({ start, end, source: sources.of(path), line, column, isStatement });
  }
}

/** Where two sequences overlap (which no sound file has), the later row holds. */
function withoutOverlap(sorted: readonly Span[]): Span[] {
  return sorted
    .map((span, index) => {
      const next = sorted[index + 1];
      return next !== undefined && next.start < span.end ? { ...span, end: next.start } : span;
    })
    .filter((span) => span.start < span.end);
}

function findRuns(spans: readonly Span[]): Uint32Array {
  const starts = new Uint32Array(spans.length);
  spans.forEach((span, index) => {
    const before = spans[index - 1];
    const continues = before?.end === span.start && before.source === span.source && before.line === span.line;
    starts[index] = continues ? (starts[index - 1] ?? index) : index;
  });
  return starts;
}
