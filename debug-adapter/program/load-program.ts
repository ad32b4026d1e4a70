import { isUserError, UserError } from '../errors.ts';
import { hex } from '../hexadecimal.ts';
import { type DebugInfo, debugInfo, elfDebugInfo } from './debug-info.ts';
import { type ElfFile, isElf, parseElf } from './elf.ts';
import type { LineRow } from './line-table.ts';
import { checkExecutable, elfSegments, identityEntry, physicalEntry } from './load-elf.ts';
import { bootByMultiboot } from './load-multiboot.ts';
import {
  AssemblyError,
  BITS_OF_MODE,
  checkEntry,
  checkSegments,
  type EntryMode,
  endOf,
  type FileReader,
  formatBytes,
  type LoadedProgram,
  type ProgramDiagnostic,
  type ProgramEntry,
  type ProgramKind,
  type ProgramSegment,
  sizeOf,
} from './loaded-program.ts';
import { findMultibootHeader, type MultibootHeader, multibootImage } from './multiboot.ts';
import { detectKind } from './program-format.ts';
import { fileNameOf } from './source-path.ts';
import type { AddressRange, ProgramSymbol } from './symbols.ts';

/** What our assembler makes of a source. Symbols and rows have linear addresses, segments guest-physical ones. */
export interface AssembledProgram {
  readonly segments: readonly ProgramSegment[];
  /** Where its sections believe to be (`vstart`), if that is not where they are loaded. */
  readonly extent?: readonly AddressRange[];
  /** The code size of the first instruction. */
  readonly bits: 16 | 32 | 64;
  readonly symbols: readonly ProgramSymbol[];
  readonly rows: readonly LineRow[];
  /** Errors among them mean that there is no program. */
  readonly diagnostics: readonly ProgramDiagnostic[];
}

/** The assembler, as it is given to the loader; it reads included files through `files`. */
export type Assemble = (path: string, source: string, files: FileReader) => Promise<AssembledProgram>;

export interface LoadProgramRequest {
  /** Path of the program, read through `files`. */
  readonly program: string;
  /** Size of the guest's RAM, which begins at 0. */
  readonly memoryBytes: number;
  /** How to read the program. By default its contents and extension decide. */
  readonly format?: ProgramKind | undefined;
  /**
   * Guest-physical address of a flat binary: by default 0x7c00 in real mode, 1 MiB in the others. Of an assembled
   * program: by default its origin.
   */
  readonly loadAddress?: number | undefined;
  /** By default: real for a flat binary, else the code size of the program. A Multiboot header then has no effect. */
  readonly entryMode?: EntryMode | undefined;
  /** Linear address of the first instruction of a flat or assembled program, if it is not the lowest. */
  readonly entryAddress?: bigint | undefined;
  /** An ELF file with the symbols and lines of a program that has none, such as a flat binary made by objcopy. */
  readonly symbolFile?: string | undefined;
  /** For a Multiboot kernel, what follows the program's name on its command line. */
  readonly commandLine?: string | undefined;
  /** For a Multiboot kernel, the path of its module. */
  readonly initrd?: string | undefined;
}

export interface LoadServices {
  readonly files: FileReader;
  readonly assemble: Assemble;
}

/** What the formats differ in; everything else of a LoadedProgram follows from it. */
interface Parts {
  readonly kind: ProgramKind;
  readonly name: string;
  readonly segments: readonly ProgramSegment[];
  readonly entry: ProgramEntry;
  readonly debug: DebugInfo;
  /** What of the request it has a use for. */
  readonly uses: readonly SpecialPart[];
}

type SpecialPart = 'loadAddress' | 'entryAddress' | 'symbolFile' | 'commandLine' | 'initrd';

/** The attributes that not every program has a use for, and which programs have. */
const SPECIAL_ATTRIBUTES: Readonly<Record<SpecialPart, { readonly name: string; readonly of: string }>> = {
  loadAddress: { name: 'loadAddress', of: 'a flat binary or NASM source' },
  entryAddress: { name: 'entryAddress', of: 'a program without a Multiboot header' },
  symbolFile: { name: 'symbolFile', of: 'a flat binary' },
  commandLine: { name: 'append', of: 'a Multiboot kernel' },
  initrd: { name: 'initrd', of: 'a Multiboot kernel' },
};

const BOOT_SECTOR_ADDRESS = 0x7c00;
const HIGH_ADDRESS = 0x100000;

/**
 * Reads a program of any supported format.
 *
 * @throws UserError for everything that is wrong with it, always with the program's path; AssemblyError, with all
 * diagnostics, for a source that cannot be assembled
 */
export async function loadProgram(request: LoadProgramRequest, services: LoadServices): Promise<LoadedProgram> {
  const bytes = await readInput(services.files, request.program, 'program');
  try {
    const parts = await loadParts(bytes, request, services);
    refuseUnused(parts, request);
    return finish(parts, request);
  } catch (error) {
    throw isUserError(error) && !(error instanceof AssemblyError) ? error.within(request.program) : error;
  }
}

