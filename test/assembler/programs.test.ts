import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { assemble } from '../../debug-adapter/assembler/index.ts';
import { readImages, readPrograms } from './fixtures.ts';
import { hasNasm, runNasm } from './nasm.ts';
import { randomProgram } from './random-program.ts';

const readFile = (path: string): Uint8Array | undefined => (existsSync(path) ? readFileSync(path) : undefined);

function imageOf(path: string, text: string): string {
  const program = assemble({ path, text }, { readFile });
  expect(program.diagnostics.filter((one) => one.severity === 'error')).toEqual([]);
  return Buffer.from(program.image ?? []).toString('hex');
}

describe('whole programs are assembled to the bytes of NASM', () => {
  const images = readImages();
  const programs = readPrograms();

  it.each(programs)('$name, as recorded', ({ name, path, text }) => {
    expect(imageOf(path, text)).toBe(Buffer.from(images[name] ?? '', 'base64').toString('hex'));
  });

  it.skipIf(!hasNasm()).each(programs)('$name, with the NASM that is installed', ({ path, text, folder }) => {
    expect(imageOf(path, text)).toBe(runNasm(text, folder).image?.toString('hex'));
  });
});

describe.skipIf(!hasNasm())('random programs of branches, addresses and sections', () => {
  it.each(Array.from({ length: 40 }, (_unused, index) => ({ seed: index + 1 })))('seed $seed', ({ seed }) => {
    const text = randomProgram(seed);
    const { image, messages } = runNasm(text);
    expect(messages).toBe('');
    expect(imageOf('random.asm', text)).toBe(image?.toString('hex'));
  });
});
