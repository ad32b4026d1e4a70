/** A stretch of one source line. Lines and columns count from 1; the length is in UTF-16 code units. */
export interface SourceRange {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly length: number;
}

export type Severity = 'error' | 'warning';

/** A message about a stretch of one source line; `endColumn` is the column after the last character. */
export interface Diagnostic {
  readonly severity: Severity;
  readonly message: string;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly endColumn: number;
}

/** Where a line that a macro produced came from: the outermost invocation, and the line of the innermost body. */
export interface Expansion {
  readonly site: SourceRange;
  readonly macro: string;
}

/** The longest list of diagnostics that one run reports; a file that is not assembly at all must stay readable. */
const MAXIMUM_DIAGNOSTICS = 500;

/** Collects diagnostics; nothing in the assembler throws for a fault of the source. */
export class Diagnostics {
  readonly #list: Diagnostic[] = [];
  readonly #seen = new Set<string>();
  readonly #limit: number;

  /** With a limit of 0 nothing is kept. */
  constructor(limit = MAXIMUM_DIAGNOSTICS) {
    this.#limit = limit;
  }

  /** Whether any further report would be dropped. */
  get isFull(): boolean {
    return this.#list.length >= this.#limit;
  }

  get list(): readonly Diagnostic[] {
    return this.#list;
  }

  /** Reports an error at `range`, or at the macro invocation that produced it. */
  error(range: SourceRange, message: string, expansion?: Expansion): void {
    this.#add('error', range, message, expansion);
  }

  warning(range: SourceRange, message: string, expansion?: Expansion): void {
    this.#add('warning', range, message, expansion);
  }

  #add(severity: Severity, range: SourceRange, message: string, expansion: Expansion | undefined): void {
    if (this.isFull) return;
    const shown = expansion === undefined || onLineOf(range, expansion.site) ? range : expansion.site;
    const text = shown === range ? message : `${message} (in macro '${expansion?.macro}', ${range.file}:${range.line})`;
    const { file, line, column } = shown;
    const endColumn = column + Math.max(1, shown.length);
    const diagnostic = { severity, message: text, file, line, column, endColumn };
    const key = keyOf(diagnostic);
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    this.#list.push(diagnostic);
  }
}

function onLineOf(range: SourceRange, site: SourceRange): boolean {
  return range.file === site.file && range.line === site.line;
}

/** The range from the start of `first` to the end of `last`, or only `first` when they lie on different lines. */
export function spanOf(first: SourceRange, last: SourceRange): SourceRange {
  if (first.file !== last.file || first.line !== last.line || last.column < first.column) return first;
  return { ...first, length: last.column + last.length - first.column };
}

/** All diagnostics of several collections in the order of the source. */
export function inSourceOrder(...collections: readonly Diagnostics[]): Diagnostic[] {
  const all = new Map(collections.flatMap((one) => one.list.map((each) => [keyOf(each), each])));
  return [...all.values()].sort((a, b) => compareText(a.file, b.file) || a.line - b.line || a.column - b.column);
}

function keyOf({ file, line, column, severity, message }: Diagnostic): string {
  return `${severity}:${file}:${line}:${column}:${message}`;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
