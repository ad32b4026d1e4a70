/**
 * What a real CPU fetches of an instruction that does not exist before it raises #UD, as it was seen: the bytes were the last
 * of a page, and no page came behind it. `cut`: it raised #PF.
 */
import { expect, test } from 'vitest';
import { type CodeSize, decodeInstructions } from '../../engine/isa/decode.ts';
import { lengthOfUndefined } from '../../engine/isa/undefined-length.ts';

type Row = readonly [codeSize: CodeSize, whole: string, ...cut: string[]];

/** Bytes that are all that is fetched, and the beginnings of which more is. */
const rows: Record<string, Row> = {
  'an opcode alone': [64, '60'],
  'another one, behind prefixes': [64, 'f0 48 06'],
  'with an immediate byte': [64, '82 c0 01', '82 c0', '82'],
  'a far pointer': [64, '9a 01 02 03 04 05 06', '9a 01 02 03 04 05', '9a'],
  'a displacement of a byte': [64, 'fe 78 01', 'fe 78', 'fe'],
  'SIB without a base': [64, 'fe 3c 05 01 02 03 04', 'fe 3c 05 01 02 03', 'fe 3c'],
  'an immediate of four bytes': [64, 'c7 c8 01 02 03 04', 'c7 c8 01 02 03', 'c7 c8'],
  'the same with another operand size': [32, '66 c7 c8 01 02', '66 c7 c8 01', '66 c7 c8'],
  'a 16-bit address': [32, '67 fe 3e 01 02', '67 fe 3e 01', '67 fe 3e'],
  'the second map, alone': [64, '0f 39', '0f'],
  'the second map, with ModR/M': [64, 'f3 0f 13 c0', 'f3 0f 13'],
  'control registers have no displacement': [64, '0f 20 78', '0f 20'],
  'an offset, behind LOCK': [64, 'f0 a1 01 02 03 04 05 06 07 08', 'f0 a1 01 02 03 04 05 06 07', 'f0 a1'],
  'two immediate bytes': [64, 'f3 0f 78 c0 01 02', 'f3 0f 78 c0 01', 'f3 0f 78 c0'],
  '0F 38': [64, '0f 38 0c 40 01', '0f 38 0c 40', '0f 38 0c', '0f 38'],
  '0F 3A': [64, '0f 3a 00 c0 01', '0f 3a 00 c0', '0f 3a 00', '0f 3a'],
  'VEX of two bytes': [64, 'c5 f8 0d c0', 'c5 f8 0d', 'c5 f8'],
  'VEX of three bytes': [32, 'c4 e2 7d 10 c0', 'c4 e2 7d 10', 'c4 e2 7d', 'c4 e2'],
  'XOP': [64, '8f e8 78 00 c0', '8f e8 78 00', '8f e8'],
  'EVEX, which it takes for BOUND': [64, '62 f1', '62'],
}; // biome-ignore format: one table

const bytesOf = (hex: string): Uint8Array => Uint8Array.from(hex.split(' '), (byte) => Number.parseInt(byte, 16));
const isCutShort = (hex: string, codeSize: CodeSize): boolean =>
  lengthOfUndefined(bytesOf(hex), codeSize) > bytesOf(hex).length;

test.each(Object.entries(rows))('%s', (_name, [codeSize, whole, ...cut]) => {
  expect(lengthOfUndefined(bytesOf(whole), codeSize)).toBe(bytesOf(whole).length);
  for (const begin of cut) expect(isCutShort(begin, codeSize), begin).toBe(true);
});

test('the decoder tells it of what is invalid only', () => {
  const told = (hex: string) => [...decodeInstructions(bytesOf(hex), 64, 0)].map((one) => one.isCutShort);
  expect(told('90 60')).toEqual([false, false]);
  expect(told('90 fe 78')).toEqual([false, true]);
  // ADD EAX, imm32, two bytes of which are missing.
  expect(told('05 01 02')).toEqual([true]);
});
