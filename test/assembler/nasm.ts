import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Whether the real NASM, of the version the assembler follows, is installed. */
export function hasNasm(): boolean {
  const found = spawnSync('nasm', ['-v'], { encoding: 'utf8' });
  return found.status === 0 && found.stdout.startsWith('NASM version 2.16');
}

export interface NasmOutput {
  /** Undefined when NASM refused the source. */
  readonly image?: Buffer;
  /** Offset in its section of each source line that has one; index 0 is line 1. */
  readonly offsets: readonly (number | undefined)[];
  /** Lines with errors, counted from 1. */
  readonly badLines: ReadonlySet<number>;
  readonly messages: string;
}

/** Assembles a text with the real NASM. */
export function runNasm(text: string, includeFolder = '.'): NasmOutput {
  const folder = mkdtempSync(join(tmpdir(), 'nasm-'));
  try {
    const [source, image, listing] = ['source.asm', 'image.bin', 'listing.lst'].map((name) => join(folder, name));
    if (!source || !image || !listing) throw new Error('no file names');
    writeFileSync(source, text);
    const options = ['-f', 'bin', '-w-all', '-i', `${includeFolder}/`, '-o', image, '-l', listing, source];
    const result = spawnSync('nasm', options, { encoding: 'utf8', maxBuffer: 1 << 28 });
    const badLines = new Set<number>();
    for (const match of result.stderr.matchAll(/:(\d+): (?:error|assertion)/gu)) badLines.add(Number(match[1]));
    if (result.status !== 0) return { offsets: [], badLines, messages: result.stderr };
    return { image: readFileSync(image), offsets: readOffsets(readFileSync(listing, 'utf8')), badLines, messages: '' };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function readOffsets(listing: string): (number | undefined)[] {
  const offsets: (number | undefined)[] = [];
  for (const line of listing.split('\n')) {
    const match = /^ *(\d+) ([0-9A-F]{8}) /u.exec(line);
    if (match) offsets[Number(match[1]) - 1] ??= Number.parseInt(match[2] ?? '', 16);
  }
  return offsets;
}
