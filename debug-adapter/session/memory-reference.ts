import type { AddressSpaceName } from '../engine-target.ts';
import { UserError } from '../errors.ts';
import { addressSpaces } from '../expression/syntax.ts';
import { hex } from '../hexadecimal.ts';
import type { Session } from './session.ts';

/** An address of one of the three spaces, as a vCPU sees it. */
export interface MemoryReference {
  readonly space: AddressSpaceName;
  /** Unsigned. */
  readonly address: bigint;
  /** Index of the vCPU, whose tables translate it. */
  readonly vcpu: number;
}

const PREFIXES: Readonly<Record<AddressSpaceName, string>> = {
  linear: '',
  'guest-physical': 'gpa:',
  'host-physical': 'hpa:',
};
const REFERENCE = /^(?:([a-z]+):)?(0x[0-9a-f]+|[0-9]+)(?:@([0-9]+))?$/i;

/**
 * A reference as text: `0x7c00`, `gpa:0x1000`, `0x1000@1` for vCPU 1. A linear address of vCPU 0 is a plain number,
 * since clients compare such references with the addresses of a disassembly.
 */
export function formatReference({ space, address, vcpu }: MemoryReference): string {
  return `${PREFIXES[space]}${hex(BigInt.asUintN(64, address))}${vcpu === 0 ? '' : `@${vcpu}`}`;
}

/** The reverse of formatReference. */
export function resolveReference(text: string, session: Session): MemoryReference {
  const [, prefix, digits, vcpu] = REFERENCE.exec(text.trim()) ?? [];
  const space = prefix === undefined ? 'linear' : addressSpaces[prefix.toLowerCase()];
  if (digits === undefined || space === undefined) {
    throw new UserError('The memory reference is not understood', {
      expected: 'an address, as 0x7c00, gpa:0x1000 or hpa:0x1000',
      found: text,
    });
  }
  const { index } = session.vcpu(Number(vcpu ?? 0));
  return { space, address: BigInt.asUintN(64, BigInt(digits)), vcpu: index };
}
