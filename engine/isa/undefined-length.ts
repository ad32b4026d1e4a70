/**
 * How long an instruction is that does not exist. A real CPU knows that from the opcode's place in the opcode maps, fetches as
 * many bytes, and raises #UD only then: what reaches to a page that is missing raises #PF.
 *
 * The manuals do not tell it; this is as the CPU has it that the vectors were recorded on. Where it makes differences between
 * instructions that do not exist, they are in the tables.
 */
import { Decoder, DecoderError, DecoderOptions, EncodingKind, Mnemonic } from 'iced-x86';
import type { CodeSize } from './decode.ts';
import { MAX_INSTRUCTION_BYTES, opcodeIndex } from './prefixes.ts';

const [OPERAND_SIZE, ADDRESS_SIZE] = [0x66, 0x67];
const [ESCAPE, ESCAPE_38, ESCAPE_3A] = [0x0f, 0x38, 0x3a];
const [TEST_8, TEST] = [0xf6, 0xf7];
const [XOP, VEX3, VEX2] = [0x8f, 0xc4, 0xc5];

/** What may follow an opcode. */
interface Shape {
  /** `registers`: a ModR/M byte that never has a displacement. */
  readonly modrm: 'none' | 'registers' | 'any';
  /** Bytes; `full` is the operand size, 4 bytes at most, `far` has a selector, too, and `address` is an offset. */
  readonly immediate: 0 | 1 | 2 | 3 | 4 | 'full' | 'far' | 'address';
}

/** Opcodes by ranges in hexadecimal. */
const table = (shape: Partial<Shape>, ranges: string): readonly (readonly [number, Shape])[] =>
  ranges.split(' ').flatMap((range) => {
    const [from = 0, to = from] = range.split('-').map((end) => Number.parseInt(end, 16));
    const all: Shape = { modrm: 'none', immediate: 0, ...shape };
    return Array.from({ length: to - from + 1 }, (_, n) => [from + n, all] as const);
  });

/** Those of one byte that follow something; the others stand alone. */
const oneByte: ReadonlyMap<number, Shape> = new Map([
  ...table(
    { modrm: 'any' },
    '00-03 08-0b 10-13 18-1b 20-23 28-2b 30-33 38-3b 62-63 84-8f c4-c5 d0-d3 d8-df f6-f7 fe-ff',
  ),
  ...table({ modrm: 'any', immediate: 1 }, '6b 80 82-83 c0-c1 c6'),
  ...table({ modrm: 'any', immediate: 'full' }, '69 81 c7'),
  ...table({ immediate: 1 }, '04 0c 14 1c 24 2c 34 3c 6a 70-7f a8 b0-b7 cd d4-d5 e0-e7 eb'),
  ...table({ immediate: 'full' }, '05 0d 15 1d 25 2d 35 3d 68 a9 b8-bf e8-e9'),
  ...table({ immediate: 'far' }, '9a ea'),
  ...table({ immediate: 'address' }, 'a0-a3'),
  ...table({ immediate: 2 }, 'c2 ca'),
  ...table({ immediate: 3 }, 'c8'),
]);
/** Those of the second map that do not have a ModR/M byte and nothing else. */
const secondMap: ReadonlyMap<number, Shape> = new Map([
  ...table({}, '04-0c 0e 24-27 30-3f 77 7a-7b a0-a2 a6-aa b9 c8-cf ff'),
  ...table({ immediate: 'full' }, '80-8f'),
  ...table({ modrm: 'registers' }, '20-23'),
  ...table({ modrm: 'any', immediate: 1 }, '0f 70-73 a4 ac ba c2 c4-c6'),
  ...table({ modrm: 'any', immediate: 2 }, '78'),
]);
const ALONE: Shape = { modrm: 'none', immediate: 0 };
const WITH_MODRM: Shape = { modrm: 'any', immediate: 0 };

/** Of bytes that do not decode, as the decoder says why: whether an instruction begins that goes on behind them. */
export function endsBeyond({ lastError }: Decoder, bytes: Uint8Array, codeSize: CodeSize): boolean {
  if (lengthOfUndefined(bytes, codeSize) > bytes.length) return true;
  return lastError === DecoderError.NoMoreBytes && existsWithMore(bytes, codeSize);
}

/** They exist to raise #UD. */
const UNDEFINED: ReadonlySet<Mnemonic> = new Set([Mnemonic.Ud0, Mnemonic.Ud1]);

