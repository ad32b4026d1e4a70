/** A hostile guest of a seed: its source for whoever looks into a finding, and its configuration. */
import { assembleProgram } from '../../../debug-adapter/assemble-program.ts';
import type { MachineConfig, Virtualization } from '../../../engine/index.ts';
import { programSource } from './frame.ts';
import { Random } from './random.ts';
import { randomPieces } from './statements.ts';
import { at, type EntryMode, tables } from './tables.ts';

const MODES: readonly EntryMode[] = ['long', 'protected', 'real'];
const VIRTUALIZATIONS: readonly Virtualization[] = ['none', 'hardware'];

const NO_FILES = { read: () => Promise.reject(new Error('a hostile guest includes nothing')) };

/** Around the program: whoever goes astray gets back soon. */
export const INT3 = { address: 0x1000, bytes: new Uint8Array(at.data - 0x1000).fill(0xcc) };

export interface HostileGuest {
  readonly seed: number;
  readonly name: string;
  readonly source: string;
  readonly config: MachineConfig;
}

/** Seeds go through the modes and through both ways to run a guest. */
export async function hostileGuest(seed: number): Promise<HostileGuest> {
  const mode = MODES[seed % 3] as EntryMode;
  const virtualization = VIRTUALIZATIONS[Math.floor(seed / 3) % 2] as Virtualization;
  const source = programSource(mode, randomPieces(mode, new Random(seed)));
  const { segments, diagnostics } = await assembleProgram('hostile.asm', source, NO_FILES);
  const error = diagnostics.find(({ severity }) => severity === 'error');
  if (error) {
    const { line = 1, message } = error;
    throw new Error(`seed ${seed}, line ${line}: ${message}: ${source.split('\n')[line - 1]}`);
  }
  return {
    seed,
    name: `seed ${seed} (${mode}, virtualization ${virtualization})`,
    source,
    config: {
      program: { segments: [INT3, ...segments, ...tables(mode)], entry: { mode, address: at.code } },
      memoryBytes: 0x20_0000,
      cpus: 1,
      virtualization,
      devices: { disk: new Uint8Array(8192), console: true },
    },
  };
}
