import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readDwarfLines } from '../../debug-adapter/program/dwarf-line.ts';
import { parseElf, readSymbols } from '../../debug-adapter/program/elf.ts';
import { elfLines } from '../../debug-adapter/program/elf-debug.ts';
import type { LineRow } from '../../debug-adapter/program/line-table.ts';
import { fileNameOf } from '../../debug-adapter/program/source-path.ts';
import { buildFixtures, fixtureCommands, readelfLines } from './fixtures/build.mjs';
import { FIXTURES, fixture, hasTools } from './fixtures.ts';

const expected: Record<string, string[]> = JSON.parse(readFileSync(`${FIXTURES}/expected-lines.json`, 'utf8'));

function decode(bytes: Uint8Array) {
  const elf = parseElf(bytes);
  return elfLines(elf, readSymbols(elf));
}

/** Rows as readelf prints them, which never marks the end of a sequence as a statement. */
function asReadelf(rows: readonly LineRow[]): string[] {
  return rows.map((row) => {
    const line = row.endSequence ? '-' : `${row.line}`;
    return `${fileNameOf(row.path)}:${line} ${row.address.toString(16)}${row.isStatement && !row.endSequence ? ' x' : ''}`;
  });
}

describe('line tables equal readelf', () => {
  const uncompressed = Object.entries(expected).filter(([name]) => name !== 'compressed.elf');

  it.each(uncompressed)('%s', (name, rows) => {
    const { rows: found, problems } = decode(fixture(name));
    expect(problems).toEqual([]);
    expect(asReadelf(found)).toEqual(rows);
    expect(rows.length).toBeGreaterThan(7);
  });

  it.skipIf(!hasTools('gcc', 'ld', 'nasm', 'readelf'))('on what the installed compilers make', () => {
    const directory = mkdtempSync(`${tmpdir()}/lines-`);
    try {
      const fixtures = fixtureCommands(directory).filter(({ output }) => output !== 'compressed.elf');
      const functions = Array.from(
        { length: 2000 },
        (_, i) => `int f${i}(int a) {\n  return a > ${i} ? a : f${i}(a + 1);\n}\n`,
      );
      writeFileSync(`${directory}/big.c`, functions.join('\n'));
      const big = {
        output: 'big.o',
        commands: [['gcc', '-g', '-O1', '-c', '-o', `${directory}/big.o`, `${directory}/big.c`]],
      };
      buildFixtures([...fixtures, big]);
      for (const { output } of [...fixtures, big]) {
        const rows = asReadelf(decode(new Uint8Array(readFileSync(`${directory}/${output}`))).rows);
        expect(rows, output).toEqual(readelfLines(`${directory}/${output}`));
      }
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe('paths of line tables', () => {
  it.each([
    ['dwarf2-O0.elf', '/fixtures'],
    ['dwarf4.o', '/fixtures'],
    ['dwarf5-m32.o', '/fixtures'],
  ])('of %s are absolute by the directory of the compilation', (name, directory) => {
    const paths = new Set(decode(fixture(name)).rows.map((row) => row.path));
    expect(paths).toEqual(new Set([`${directory}/sum.c`, `${directory}/scale.h`]));
  });

  it('of nasm keep their name', () => {
    expect(decode(fixture('nasm.o')).rows[0]?.path).toBe('/tmp/ringside-fixtures/hello.asm');
  });
});

describe('bad line tables', () => {
  it('compressed sections are a problem that says what to do', () => {
    expect(decode(fixture('compressed.elf'))).toEqual({
      rows: [],
      problems: ['The debug information is compressed. Compile and link with -gz=none.'],
    });
  });

  it('a file or directory table of a billion empty entries ends', () => {
    const header = [5, 0, 8, 0, 255, 0, 0, 0, 1, 1, 1, 0xfb, 14, 1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f];
    const line = new Uint8Array([header.length, 0, 0, 0, ...header]);
    expect(readDwarfLines({ line }).problems).toEqual([expect.stringContaining('entries of at least one byte')]);
  });

  it('an unknown version is left out, the next table is read', () => {
    const elf = parseElf(fixture('dwarf4-O0.elf'));
    const section = elf.sections.find(({ name }) => name === '.debug_line');
    const sound = elf.bytes.subarray(section?.offset, (section?.offset ?? 0) + (section?.sizeBytes ?? 0));
    const { rows, problems } = readDwarfLines({ line: new Uint8Array([2, 0, 0, 0, 9, 0, ...sound]) });
    expect(problems).toEqual(['Unknown line table (.debug_line, offset 0x4). Expected DWARF version 2 to 5, found 9.']);
    expect(asReadelf(rows)).toEqual(expected['dwarf4-O0.elf']);
  });

  it.each(['dwarf2-O0.elf', 'dwarf5-O2.elf', 'nasm.o'])('changed bytes of %s give rows or problems, soon', (name) => {
    const elf = parseElf(fixture(name));
    const debug = elf.sections.filter((section) => section.name.startsWith('.debug_'));
    const change = fc.tuple(fc.constantFrom(...debug), fc.nat(), fc.nat(255));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 12 }), (changes) => {
        const bytes = elf.bytes.slice();
        for (const [section, at, value] of changes) {
          bytes[section.offset + (at % section.sizeBytes)] = value;
        }
        const { rows } = decode(bytes);
        expect(rows.length).toBeLessThan(bytes.length);
        const last = rows.at(-1);
        expect(last === undefined || last.endSequence).toBe(true);
      }),
      { numRuns: 1000, seed: 7 },
    );
  });
});
