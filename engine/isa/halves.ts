/** The halves of operands of 256 bits; one of 128 bits has the lower one only. */
import { constant } from '../expr/expr.ts';
import type { Operand } from './operand.ts';
import type { AddressRef, Half } from './operation.ts';

/** Of a vector register of 256 bits. */
export const HALF_BYTES = 16;

export const halvesOf = ({ halves }: Operand): readonly Half[] => (halves === 2 ? [0, 1] : [0]);

export function halfAddress({ position, halves }: Operand, half: Half): AddressRef {
  if (half === 1) return { kind: 'operand', position, plus: constant(64, HALF_BYTES) };
  return halves === 2 ? { kind: 'operand', position, extentBytes: 2 * HALF_BYTES } : { kind: 'operand', position };
}