/** An attribute that would change nothing is a mistake of somebody who expects that it does. */
function refuseUnused({ name, uses }: Parts, request: LoadProgramRequest): void {
  for (const [part, attribute] of Object.entries(SPECIAL_ATTRIBUTES) as [SpecialPart, { name: string; of: string }][]) {
    if (request[part] !== undefined && !uses.includes(part)) {
      throw new UserError(`The program has no use for "${attribute.name}"`, {
        expected: attribute.of,
        found: name,
        whatToDo: 'remove the attribute',
      });
    }
  }
}

async function loadParts(bytes: Uint8Array, request: LoadProgramRequest, services: LoadServices): Promise<Parts> {
  if (bytes.length === 0) {
    throw new UserError('The program is empty', { expected: 'at least one byte', found: 'an empty file' });
  }
  const address = request.loadAddress ?? 0;
  if (!Number.isSafeInteger(address) || address < 0) {
    throw new UserError('The load address is not an address', { expected: 'a number from 0', found: `${address}` });
  }
  const kind = request.format ?? detectKind(bytes, request);
  switch (kind) {
    case 'assembly':
      return loadAssembly(bytes, request, services);
    case 'flat':
      return loadFlat(bytes, request, services.files);
    case 'elf':
      return loadElf(parseElf(bytes), request, services.files);
    case 'multiboot':
      return loadMultiboot(bytes, request, services.files);
  }
}

async function loadAssembly(bytes: Uint8Array, request: LoadProgramRequest, services: LoadServices): Promise<Parts> {
  const source = new TextDecoder().decode(bytes);
  const assembled = await services.assemble(request.program, source, services.files);
  if (assembled.diagnostics.some(({ severity }) => severity === 'error')) {
    throw new AssemblyError(request.program, assembled.diagnostics);
  }
  const { segments, symbols, rows, extent } = placeAssembly(assembled, request.loadAddress);
  const debug = debugInfo(symbols, rows, extent, assembled.diagnostics);
  const kernel = request.entryMode === undefined ? assembledKernel(segments) : undefined;
  if (kernel !== undefined) {
    const boot = await bootKernel(kernel.segments, kernel.address, request, services.files);
    const uses = ['loadAddress', 'commandLine', 'initrd'] as const;
    return { kind: 'assembly', name: 'NASM source of a Multiboot kernel', ...boot, debug, uses };
  }
  const mode = request.entryMode ?? ({ 16: 'real', 32: 'protected', 64: 'long' } as const)[assembled.bits];
  const address = request.entryAddress ?? BigInt(lowestAddress(segments));
  const uses = ['loadAddress', 'entryAddress'] as const;
  return { kind: 'assembly', name: 'NASM source', segments, entry: { mode, address }, debug, uses };
}

/**
 * The program at `loadAddress`, if that is given. Symbols and lines move with it only where the source names no
 * origin: one that does believes to be there, as a boot sector that copies itself away.
 */
function placeAssembly(assembled: AssembledProgram, loadAddress: number | undefined) {
  const parts = assembled.segments.filter((segment) => sizeOf(segment) > 0);
  const origin = lowestAddress(parts);
  const shift = (loadAddress ?? origin) - origin;
  const segments = parts.map((segment) => ({ ...segment, address: segment.address + shift }));
  const extent = assembled.extent ?? extentOf(origin === 0 ? segments : parts);
  const moved = <Item extends { readonly address: bigint }>(item: Item): Item =>
    origin === 0 ? { ...item, address: item.address + BigInt(shift) } : item;
  const symbols = assembled.symbols.map((symbol) => (symbol.kind === 'constant' ? symbol : moved(symbol)));
  return { segments, extent, symbols, rows: assembled.rows.map(moved) };
}

function lowestAddress(segments: readonly ProgramSegment[]): number {
  return segments.reduce((low, { address }) => Math.min(low, address), segments[0]?.address ?? 0);
}

/** An assembled image with a Multiboot header is booted as its binary would be. */
function assembledKernel(segments: readonly ProgramSegment[]) {
  const image = segments[0]?.bytes ?? new Uint8Array(0);
  const header = findMultibootHeader(image);
  return header?.addresses === undefined
    ? undefined
    : { segments: [multibootImage(image, header.offset, header.addresses)], address: BigInt(header.addresses.entry) };
}

async function loadFlat(bytes: Uint8Array, request: LoadProgramRequest, files: FileReader): Promise<Parts> {
  const mode = request.entryMode ?? 'real';
  const address = request.loadAddress ?? (mode === 'real' ? BOOT_SECTOR_ADDRESS : HIGH_ADDRESS);
  const segments = [{ address, bytes, zeroBytes: 0 }];
  return {
    kind: 'flat',
    name: 'flat binary',
    segments,
    entry: { mode, address: request.entryAddress ?? BigInt(address) },
    debug: await separateDebugInfo(segments, request, files),
    uses: ['loadAddress', 'entryAddress', 'symbolFile'],
  };
}

