import { isUserError } from '../errors.ts';
import { type ElfFile, PT_LOAD, readSymbols } from './elf.ts';
import { elfLines, elfProgramSymbols } from './elf-debug.ts';
import { type LineRow, LineTable } from './line-table.ts';
import type { FileReader, ProgramDiagnostic } from './loaded-program.ts';
import { directoryOf, isAbsolutePath, resolvePath } from './source-path.ts';
import { type AddressRange, type ProgramSymbol, SymbolTable } from './symbols.ts';

/** What the addresses of a program mean. */
export interface DebugInfo {
  readonly symbols: SymbolTable;
  readonly lines: LineTable;
  readonly diagnostics: readonly ProgramDiagnostic[];
}

/** More messages than this about one file's debug information help nobody. */
const MAX_PROBLEMS = 5;

/** How far above the program's folder a relative source path is tried: a build folder lies below the sources. */
const SEARCHED_PARENTS = 3;

/** After so many sources that are nowhere, the others are not looked for. */
const MAX_UNREADABLE_SOURCES = 16;

/** Tables from symbols and rows, where `extent` is the loaded part of the linear address space. */
export function debugInfo(
  symbols: Iterable<ProgramSymbol>,
  rows: Iterable<LineRow>,
  extent: readonly AddressRange[],
  diagnostics: readonly ProgramDiagnostic[] = [],
): DebugInfo {
  const table = new SymbolTable(symbols, extent);
  const lines = new LineTable(rows, {
    isLoaded: (address) => table.covers(address),
    functionStart: (address) => table.functionAt(address)?.start,
  });
  return { symbols: table, lines, diagnostics };
}

/** Symbols and lines of an ELF file. What is malformed becomes a warning: the program runs all the same. */
export async function elfDebugInfo(elf: ElfFile, path: string, files: FileReader): Promise<DebugInfo> {
  const extent = elf.programHeaders
    .filter((header) => header.type === PT_LOAD && header.memoryBytes > 0n)
    .map((header) => ({ start: header.virtualAddress, end: header.virtualAddress + header.memoryBytes }));
  const problems: string[] = [];
  const symbols = orWarn(problems, () => readSymbols(elf)) ?? [];
  const lines = orWarn(problems, () => elfLines(elf, symbols));
  problems.push(...(lines?.problems ?? []));
  const rows = await resolveSources(lines?.rows ?? [], directoryOf(path), files);
  return debugInfo(elfProgramSymbols(elf, symbols), rows, extent, asWarnings(problems, path));
}

function orWarn<Result>(problems: string[], read: () => Result): Result | undefined {
  try {
    return read();
  } catch (error) {
    if (!isUserError(error)) {
      throw error;
    }
    problems.push(error.message);
    return undefined;
  }
}

function asWarnings(problems: readonly string[], file: string): ProgramDiagnostic[] {
  const shown = problems.slice(0, MAX_PROBLEMS);
  if (problems.length > shown.length) {
    shown.push(`${problems.length - shown.length} more problems of its debug information`);
  }
  return shown.map((message) => ({ severity: 'warning', message, file }));
}

/**
 * Makes relative source paths absolute. Where a compiler did not say which directory they are relative to, that is
 * the program's folder or one above it: the first in which the file can be read.
 */
async function resolveSources(rows: LineRow[], directory: string, files: FileReader): Promise<LineRow[]> {
  const relative = new Set(rows.map((row) => row.path).filter((path) => path !== '' && !isAbsolutePath(path)));
  if (relative.size === 0) {
    return rows;
  }
  const resolved = new Map<string, string>();
  let base = directory;
  let unreadable = 0;
  for (const path of relative) {
    const candidates = unreadable < MAX_UNREADABLE_SOURCES ? [base, ...parentsOf(directory)] : [];
    const found = await firstReadable(candidates, path, files);
    base = found ?? base;
    unreadable += found === undefined ? 1 : 0;
    resolved.set(path, resolvePath(found ?? base, path));
  }
  return rows.map((row) => ({ ...row, path: resolved.get(row.path) ?? row.path }));
}

function parentsOf(directory: string): string[] {
  return Array.from({ length: SEARCHED_PARENTS + 1 }, (_, level) => resolvePath(directory, '../'.repeat(level)));
}

async function firstReadable(directories: readonly string[], path: string, files: FileReader) {
  for (const directory of new Set(directories)) {
    try {
      await files.read(resolvePath(directory, path));
      return directory;
    } catch {
      // Not there: the next one is tried, and a path that is nowhere stays with those that were found.
    }
  }
  return undefined;
}
