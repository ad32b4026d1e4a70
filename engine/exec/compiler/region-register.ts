/**
 * Registers that regions keep in locals, as numbers: general-purpose ones by their own, then the halves of vector
 * registers, XMM0 first, then what YMM0 has above it, and so on.
 */
import { gprAddress, gprNames, vectorAddress } from '../../cpu/state-layout.ts';
import type { DecodedInstruction } from '../../isa/decode.ts';
import { HALF_BYTES } from '../../isa/halves.ts';
import type { RegisterRef } from '../../isa/operation.ts';
import { I64, V128, type ValueType } from '../../wasm/encoder.ts';

const FIRST_VECTOR = gprNames.length;

const vectorHalf = (number: number, half: 0 | 1): number => FIRST_VECTOR + 2 * number + half;
export const isVectorHalf = (register: number): boolean => register >= FIRST_VECTOR;

/** The register that an instruction's operation refers to; undefined for those that are never in locals. */
export function regionRegister(ref: RegisterRef, { operands }: DecodedInstruction): number | undefined {
  if (ref.kind === 'gpr') return ref.number;
  if (ref.kind === 'vector') return vectorHalf(ref.number, ref.half);
  const named = ref.kind === 'operand' ? operands[ref.position]?.register : undefined;
  if (named?.kind === 'gpr') return named.number;
  return named?.kind === 'vector' && ref.kind === 'operand' ? vectorHalf(named.number, ref.half ?? 0) : undefined;
}

export const typeOfRegister = (register: number): ValueType => (isVectorHalf(register) ? V128 : I64);

/** Where the CPU state has it. */
export const addressOfRegister = (register: number): number =>
  isVectorHalf(register) ? vectorAddress(0) + (register - FIRST_VECTOR) * HALF_BYTES : gprAddress(register);

/** Bits of it. */
export const widthOfRegister = (register: number): 64 | 128 => (isVectorHalf(register) ? 128 : 64);
