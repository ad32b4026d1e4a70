/** Memory operands of x87 instructions: real, integer and packed decimal values in all sizes. */

import { binary32, binary64, extended80, type FloatFormat } from '../../float/format.ts';
import { encodeFinite } from '../../float/round.ts';
import { unpack } from '../../float/unpack.ts';
import { type LinearAddress, plus } from '../../isa/linear-address.ts';
import { checkSegment, readLinear, readOperandMemory, writeLinear } from '../access.ts';
import type { MemoryOperand } from '../instruction.ts';
import { probeOperand } from '../operands.ts';
import { Privilege, type Processor } from '../processor.ts';

/** A source operand in the registers' format. */
export interface Source {
  readonly bits: bigint;
  /** It was a denormal of the narrower format it came from. */
  readonly isDenormal: boolean;
}

/** A real of a narrower format. A signalling NaN stays one. */
function widen(format: FloatFormat, bits: bigint): Source {
  const value = unpack(format, bits);
  const isDenormal = value.class === 'denormal';
  if (value.class === 'zero') return { bits: extended80.zero(value.negative), isDenormal };
  if (isDenormal || value.class === 'normal') return { bits: encodeFinite(extended80, value), isDenormal };
  const fraction = value.significand << BigInt(extended80.fractionBits - format.fractionBits);
  return {
    bits: extended80.encode(value.negative, extended80.specialExponent, extended80.integerBit | fraction),
    isDenormal,
  };
}

/** An integer, which every register has place for. */
export function fromSigned(integer: bigint): bigint {
  const negative = integer < 0n;
  return encodeFinite(extended80, { negative, exponent: 0, significand: negative ? -integer : integer });
}

/** The real format of a memory operand's size. */
export const realFormat = (sizeBytes: number): FloatFormat => (sizeBytes === 4 ? binary32 : binary64);

/** Reads a real of 4, 8 or 10 bytes. */
export const readReal = (cpu: Processor, operand: MemoryOperand): Source => fromRaw(operand, readRaw(cpu, operand));

/** The bits in memory of a real. */
export const readRaw = (cpu: Processor, operand: MemoryOperand): bigint =>
  operand.sizeBytes === 10 ? readTenBytes(cpu, operand) : readOperandMemory(cpu, operand, 0, operand.sizeBytes);

export const fromRaw = (operand: MemoryOperand, bits: bigint): Source =>
  operand.sizeBytes === 10 ? { bits, isDenormal: false } : widen(realFormat(operand.sizeBytes), bits);

/** Reads an integer of 2, 4 or 8 bytes. */
export function readInteger(cpu: Processor, operand: MemoryOperand): Source {
  const value = readOperandMemory(cpu, operand, 0, operand.sizeBytes);
  return { bits: fromSigned(BigInt.asIntN(8 * operand.sizeBytes, value)), isDenormal: false };
}

export function readTenBytes(cpu: Processor, operand: MemoryOperand): bigint {
  const linear = checkSegment(cpu, operand.segment, operand.offset, 10, 'read');
  return tenBytesAt(cpu, linear);
}

export function tenBytesAt(cpu: Processor, linear: LinearAddress): bigint {
  const low = readLinear(cpu, linear, 8, Privilege.Current);
  return low | (readLinear(cpu, plus(linear, 8), 2, Privilege.Current) << 64n);
}

/** The linear address of the destination, which will accept a write. */
export const destination = (cpu: Processor, operand: MemoryOperand): LinearAddress =>
  probeOperand(cpu, operand, operand.sizeBytes);

/** Writes 2, 4, 8 or 10 bytes. */
export function writeDestination(cpu: Processor, linear: LinearAddress, sizeBytes: number, value: bigint): void {
  if (sizeBytes === 10) writeTenBytes(cpu, linear, value);
  else writeLinear(cpu, linear, sizeBytes, value, Privilege.Current);
}

export function writeTenBytes(cpu: Processor, linear: LinearAddress, value: bigint): void {
  writeLinear(cpu, linear, 8, value, Privilege.Current);
  writeLinear(cpu, plus(linear, 8), 2, value >> 64n, Privilege.Current);
}
