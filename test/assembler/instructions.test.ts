import { describe, expect, it } from 'vitest';
import { ALL_BITS, readInstructionList } from './fixtures.ts';
import { generateInstructions } from './generated-instructions.ts';
import { listWithAssembler, listWithNasm } from './instruction-list.ts';
import { hasNasm } from './nasm.ts';

describe('every instruction form is encoded as by NASM', () => {
  it.each(ALL_BITS)('bits %i, as recorded', (bits) => {
    const recorded = readInstructionList(bits);
    expect(recorded.length).toBeGreaterThan(20_000);
    const texts = recorded.map(({ text }) => text);
    const different = listWithAssembler(bits, texts).filter((one, index) => one.hex !== recorded[index]?.hex);
    expect(different).toEqual([]);
  });

  it.skipIf(!hasNasm()).each(ALL_BITS)('bits %i, with the NASM that is installed', (bits) => {
    // Every seventh: the record has them all, and this only shows that it is still what NASM says.
    const some = generateInstructions(bits).filter((_text, index) => index % 7 === bits % 5);
    const expected = listWithNasm(bits, some);
    expect(expected.length).toBeGreaterThan(3000);
    const got = listWithAssembler(
      bits,
      expected.map(({ text }) => text),
    );
    expect(got.filter((one, index) => one.hex !== expected[index]?.hex)).toEqual([]);
  });
});