async function loadElf(elf: ElfFile, request: LoadProgramRequest, files: FileReader): Promise<Parts> {
  checkExecutable(elf);
  const mode = request.entryMode ?? (elf.bits === 64 ? 'long' : 'protected');
  return {
    kind: 'elf',
    name: `${elf.bits}-bit ELF`,
    segments: elfSegments(elf),
    entry: { mode, address: request.entryAddress ?? identityEntry(elf) },
    debug: await elfDebugInfo(elf, request.program, files),
    uses: ['entryAddress'],
  };
}

async function loadMultiboot(bytes: Uint8Array, request: LoadProgramRequest, files: FileReader): Promise<Parts> {
  const header = findMultibootHeader(bytes);
  if (header === undefined || (header.addresses === undefined && !isElf(bytes))) {
    throw new UserError('The program is not a Multiboot kernel', {
      expected: 'a Multiboot header (1BADB002h) in the first 8192 bytes, with address fields if it is not ELF',
      found: header === undefined ? 'none' : 'a header without address fields (flag 16)',
    });
  }
  const kernel = await loadKernel(bytes, header, request, files);
  const boot = await bootKernel(kernel.segments, kernel.address, request, files);
  const uses = ['commandLine', 'initrd', ...(isElf(bytes) ? [] : (['symbolFile'] as const))] as const;
  return { kind: 'multiboot', name: kernel.name, ...boot, debug: kernel.debug, uses };
}

async function bootKernel(
  kernel: readonly ProgramSegment[],
  address: bigint,
  request: LoadProgramRequest,
  files: FileReader,
) {
  const checked = checkSegments(kernel, request.memoryBytes);
  const initrd = request.initrd === undefined ? undefined : await readInput(files, request.initrd, 'initrd');
  return bootByMultiboot(checked, address, {
    memoryBytes: request.memoryBytes,
    commandLine: [fileNameOf(request.program), request.commandLine ?? ''].join(' ').trim(),
    module: initrd === undefined ? undefined : { bytes: initrd, commandLine: fileNameOf(request.initrd ?? '') },
  });
}

/** Address fields come before ELF headers, as the specification says of flag 16. */
async function loadKernel(bytes: Uint8Array, header: MultibootHeader, request: LoadProgramRequest, files: FileReader) {
  const elf = isElf(bytes) ? parseElf(bytes) : undefined;
  if (header.addresses === undefined && elf !== undefined) {
    checkExecutable(elf);
    const debug = await elfDebugInfo(elf, request.program, files);
    const name = `${elf.bits}-bit ELF Multiboot kernel`;
    return { name, segments: elfSegments(elf), address: physicalEntry(elf), debug };
  }
  const addresses = header.addresses ?? { header: 0, load: 0, loadEnd: 0, bssEnd: 0, entry: 0 };
  const segments = [multibootImage(bytes, header.offset, addresses)];
  const debug =
    elf === undefined
      ? await separateDebugInfo(segments, request, files)
      : await elfDebugInfo(elf, request.program, files);
  return { name: 'flat Multiboot kernel', segments, address: BigInt(addresses.entry), debug };
}

/** The debug information of a program that carries none: that of `symbolFile`, if there is one. */
async function separateDebugInfo(
  segments: readonly ProgramSegment[],
  request: LoadProgramRequest,
  files: FileReader,
): Promise<DebugInfo> {
  if (request.symbolFile === undefined) {
    return debugInfo([], [], extentOf(segments));
  }
  const bytes = await readInput(files, request.symbolFile, 'symbol file');
  try {
    return await elfDebugInfo(parseElf(bytes), request.symbolFile, files);
  } catch (error) {
    throw isUserError(error) ? error.within(request.symbolFile) : error;
  }
}

function extentOf(segments: readonly ProgramSegment[]) {
  return segments.map((segment) => ({ start: BigInt(segment.address), end: BigInt(endOf(segment)) }));
}

async function readInput(files: FileReader, path: string, what: string): Promise<Uint8Array> {
  try {
    return await files.read(path);
  } catch (error) {
    throw new UserError(`The ${what} cannot be read`, {
      expected: 'a file',
      found: error instanceof Error ? error.message : String(error),
      where: path,
      whatToDo: what === 'program' ? 'check the path, or build the program first' : `check the ${what}'s path`,
    });
  }
}

function finish(parts: Parts, request: LoadProgramRequest): LoadedProgram {
  const segments = checkSegments(parts.segments, request.memoryBytes);
  const entry = checkEntry(parts.entry);
  const size = formatBytes(segments.reduce((sum, segment) => sum + sizeOf(segment), 0));
  const count = segments.length === 1 ? '1 segment' : `${segments.length} segments`;
  return {
    kind: parts.kind,
    segments,
    entry,
    symbols: parts.debug.symbols,
    lines: parts.debug.lines,
    sources: parts.debug.lines.sources,
    diagnostics: parts.debug.diagnostics,
    bits: BITS_OF_MODE[entry.mode],
    description: `${parts.name}, ${count}, ${size}, entry ${hex(entry.address)} in ${entry.mode} mode`,
  };
}
