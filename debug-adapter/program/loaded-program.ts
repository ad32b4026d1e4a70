import { UserError } from '../errors.ts';
import { hex } from '../hexadecimal.ts';
import type { LineTable } from './line-table.ts';
import type { SymbolTable } from './symbols.ts';

/** How a file is read: by Node's fs, by VS Code's workspace.fs in a browser, from a map in a test. */
export interface FileReader {
  /** The whole file. Rejects, with a message for users, if there is none or it cannot be read. */
  read(path: string): Promise<Uint8Array>;
}

/** The state in which the first instruction runs: `long` has paging on, with all RAM mapped to itself. */
export type EntryMode = 'real' | 'protected' | 'long';

export type ProgramKind = 'assembly' | 'flat' | 'multiboot' | 'elf';

export interface ProgramSegment {
  /** Guest-physical. */
  readonly address: number;
  readonly bytes: Uint8Array;
  /** Zero bytes behind `bytes` (.bss). */
  readonly zeroBytes: number;
}

export interface ProgramEntry {
  readonly mode: EntryMode;
  /** Linear address of the first instruction. */
  readonly address: bigint;
  /** Registers that the boot protocol sets, by the names of the SDM. */
  readonly registers?: Readonly<Record<string, bigint>>;
}

export interface ProgramDiagnostic {
  readonly severity: 'error' | 'warning';
  readonly message: string;
  readonly file: string;
  /** From 1; absent if the message is about the whole file. */
  readonly line?: number;
  readonly column?: number;
  /** The column behind the last character. */
  readonly endColumn?: number;
}

/** A program as the machine takes it: bytes for guest memory, a place to begin, and what its addresses mean. */
export interface LoadedProgram {
  readonly kind: ProgramKind;
  /** By address, without overlap, all within memory. */
  readonly segments: readonly ProgramSegment[];
  readonly entry: ProgramEntry;
  readonly symbols: SymbolTable;
  readonly lines: LineTable;
  /** The paths of all source files that have code. */
  readonly sources: readonly string[];
  /** Warnings: what could not be used. Errors are thrown instead. */
  readonly diagnostics: readonly ProgramDiagnostic[];
  /** The code size at entry. */
  readonly bits: 16 | 32 | 64;
  /** For users: `64-bit ELF, 2 segments, 12.5 KiB, entry 0x100000 in long mode`. */
  readonly description: string;
}

/** Why a program did not load although its file could be read: its source has errors. */
export class AssemblyError extends UserError {
  readonly diagnostics: readonly ProgramDiagnostic[];

  constructor(path: string, diagnostics: readonly ProgramDiagnostic[]) {
    const errors = diagnostics.filter(({ severity }) => severity === 'error');
    const first = errors[0];
    const place = `${first?.file ?? path}:${first?.line ?? 1}:${first?.column ?? 1}`;
    const more = errors.length > 1 ? { whatToDo: `the Debug Console lists all ${errors.length} errors` } : {};
    super(`The program cannot be assembled: ${first?.message ?? 'an error'}`, { where: place, ...more });
    this.diagnostics = diagnostics;
  }
}

export const BITS_OF_MODE: Readonly<Record<EntryMode, 16 | 32 | 64>> = { real: 16, protected: 32, long: 64 };

/** The first linear address that real mode cannot reach: FFFF:FFFF is the last one. */
const REAL_MODE_LIMIT = 0x10fff0n;

/** An entry address, checked to be one that the mode can reach. */
export function checkEntry(entry: ProgramEntry): ProgramEntry {
  const limit = { real: REAL_MODE_LIMIT, protected: 1n << 32n, long: 1n << 64n }[entry.mode];
  if (entry.address >= limit) {
    throw new UserError(`The entry cannot be reached in ${entry.mode} mode`, {
      expected: `an address below ${hex(limit)}`,
      found: hex(entry.address),
      whatToDo: `set "entryMode" to ${entry.mode === 'real' ? '"protected" or "long"' : '"long"'}, or link the program lower`,
    });
  }
  return entry;
}

/** Sorts segments, takes empty ones out, and checks that they fit into memory without overlap. */
export function checkSegments(segments: readonly ProgramSegment[], memoryBytes: number): ProgramSegment[] {
  const sorted = segments.filter((one) => sizeOf(one) > 0).sort((a, b) => a.address - b.address);
  if (sorted.length === 0) {
    throw new UserError('The program is empty', { expected: 'at least one byte to load', found: 'none' });
  }
  sorted.forEach((segment, index) => {
    const next = sorted[index + 1];
    if (endOf(segment) > memoryBytes) {
      throw new UserError('The program does not fit into memory', {
        expected: `addresses below ${hex(memoryBytes)} (${formatBytes(memoryBytes)} of memory)`,
        found: describeRange(segment),
        whatToDo: 'raise "memory", or link the program lower',
      });
    }
    if (next !== undefined && next.address < endOf(segment)) {
      throw new UserError('Two parts of the program overlap', {
        expected: `nothing else in ${describeRange(segment)}`,
        found: describeRange(next),
        whatToDo: 'check the load addresses (p_paddr, AT in the linker script)',
      });
    }
  });
  return sorted;
}

/**
 * The lowest (or, with `fromTop`, highest) free range of guest memory between `low` and `high`.
 *
 * @returns its address, a multiple of `alignment`, or undefined if there is none
 */
export function findFreeRange(
  taken: readonly ProgramSegment[],
  sizeBytes: number,
  options: { low: number; high: number; alignment: number; fromTop?: boolean },
): number | undefined {
  const { low, high, alignment } = options;
  const sorted = [...taken].sort((a, b) => a.address - b.address);
  const starts = [low, ...sorted.map(endOf)];
  const gaps = starts.map((start, index) => ({
    start: Math.ceil(Math.max(low, start) / alignment) * alignment,
    end: Math.min(high, sorted[index]?.address ?? high),
  }));
  const fitting = gaps.filter(({ start, end }) => start + sizeBytes <= end);
  const last = fitting.at(-1);
  if (options.fromTop !== true || last === undefined) {
    return fitting[0]?.start;
  }
  return Math.floor((last.end - sizeBytes) / alignment) * alignment;
}

export function sizeOf(segment: ProgramSegment): number {
  return segment.bytes.length + segment.zeroBytes;
}

export function endOf(segment: ProgramSegment): number {
  return segment.address + sizeOf(segment);
}

/** `12.5 KiB`. */
export function formatBytes(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10)));
  return `${Math.round((bytes / 1024 ** power) * 10) / 10} ${units[power]}`;
}

function describeRange(segment: ProgramSegment): string {
  return `${hex(segment.address)} to ${hex(endOf(segment) - 1)}`;
}
