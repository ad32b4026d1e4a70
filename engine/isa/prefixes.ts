/** Prefixes, and what is too long by them to be an instruction. */
import { Decoder, DecoderOptions } from 'iced-x86';
import type { CodeSize } from './decode.ts';

const LEGACY_PREFIXES = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]);
export const isPrefix = (byte: number, codeSize: CodeSize): boolean =>
  LEGACY_PREFIXES.has(byte) || isRex(byte, codeSize);
/** Where the prefixes end; -1 if nothing follows them. */
export const opcodeIndex = (bytes: Uint8Array, codeSize: CodeSize): number =>
  bytes.findIndex((byte) => !isPrefix(byte, codeSize));
export const isRex = (byte: number, codeSize: CodeSize): boolean => codeSize === 64 && (byte & 0xf0) === 0x40;

/**
 * Whether bytes that do not decode exceed 15 bytes by redundant prefixes (#GP). That comes before what else is wrong with
 * them, a LOCK prefix that is not allowed for instance.
 */
export function isOverlong(bytes: Uint8Array, codeSize: CodeSize): boolean {
  let prefixes = 0;
  while (isPrefix(bytes[prefixes] ?? 0, codeSize)) prefixes++;
  if (prefixes >= MAX_INSTRUCTION_BYTES) return true;
  const last = bytes[prefixes - 1] ?? 0;
  const legacy = new Set(bytes.subarray(0, prefixes).filter((byte) => LEGACY_PREFIXES.has(byte)));
  const distinct = [...legacy, ...(isRex(last, codeSize) ? [last] : [])];
  const rest = bytes.subarray(prefixes);
  const kept = lengthOf(Uint8Array.from([...distinct, ...rest]), codeSize);
  // Some prefixes do not go with VEX.
  const length = kept > 0 ? kept - distinct.length : lengthOf(rest, codeSize) || (LEAST_BYTES[rest[0] ?? 0] ?? 0);
  return length > 0 && prefixes + length > MAX_INSTRUCTION_BYTES;
}

export const MAX_INSTRUCTION_BYTES = 15;
/** How many bytes must be read, from the escape on, before it is clear that they are no instruction. */
const LEAST_BYTES: Readonly<Record<number, number>> = { 15: 2, 98: 5, 196: 4, 197: 3 };

/** Length of the first instruction, whether or not its prefixes allow it; 0 if there is none. */
function lengthOf(bytes: Uint8Array, codeSize: CodeSize): number {
  const decoder = new Decoder(codeSize, bytes, DecoderOptions.NoInvalidCheck);
  const instruction = decoder.decode();
  try {
    return instruction.isInvalid ? 0 : instruction.length;
  } finally {
    instruction.free();
    decoder.free();
  }
}
