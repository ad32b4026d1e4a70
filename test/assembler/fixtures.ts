import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { type Bits, generateInstructions } from './generated-instructions.ts';
import { type ListedInstruction, listWithNasm } from './instruction-list.ts';
import { runNasm } from './nasm.ts';

export const ALL_BITS: readonly Bits[] = [16, 32, 64];

const FOLDER = join(import.meta.dirname, 'expected');
const PROGRAMS = join(import.meta.dirname, 'programs');

function listPath(bits: Bits): string {
  return join(FOLDER, `instructions-${bits}.txt.gz`);
}

/** The instructions recorded from NASM, one `hex text` a line. */
export function readInstructionList(bits: Bits): ListedInstruction[] {
  const lines = gunzipSync(readFileSync(listPath(bits)))
    .toString()
    .trimEnd()
    .split('\n');
  return lines.map((line) => ({ hex: line.slice(0, line.indexOf(' ')), text: line.slice(line.indexOf(' ') + 1) }));
}

/** The programs beside the tests: name, text and folder of what they include. */
export function readPrograms(): { name: string; path: string; text: string; folder: string }[] {
  const names = readdirSync(PROGRAMS).filter((name) => name.endsWith('.asm'));
  return names.map((name) => {
    const path = join(PROGRAMS, name);
    return { name, path, text: readFileSync(path, 'utf8'), folder: PROGRAMS };
  });
}

const IMAGES = join(FOLDER, 'programs.json');

/** What NASM made of each program, in base64. */
export function readImages(): Record<string, string> {
  return JSON.parse(readFileSync(IMAGES, 'utf8')) as Record<string, string>;
}

/** Asks the installed NASM for everything again and writes it down. */
export function recordFixtures(): void {
  for (const bits of ALL_BITS) {
    const list = listWithNasm(bits, generateInstructions(bits));
    const text = `${list.map(({ hex, text: source }) => `${hex} ${source}`).join('\n')}\n`;
    writeFileSync(listPath(bits), gzipSync(text, { level: 9 }));
  }
  const images: Record<string, string> = {};
  for (const { name, text, folder } of readPrograms()) {
    const { image, messages } = runNasm(text, folder);
    if (!image) throw new Error(`${name}: ${messages}`);
    images[name] = image.toString('base64');
  }
  writeFileSync(IMAGES, `${JSON.stringify(images, undefined, 2)}\n`);
}
