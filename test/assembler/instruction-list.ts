import { assemble } from '../../debug-adapter/assembler/index.ts';
import type { Bits } from './generated-instructions.ts';
import { runNasm } from './nasm.ts';

/** An instruction and the bytes it has when it stands where the list puts it. */
export interface ListedInstruction {
  readonly text: string;
  readonly hex: string;
}

/** Lines in front of the list: every instruction may branch to `target`. */
const PREAMBLE_LINES = 2;

function programOf(bits: Bits, texts: readonly string[]): string {
  return [`bits ${bits}`, 'target:', ...texts, ''].join('\n');
}

function slices(
  image: Uint8Array,
  texts: readonly string[],
  starts: readonly (number | undefined)[],
): ListedInstruction[] {
  return texts.flatMap((text, index) => {
    const start = starts[index];
    if (start === undefined) return [];
    const end = starts.slice(index + 1).find((one) => one !== undefined) ?? image.length;
    return [{ text, hex: Buffer.from(image.subarray(start, end)).toString('hex') }];
  });
}

const MAXIMUM_ROUNDS = 30;

/** What NASM makes of those instructions that it accepts. */
export function listWithNasm(bits: Bits, texts: readonly string[]): ListedInstruction[] {
  let accepted = [...texts];
  for (let round = 0; round < MAXIMUM_ROUNDS; round++) {
    const output = runNasm(programOf(bits, accepted));
    if (output.image) {
      // A name that NASM takes for a label has no bytes; without it the list is assembled once more.
      const starts = accepted.map((_text, index) => output.offsets[index + PREAMBLE_LINES]);
      if (!starts.includes(undefined)) return slices(output.image, accepted, starts);
      accepted = accepted.filter((_text, index) => starts[index] !== undefined);
    } else if (output.badLines.size === 0) throw new Error(output.messages);
    else accepted = accepted.filter((_text, index) => !output.badLines.has(index + 1 + PREAMBLE_LINES));
  }
  throw new Error(`NASM still refuses lines after ${MAXIMUM_ROUNDS} rounds`);
}

/** What the built-in assembler makes of the same instructions; a refused one has its message in place of bytes. */
export function listWithAssembler(bits: Bits, texts: readonly string[]): ListedInstruction[] {
  const program = assemble({ path: 'list.asm', text: programOf(bits, texts) }, { readFile: () => undefined });
  const rows = new Map(program.lines.map((row) => [row.line, row]));
  const errors = program.diagnostics.filter((one) => one.severity === 'error');
  const messages = new Map(errors.map((one) => [one.line, one.message]));
  return texts.map((text, index) => {
    const line = index + 1 + PREAMBLE_LINES;
    const row = rows.get(line);
    const bytes = row && program.image?.subarray(row.address, row.address + row.length);
    return { text, hex: messages.get(line) ?? (bytes ? Buffer.from(bytes).toString('hex') : 'no bytes') };
  });
}
