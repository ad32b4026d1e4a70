/**
 * Which function is the semantics of which instruction. Keys are mnemonics as the decoder (iced-x86) spells them.
 * What is not here is either a system instruction (cpu/system-table.ts) or not implemented.
 */
import type { Operand } from './operand.ts';
import { ADC, ADD, CMP } from './semantics/binary-arithmetic.ts';
import type { Semantics } from './semantics-builder.ts';

/** Runs once per instruction form, to record its Operation. */
export type InstructionSemantics = (m: Semantics, ...operands: Operand[]) => void;

/** The table's functions are generic in a width that their operands share; the decoder guarantees that they do. */
const table = { Add: ADD, Adc: ADC, Cmp: CMP };

export const instructionSet: Readonly<Record<string, InstructionSemantics | undefined>> = table as unknown as Record<
  string,
  InstructionSemantics | undefined
>;
