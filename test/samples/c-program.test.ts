import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { loadProgram } from '../../debug-adapter/program/load-program.ts';
import { SAMPLES } from './judges.ts';

const FOLDER = path.join(SAMPLES, 'c-program');
const assemble = () => Promise.reject(new Error('an ELF file is not assembled'));

// The file was built somewhere else: its line information must lead to the sources beside it, wherever they are.
test('the committed ELF file belongs to the committed sources', async () => {
  const program = await loadProgram(
    { program: path.join(FOLDER, 'c-program.elf'), memoryBytes: 64 << 20 },
    { files: { read: (name) => readFile(name) }, assemble },
  );
  expect(program.entry).toEqual({ mode: 'long', address: 0x100000n });
  const source = path.join(FOLDER, 'main.c');
  expect(program.sources).toContain(source);

  const line =
    readFileSync(source, 'utf8')
      .split('\n')
      .findIndex((text) => text.includes('BREAKPOINT')) + 1;
  const found = program.lines.addressesOf(source, line);
  expect(found).toMatchObject({ line });
});
