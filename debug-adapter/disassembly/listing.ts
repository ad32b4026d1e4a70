import { hex } from '../hexadecimal.ts';
import { type CodeBits, type Disassembler, MAXIMUM_INSTRUCTION_BYTES, type NameAddress } from './disassembler.ts';

export interface ListedInstruction {
  /** Linear, unsigned. */
  readonly address: bigint;
  readonly bytes: Uint8Array;
  readonly text: string;
  /** A symbol that stands exactly here. */
  readonly symbol: string | undefined;
  readonly isValid: boolean;
}

export interface ListingSource {
  readonly disassembler: Disassembler;
  readonly bits: CodeBits;
  /** Base of the code segment: branches are relative to it. */
  readonly base: bigint;
  readonly peek: (address: bigint, lengthBytes: number) => Uint8Array;
  /** Addresses at which instructions are known to begin, in or shortly before a range; in any order. */
  readonly knownStarts: (from: bigint, to: bigint) => readonly bigint[];
  /** Names a linear address. */
  readonly name: NameAddress;
  readonly symbolAt: (address: bigint) => string | undefined;
}

const TOP = 1n << 64n;
/** A known start that is farther away than this is not decoded from. */
const MAXIMUM_RUN_UP = 4096n;

/**
 * Exactly `count` instructions, the first of them `instructionOffset` instructions from the one at `address`. Code of
 * x86 cannot be read backwards: the instructions before are found by decoding from a place that is known, or that
 * leads to `address`.
 */
export function listing(
  source: ListingSource,
  address: bigint,
  instructionOffset: number,
  count: number,
): ListedInstruction[] {
  const before = instructionOffset < 0 ? instructionsBefore(source, address, -instructionOffset) : [];
  const missing = Math.max(0, -instructionOffset - before.length);
  const padding = Array.from({ length: Math.min(missing, count) }, (_, index) =>
    unmapped(address - BigInt(missing - index), source),
  );
  const wantedAfter = Math.max(0, instructionOffset + count);
  const after = wantedAfter > 0 ? instructionsFrom(source, address, wantedAfter) : [];
  const all = [...padding, ...before, ...after];
  return all.slice(Math.max(0, instructionOffset)).slice(0, count);
}

function instructionsFrom(source: ListingSource, start: bigint, count: number): ListedInstruction[] {
  const end = start + BigInt(count * MAXIMUM_INSTRUCTION_BYTES);
  return decodeRange(source, start, end < TOP ? end : TOP, count);
}

/** The last `count` instructions that end exactly at `end`; fewer at the lowest address. */
function instructionsBefore(source: ListingSource, end: bigint, count: number): ListedInstruction[] {
  const reach = BigInt(count * MAXIMUM_INSTRUCTION_BYTES);
  const from = end > reach ? end - reach : 0n;
  const start = runUpStart(source, from, end);
  return decodeRange(source, start, end, Number.POSITIVE_INFINITY).slice(-count);
}

/** Where to begin so that decoding arrives at `end`: a known start, or the first of some bytes that does. */
function runUpStart(source: ListingSource, from: bigint, end: bigint): bigint {
  const known = source
    .knownStarts(from, end)
    .filter((start) => start <= from && from - start < MAXIMUM_RUN_UP)
    .reduce<bigint | undefined>((best, start) => (best === undefined || start > best ? start : best), undefined);
  if (known !== undefined) {
    return known;
  }
  for (let skip = 0n; skip < BigInt(MAXIMUM_INSTRUCTION_BYTES) && from + skip < end; skip += 1n) {
    const last = decodeRange(source, from + skip, end, Number.POSITIVE_INFINITY).at(-1);
    if (last?.isValid && last.address + BigInt(last.bytes.length) === end) {
      return from + skip;
    }
  }
  return from;
}

/** Decodes from `start` to `end`; bytes before a known start, or before `end`, that do not fit are listed as such. */
function decodeRange(source: ListingSource, start: bigint, end: bigint, limit: number): ListedInstruction[] {
  const starts = source
    .knownStarts(start, end)
    .filter((known) => known > start)
    .sort((a, b) => (a < b ? -1 : 1));
  const listed: ListedInstruction[] = [];
  let next = 0;
  for (let address = start; address < end && listed.length < limit; ) {
    while ((starts[next] ?? TOP) <= address) next += 1;
    const bound = starts[next] ?? end;
    const room = Number((bound < end ? bound : end) - address);
    const instruction = decodeAt(source, address, room);
    listed.push(instruction);
    address += BigInt(Math.max(1, instruction.bytes.length));
  }
  return listed;
}

function decodeAt(source: ListingSource, address: bigint, room: number): ListedInstruction {
  const bytes = source.peek(address, MAXIMUM_INSTRUCTION_BYTES);
  const { disassembler, bits, base, name } = source;
  const decoded = disassembler.decode(bytes, bits, BigInt.asUintN(64, address - base), (target) => name(target + base));
  const symbol = source.symbolAt(address);
  if (decoded === undefined) {
    return unmapped(address, source);
  }
  if (decoded.lengthBytes > room) {
    const text = `db ${hex(bytes[0] ?? 0, 2)}`;
    return { address, bytes: bytes.subarray(0, 1), text, symbol, isValid: false };
  }
  return {
    address,
    bytes: bytes.subarray(0, decoded.lengthBytes),
    text: decoded.text,
    symbol,
    isValid: decoded.isValid,
  };
}

function unmapped(address: bigint, source: ListingSource): ListedInstruction {
  const wrapped = BigInt.asUintN(64, address);
  return {
    address: wrapped,
    bytes: new Uint8Array(0),
    text: '(not mapped)',
    symbol: source.symbolAt(wrapped),
    isValid: false,
  };
}
