import type { AddressSpaceName, Vcpu } from '../engine-target.ts';
import { UserError } from '../errors.ts';
import { hex } from '../hexadecimal.ts';

const SPACE_WORDS: Readonly<Record<AddressSpaceName, string>> = {
  linear: 'linear address',
  'guest-physical': 'guest-physical address',
  'host-physical': 'host-physical address',
};

/** Reads a little-endian number. */
export function readInteger(vcpu: Vcpu, space: AddressSpaceName, address: bigint, lengthBytes: number): bigint {
  const bytes = vcpu.peek(space, address, lengthBytes);
  if (bytes.length < lengthBytes) {
    throw unreadable(space, address + BigInt(bytes.length));
  }
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

export function writeInteger(
  vcpu: Vcpu,
  space: AddressSpaceName,
  address: bigint,
  lengthBytes: number,
  value: bigint,
): void {
  const bytes = Uint8Array.from({ length: lengthBytes }, (_, index) => Number((value >> BigInt(8 * index)) & 0xffn));
  const written = vcpu.poke(space, address, bytes);
  if (written < lengthBytes) {
    throw unreadable(space, address + BigInt(written));
  }
}

/** Text up to the zero byte, at most `limit` bytes; shorter where memory ends. */
export function readText(vcpu: Vcpu, space: AddressSpaceName, address: bigint, limit = 256): string {
  const bytes = vcpu.peek(space, address, limit);
  if (bytes.length === 0) {
    throw unreadable(space, address);
  }
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

function unreadable(space: AddressSpaceName, address: bigint): UserError {
  return new UserError(`The ${SPACE_WORDS[space]} is not mapped`, {
    expected: 'memory',
    found: `nothing at ${hex(BigInt.asUintN(64, address))}`,
    ...(space === 'linear' ? { whatToDo: 'see the Translation panel for the entry that is missing' } : {}),
  });
}
