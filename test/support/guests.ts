/** Guest programs from files, booted as the command line and the debugger boot them. */
import { readFileSync } from 'node:fs';
import { assembleProgram } from '../../debug-adapter/assemble-program.ts';
import { type LoadProgramRequest, loadProgram } from '../../debug-adapter/program/load-program.ts';
import { createMachine, type Machine, type MachineConfig, type Stop } from '../../engine/index.ts';

export const MIB = 1024 * 1024;

export interface Guest {
  readonly machine: Machine;
  /** Everything the guest has printed so far, on whatever console. */
  output(): string;
  /** Runs until something other than the limit stops the guest. */
  runToEnd(limit?: number): Stop;
}

export type GuestOptions = Partial<Omit<LoadProgramRequest, 'program'>> &
  Partial<Pick<MachineConfig, 'virtualization' | 'devices' | 'cpus' | 'cpu'>>;

const files = { read: async (path: string) => new Uint8Array(readFileSync(path)) };

export async function bootGuest(program: string, options: GuestOptions = {}): Promise<Guest> {
  const { virtualization = 'none', devices = {}, cpus = 1, cpu, memoryBytes = 64 * MIB, ...request } = options;
  const loaded = await loadProgram({ program, memoryBytes, ...request }, { files, assemble: assembleProgram });
  const { mode, address, registers = {} } = loaded.entry;
  const entry = { mode, address: Number(address), registers: { ...registers } as Record<string, bigint> };
  const machine = createMachine({
    program: { segments: loaded.segments, entry },
    memoryBytes,
    cpus,
    virtualization,
    devices,
    ...(cpu ? { cpu } : {}),
  });
  const printed: number[] = [];
  machine.onOutput = (_source, bytes) => printed.push(...bytes);
  return {
    machine,
    output: () => Buffer.from(printed).toString('latin1'),
    runToEnd: (limit = 500_000_000) => machine.run({ instructions: limit }),
  };
}
