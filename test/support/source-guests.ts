/** Small guests written into a test: assembled by the built-in assembler and started without firmware. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { assemble } from '../../debug-adapter/assembler/index.ts';
import type { GuestEntry, MachineConfig } from '../../engine/index.ts';
import { Machine, type MachineInternals } from '../../engine/machine/machine.ts';

const MIB = 1024 * 1024;

export interface SourceGuest {
  readonly machine: Machine;
  /** Address of a label. */
  label(name: string): bigint;
  output(): string;
}

export interface SourceOptions extends Partial<Pick<MachineConfig, 'cpu' | 'cpus' | 'virtualization'>> {
  readonly internals?: MachineInternals;
  /** How the first processor starts; where the image starts unless there is a label `start`. */
  readonly mode: GuestEntry['mode'];
  /** Of the text, for includes. */
  readonly path?: string;
}

/** @throws Error with the assembler's messages */
export function bootSource(text: string, options: SourceOptions): SourceGuest {
  const { mode, cpu, cpus = 1, virtualization = 'none', path: file = 'guest.asm' } = options;
  const { image, origin, symbols, sections, diagnostics } = assemble({ path: file, text }, { readFile });
  if (!image) throw new Error(diagnostics.map(({ message }) => message).join('\n'));
  const end = Math.max(...sections.map(({ start, length }) => start + length));
  const zeroBytes = Math.max(0, end - origin - image.length);
  const addresses = new Map(symbols.map(({ name, value }) => [name, BigInt(value)]));
  const address = Number(addresses.get('start') ?? origin);
  const config: MachineConfig = {
    program: { segments: [{ address: origin, bytes: image, zeroBytes }], entry: { mode, address } },
    memoryBytes: 16 * MIB,
    cpus,
    virtualization,
    ...(cpu ? { cpu } : {}),
  };
  const machine = new Machine(config, options.internals);
  const printed: number[] = [];
  machine.onOutput = (_source, bytes) => void printed.push(...bytes);
  return {
    machine,
    output: () => Buffer.from(printed).toString('latin1'),
    label: (name) => {
      const found = addresses.get(name);
      if (found === undefined) throw new Error(`expected a label of the guest, found ${name}`);
      return found;
    },
  };
}

/** As `bootSource`, from a file. */
export function bootSourceFile(file: string, options: Omit<SourceOptions, 'path'>): SourceGuest {
  return bootSource(readFileSync(file, 'utf8'), { ...options, path: file });
}

function readFile(name: string): Uint8Array | undefined {
  try {
    return new Uint8Array(readFileSync(path.normalize(name)));
  } catch {
    return undefined;
  }
}
