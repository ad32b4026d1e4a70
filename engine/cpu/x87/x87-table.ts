/** The x87 instructions by the decoder's mnemonics. */
import type { SystemInstruction } from '../instruction.ts';
import * as arithmetic from './arithmetic.ts';
import * as comparison from './compare.ts';
import * as control from './control.ts';
import * as data from './data-transfer.ts';
import * as remainder from './remainder.ts';
import * as transcendental from './transcendental.ts';
import * as trigonometric from './trigonometric.ts';

/** The decoder writes FADD as `Fadd`. */
const decoderName = (mnemonic: string): string => mnemonic[0] + mnemonic.slice(1).toLowerCase();

const groups: Readonly<Record<string, SystemInstruction>>[] = [
  instructionsOf(arithmetic),
  instructionsOf(comparison),
  instructionsOf(control),
  instructionsOf(data),
  instructionsOf(remainder),
  instructionsOf(transcendental),
  instructionsOf(trigonometric),
];

/** The exports of a module that are instructions: those in capitals. */
function instructionsOf(module: Readonly<Record<string, unknown>>): Record<string, SystemInstruction> {
  const entries = Object.entries(module).filter(([name]) => /^(F[A-Z0-9]+|WAIT)$/.test(name));
  return Object.fromEntries(entries) as Record<string, SystemInstruction>;
}

export const x87Instructions: Readonly<Record<string, SystemInstruction>> = Object.fromEntries(
  groups.flatMap((group) => Object.entries(group).map(([name, execute]) => [decoderName(name), execute])),
);
