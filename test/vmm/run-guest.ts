/** Guests for tests of the machine with VT-x: from assembly text or from a file to a machine and what it prints. */
import { assembleProgram } from '../../debug-adapter/assemble-program.ts';
import { nodeFiles } from '../../debug-adapter/node/file-reader.ts';
import { loadProgram } from '../../debug-adapter/program/load-program.ts';
import type { HotSpotOptions } from '../../engine/exec/compiler/hot-spots.ts';
import { createMachine, Machine } from '../../engine/machine/machine.ts';
import type { MachineConfig, Stop } from '../../engine/machine/machine-api.ts';

export const MIB = 2 ** 20;

export interface GuestOptions extends Partial<Omit<MachineConfig, 'program'>> {
  readonly entryMode?: 'real' | 'protected' | 'long';
  readonly commandLine?: string;
  /** When code is compiled, if not as is usual. */
  readonly hotSpots?: HotSpotOptions;
}

export interface GuestRun {
  readonly machine: Machine;
  /** What came out so far, of all consoles. */
  output(): string;
  /** Output of COM1 alone. */
  serial(): string;
}

/** A machine that is about to execute the first instruction of a program in a file. */
export async function guestFromFile(program: string, options: GuestOptions = {}): Promise<GuestRun> {
  const { entryMode, commandLine, ...config } = options;
  const memoryBytes = config.memoryBytes ?? 16 * MIB;
  const loaded = await loadProgram(
    { program, memoryBytes, entryMode, commandLine },
    { files: nodeFiles, assemble: assembleProgram },
  );
  const { segments, entry } = loaded;
  const program_ = { segments, entry: { ...entry, address: Number(entry.address) } };
  return observed(createMachine({ cpus: 1, virtualization: 'none', ...config, memoryBytes, program: program_ }));
}

/** The same for NASM source text. It is loaded and entered at its origin. */
export async function guestFromSource(source: string, options: GuestOptions = {}): Promise<GuestRun> {
  const { entryMode = 'long', commandLine: _, hotSpots, ...config } = options;
  const assembled = await assembleProgram('guest.asm', source, nodeFiles);
  const errors = assembled.diagnostics.filter(({ severity }) => severity === 'error');
  if (errors.length > 0) throw new Error(errors.map(({ line, message }) => `${line}: ${message}`).join('\n'));
  const [first] = assembled.segments;
  const program = { segments: assembled.segments, entry: { mode: entryMode, address: first?.address ?? 0 } };
  const whole = { cpus: 1, virtualization: 'hardware', memoryBytes: 16 * MIB, ...config, program } as const;
  return observed(new Machine(whole, hotSpots ? { hotSpots } : {}));
}

function observed(machine: Machine): GuestRun {
  const pieces: { source: string; text: string }[] = [];
  machine.onOutput = (source, bytes) => {
    pieces.push({ source, text: Buffer.from(bytes).toString('latin1') });
  };
  const join = (wanted?: string): string =>
    pieces
      .filter(({ source }) => wanted === undefined || source === wanted)
      .map(({ text }) => text)
      .join('');
  return { machine, output: () => join(), serial: () => join('serial') };
}

/** Runs to an end that is not the limit, which is far beyond what any test needs. */
export function runToEnd({ machine }: GuestRun, instructions = 50_000_000): Stop {
  return machine.run({ instructions });
}
