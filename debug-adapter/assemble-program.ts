import { type AssembledProgram as Assembly, type LineRow as AssemblyRow, assemble } from './assembler/index.ts';
import { candidatePaths } from './assembler/paths.ts';
import type { LineRow } from './program/line-table.ts';
import type { Assemble, AssembledProgram } from './program/load-program.ts';
import type { FileReader, ProgramSegment } from './program/loaded-program.ts';

/** A source whose includes do not settle after this many rounds names new files without end. */
const MAXIMUM_ROUNDS = 64;

/** What a source includes, as far as can be seen without assembling it. */
const INCLUSION = /^[ \t]*(?:[\w.@$?]+:)?[ \t]*(%include|incbin)[ \t]+["'`]([^"'`\n]+)["'`]/gim;

type Contents = Map<string, Uint8Array | undefined>;

/**
 * The built-in assembler as the program loader wants it. The assembler reads files at once, the host's files come
 * later: it runs again until no file is missing that is there.
 */
export const assembleProgram: Assemble = async (path, source, files) => {
  const contents: Contents = new Map();
  await readInclusions(path, source, files, contents);
  for (let round = 1; ; round += 1) {
    const missing = new Set<string>();
    const readFile = (name: string) => {
      if (!contents.has(name)) {
        missing.add(name);
      }
      return contents.get(name);
    };
    const assembly = assemble({ path, text: source }, { readFile });
    if (missing.size === 0 || round === MAXIMUM_ROUNDS) {
      return toProgram(assembly);
    }
    await Promise.all([...missing].map(async (name) => contents.set(name, await readIfPresent(files, name))));
  }
};

/** Reads what is included beforehand, so that the assembler most often runs once. */
async function readInclusions(path: string, source: string, files: FileReader, contents: Contents): Promise<void> {
  for (const [, directive, included] of source.matchAll(INCLUSION)) {
    for (const candidate of candidatePaths(included ?? '', path)) {
      if (contents.has(candidate)) {
        break;
      }
      const bytes = await readIfPresent(files, candidate);
      contents.set(candidate, bytes);
      if (bytes !== undefined) {
        if (directive?.toLowerCase() === '%include') {
          await readInclusions(candidate, new TextDecoder().decode(bytes), files, contents);
        }
        break;
      }
    }
  }
}

async function readIfPresent(files: FileReader, path: string): Promise<Uint8Array | undefined> {
  try {
    return await files.read(path);
  } catch {
    // The assembler says what it could not find, and where that is named.
    return undefined;
  }
}

function toProgram(assembly: Assembly): AssembledProgram {
  return {
    segments: segmentsOf(assembly),
    ...extentOf(assembly),
    bits: assembly.defaultBits,
    symbols: assembly.symbols.map(({ name, value, kind }) => ({
      name,
      address: value,
      size: 0,
      kind: kind === 'equ' ? 'constant' : 'label',
      isGlobal: !name.includes('.'),
    })),
    rows: assembly.lines.filter((row) => row.kind === 'code' && row.length > 0).flatMap(toRows),
    diagnostics: assembly.diagnostics,
  };
}

/** Where the code believes to be, if a section's `vstart` says that it is elsewhere than in the image. */
function extentOf({ sections }: Assembly): Pick<AssembledProgram, 'extent'> {
  const filled = sections.filter(({ length }) => length > 0);
  return filled.every(({ start, vstart }) => start === vstart)
    ? {}
    : { extent: filled.map(({ vstart, length }) => ({ start: BigInt(vstart), end: BigInt(vstart + length) })) };
}

/** The image, and behind it what sections without bytes reserve. */
function segmentsOf({ image, origin, sections }: Assembly): ProgramSegment[] {
  const bytes = image ?? new Uint8Array(0);
  const end = origin + bytes.length;
  const reserved = sections.filter(({ nobits, length }) => nobits && length > 0);
  return [
    { address: origin, bytes, zeroBytes: 0 },
    ...reserved
      .map(({ start, length }) => ({ start: Math.max(start, end), end: start + length }))
      .filter((range) => range.end > range.start)
      .map((range) => ({ address: range.start, bytes: new Uint8Array(0), zeroBytes: range.end - range.start })),
  ];
}

/** Each row is a sequence of its own: between two of them there may be data. */
function toRows(row: AssemblyRow): LineRow[] {
  const common = { path: row.file, line: row.line, column: 0 };
  const start = BigInt(row.address);
  return [
    { ...common, address: start, isStatement: true, endSequence: false },
    { ...common, address: start + BigInt(row.length), isStatement: false, endSequence: true },
  ];
}