function existsWithMore(bytes: Uint8Array, codeSize: CodeSize): boolean {
  const more = new Uint8Array(MAX_INSTRUCTION_BYTES);
  more.set(bytes.subarray(0, MAX_INSTRUCTION_BYTES));
  const decoder = new Decoder(codeSize, more, DecoderOptions.None);
  const instruction = decoder.decode();
  try {
    return !instruction.isInvalid && instruction.encoding !== EncodingKind.EVEX && !UNDEFINED.has(instruction.mnemonic);
  } finally {
    instruction.free();
    decoder.free();
  }
}

/**
 * Bytes of the instruction that the bytes begin with and that does not exist, or more than there are if they end before that
 * is known.
 */
export function lengthOfUndefined(bytes: Uint8Array, codeSize: CodeSize): number {
  const at = opcodeIndex(bytes, codeSize);
  if (at < 0) return bytes.length + 1;
  const { shape, head } = shapeAt(bytes, at, codeSize);
  if (head > bytes.length) return head;
  const prefixes = bytes.subarray(0, at);
  const operandBytes = (codeSize === 16) === prefixes.includes(OPERAND_SIZE) ? 4 : 2;
  const addressBytes = addressSize(prefixes, codeSize) / 8;
  const { modrm, immediate } = shape;
  const sizes = { full: operandBytes, far: operandBytes + 2, address: addressBytes };
  const immediateBytes = typeof immediate === 'number' ? immediate : sizes[immediate];
  if (modrm === 'none') return head + immediateBytes;
  if (head === bytes.length) return head + 1;
  return head + 1 + (modrm === 'any' ? operandAddressBytes(bytes, head, addressBytes === 2) : 0) + immediateBytes;
}

function addressSize(prefixes: Uint8Array, codeSize: CodeSize): 16 | 32 | 64 {
  const isOther = prefixes.includes(ADDRESS_SIZE);
  if (codeSize === 64) return isOther ? 32 : 64;
  return (codeSize === 16) === isOther ? 32 : 16;
}

/** What follows the opcode, and how many bytes come before that. */
function shapeAt(bytes: Uint8Array, at: number, codeSize: CodeSize): { readonly shape: Shape; readonly head: number } {
  const [opcode = 0, second = 0] = bytes.subarray(at);
  const byteAfter = (offset: number): number => bytes[at + offset] ?? 0;
  const isVector = codeSize === 64 || second >= 0xc0;
  if (opcode === ESCAPE) {
    if (second === ESCAPE_38) return { shape: WITH_MODRM, head: at + 3 };
    if (second === ESCAPE_3A) return { shape: { ...WITH_MODRM, immediate: 1 }, head: at + 3 };
    return { shape: ofMap(1, second), head: at + 2 };
  }
  if (opcode === VEX2 && isVector) return { shape: ofMap(1, byteAfter(2)), head: at + 3 };
  if (opcode === VEX3 && isVector) return { shape: ofMap(second & 31, byteAfter(3)), head: at + 4 };
  if ((opcode === TEST_8 || opcode === TEST) && (second & 0x30) === 0) {
    return { shape: { modrm: 'any', immediate: opcode === TEST_8 ? 1 : 'full' }, head: at + 1 };
  }
  // POP has 0 where the others have their map.
  if (opcode === XOP && (second & 0x38) !== 0) return { shape: ofMap(second & 31, byteAfter(3)), head: at + 4 };
  return { shape: oneByte.get(opcode) ?? ALONE, head: at + 1 };
}

/** Of an opcode of the maps that VEX and XOP choose by number. */
function ofMap(map: number, opcode: number): Shape {
  if (map === 1) return secondMap.get(opcode) ?? WITH_MODRM;
  return { modrm: 'any', immediate: map === 3 ? 1 : map === 10 ? 4 : 0 };
}

/** SIB and displacement. */
function operandAddressBytes(bytes: Uint8Array, at: number, isShort: boolean): number {
  const modrm = bytes[at] ?? 0;
  const [mod, rm] = [modrm >> 6, modrm & 7];
  if (mod === 3) return 0;
  if (isShort) return mod === 1 ? 1 : mod === 2 || rm === 6 ? 2 : 0;
  const hasSib = rm === 4;
  const base = hasSib ? (bytes[at + 1] ?? 0) & 7 : rm;
  return (hasSib ? 1 : 0) + (mod === 1 ? 1 : mod === 2 || base === 5 ? 4 : 0);
}
