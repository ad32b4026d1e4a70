import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UserError } from '../../debug-adapter/errors.ts';
import { PT_LOAD, parseElf, readSymbols, sectionBytes } from '../../debug-adapter/program/elf.ts';
import { elfProgramSymbols } from '../../debug-adapter/program/elf-debug.ts';
import { fixture } from './fixtures.ts';

function bytesOf(...bytes: number[]): Uint8Array {
  return new Uint8Array(bytes);
}

describe('ELF files', () => {
  it('64-bit: header, segments and sections', () => {
    const elf = parseElf(fixture('high-half.elf'));
    expect(elf).toMatchObject({ bits: 64, type: 2, machine: 62 });
    expect(elf.entry).toBeGreaterThan(0xffffffff80100000n);
    expect(elf.programHeaders.find(({ type }) => type === PT_LOAD)).toMatchObject({
      virtualAddress: 0xffffffff80100000n,
      physicalAddress: 0x100000n,
    });
    expect(elf.sections.map(({ name }) => name)).toContain('.debug_line');
  });

  it('32-bit: symbols with kind, size and binding', () => {
    const elf = parseElf(fixture('multiboot32.elf'));
    const symbols = elfProgramSymbols(elf, readSymbols(elf));
    const byName = new Map(symbols.map((symbol) => [symbol.name, symbol]));
    expect(elf).toMatchObject({ bits: 32, machine: 3 });
    expect(byName.get('main')).toMatchObject({ kind: 'function', size: 6, isGlobal: false });
    expect(byName.get('_start')).toMatchObject({ kind: 'function', isGlobal: true, address: elf.entry });
    expect(byName.get('boot_information')).toMatchObject({ kind: 'label', isGlobal: false });
  });

  it('a section without bytes in the file has none', () => {
    const elf = parseElf(fixture('multiboot32.elf'));
    const bss = elf.sections.find(({ name }) => name === '.bss');
    expect(bss?.sizeBytes).toBe(4100);
    expect(bss && sectionBytes(elf, bss)).toHaveLength(0);
  });
});

describe('malformed ELF files', () => {
  const sound = fixture('dwarf5-O0.elf');
  const changed = (offset: number, ...bytes: number[]) => {
    const copy = sound.slice();
    copy.set(bytes, offset);
    return copy;
  };

  it.each([
    ['empty', bytesOf(), 'Not an ELF file (ELF file, offset 0x0). Expected 7f 45 4c 46, found an empty file.'],
    ['a class of 3', changed(4, 3), 'EI_CLASS 1 (32-bit) or 2 (64-bit), found 3'],
    ['big-endian', changed(5, 2), 'EI_DATA 1 (little-endian), found 2'],
    ['cut in the header', sound.subarray(0, 40), 'The data end too early (ELF file, offset 0x28)'],
    ['cut in the sections', sound.subarray(0, 4096 + 512), 'section headers at'],
    ['too many program headers', changed(56, 0xfe, 0xff), 'Expected 65534 program headers at 0x40'],
    ['small program headers', changed(54, 8, 0), 'program headers of 56 bytes, found 8'],
  ])('%s', (_, bytes, message) => {
    expect(() => parseElf(bytes)).toThrow(UserError);
    expect(() => parseElf(bytes)).toThrow(message);
  });

  it.each(['dwarf5-O0.elf', 'multiboot32.elf', 'nasm.o'])('%s with changed bytes is read or refused, soon', (name) => {
    const original = fixture(name);
    const header = fc.nat(63);
    const sections = fc.nat(original.length - 1).map((back) => original.length - 1 - (back % 1500));
    const change = fc.tuple(
      fc.oneof(header, sections, fc.nat(original.length - 1)),
      fc.constantFrom(0, 1, 127, 128, 255),
    );
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), fc.nat(original.length), (changes, cut) => {
        const bytes = cut % 5 === 0 ? original.slice(0, cut) : original.slice();
        for (const [offset, value] of changes) {
          bytes[offset] = value;
        }
        try {
          const elf = parseElf(bytes);
          elfProgramSymbols(elf, readSymbols(elf));
        } catch (error) {
          expect(error).toBeInstanceOf(UserError);
        }
      }),
      { numRuns: 3000, seed: 1 },
    );
  });
});
