/** What is privileged, sensitive or special for a guest about an instruction: looks it up in `sensitivity-table.ts`. */
import type { DecodedInstruction } from './decode.ts';
import { type InstructionFacts, type InstructionRow, instructionRows } from './sensitivity-table.ts';

export interface Classification extends InstructionFacts {
  /** Outside ring 0 it raises an exception, always or depending on IOPL or CR4 (`privilege` says which). */
  readonly privileged: boolean;
  /** One or two sentences for people. */
  readonly text: string;
}

function classification({ keys, ...facts }: InstructionRow, key: string): Classification {
  const privileged = facts.privilege !== 'none';
  const text = privileged
    ? `${facts.does} In ring 3: ${lowerFirst(facts.ring3)}`
    : `${facts.does} ${facts.sensitive ? `In ring 3: ${lowerFirst(facts.ring3)}` : ''}`.trim();
  return { ...facts, key, privileged, text };
}

const lowerFirst = (sentence: string): string => sentence.charAt(0).toLowerCase() + sentence.slice(1);

/** By key: every instruction that is privileged or sensitive, and those that behave in a special way as a guest. */
export const instructionFacts: ReadonlyMap<string, Classification> = new Map(
  instructionRows.flatMap((row) => row.keys.split(',').map((key) => [key, classification(row, key)])),
);

/** Facts about an instruction that need a decoded one; the rest of DecodedInstruction does not matter here. */
type Form = Pick<DecodedInstruction, 'mnemonic' | 'codeName' | 'operands'>;

/** Key of `instructionFacts` for an instruction, whether or not there is an entry under it. */
export function instructionFactsKey(instruction: Form): string {
  const { mnemonic, operands } = instruction;
  if (mnemonic === 'Mov') return movKey(instruction);
  if (mnemonic === 'Push' || mnemonic === 'Pop') {
    return operands[0]?.register?.kind === 'segment' ? `${mnemonic} sreg` : mnemonic;
  }
  if (mnemonic === 'Call' || mnemonic === 'Jmp') return isFar(instruction) ? `${mnemonic} far` : mnemonic;
  return mnemonic;
}

function movKey({ operands }: Form): string {
  for (const [index, direction] of ['to', 'from'].entries()) {
    const register = operands[index]?.register;
    if (register?.kind === 'control') return `Mov ${direction} cr${register.number}`;
    if (register?.kind === 'debug') return `Mov ${direction} dr`;
    if (register?.kind === 'segment') return `Mov ${direction} sreg`;
  }
  return 'Mov';
}

/** Far pointers in code or memory: iced-x86 names the forms Call_ptr1632, Jmp_m1664 and so on. */
const isFar = ({ codeName }: Form): boolean => /_(?:ptr|m)16(?:16|32|64)$/.test(codeName);

/** What is special about an instruction, or undefined if nothing is: it is unprivileged and no guest's business. */
export function classify(instruction: Form): Classification | undefined {
  return instructionFacts.get(instructionFactsKey(instruction));
}
