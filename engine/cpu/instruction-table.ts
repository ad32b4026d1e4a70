/** Tables of instructions from modules whose exports are named after them. */
import type { SystemInstruction } from './instruction.ts';

/** The decoder writes FADD as `Fadd`. */
const decoderName = (mnemonic: string): string => mnemonic[0] + mnemonic.slice(1).toLowerCase();

const isInstruction = (entry: [string, unknown]): entry is [string, SystemInstruction] =>
  /^[A-Z][A-Z0-9]+$/.test(entry[0]) && typeof entry[1] === 'function';

/** The exports of modules that are instructions, functions named in capitals, by the decoder's mnemonics. */
export const instructionsOf = (
  ...modules: readonly Readonly<Record<string, unknown>>[]
): Record<string, SystemInstruction> =>
  Object.fromEntries(
    modules.flatMap((module) =>
      Object.entries(module)
        .filter(isInstruction)
        .map(([name, execute]) => [decoderName(name), execute]),
    ),
  );
