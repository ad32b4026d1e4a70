/**
 * Extensions of the instruction set that an operating system enables before programs may use them. Code is decoded for those
 * that are enabled: an instruction of another is one that only faults.
 */
import type { DecodedOperand } from './decode.ts';

/** Bits of a mask. */
export const EXTENSION = { MMX: 1, SSE: 2, AVX: 4 } as const;
export const ALL_EXTENSIONS = EXTENSION.MMX | EXTENSION.SSE | EXTENSION.AVX;

/** Instructions of SSE and MMX that name none of their registers. */
const withoutRegisters: Readonly<Record<string, number>> = {
  Ldmxcsr: EXTENSION.SSE,
  Stmxcsr: EXTENSION.SSE,
  Emms: EXTENSION.MMX,
};

/** What an instruction needs. BMI instructions are encoded with VEX, too, but use general-purpose registers. */
export function extensionsOf(mnemonic: string, vex: boolean, operands: readonly DecodedOperand[]): number {
  if (vex) return mnemonic.startsWith('V') ? EXTENSION.AVX : 0;
  let needed = withoutRegisters[mnemonic] ?? 0;
  for (const { register } of operands) {
    if (register?.kind === 'vector') needed |= EXTENSION.SSE;
    else if (register?.kind === 'mmx') needed |= EXTENSION.MMX;
  }
  return needed;
}
