import { type CreateTarget, checkCpuConfig, type MachineConfig, type MachineControl } from '../engine-target.ts';
import { UserError } from '../errors.ts';
import { type LoadServices, loadProgram } from '../program/load-program.ts';
import { formatBytes, type LoadedProgram } from '../program/loaded-program.ts';
import type { LaunchConfiguration } from './configuration.ts';

export interface LoadedTarget {
  readonly program: LoadedProgram;
  readonly control: MachineControl;
}

const SECTOR_BYTES = 512;

/**
 * Loads the program and makes the machine that it runs on.
 *
 * @throws UserError for a file that is missing or malformed, or a CPU that cannot be
 */
export async function loadTarget(
  configuration: LaunchConfiguration,
  services: LoadServices & { readonly createTarget: CreateTarget },
): Promise<LoadedTarget> {
  const program = await loadProgram(
    {
      program: configuration.program,
      memoryBytes: configuration.memoryBytes,
      loadAddress: configuration.loadAddress,
      entryAddress: configuration.entryAddress,
      entryMode: configuration.entryMode,
      symbolFile: configuration.symbolFile,
      commandLine: configuration.commandLine,
      initrd: configuration.initrd,
    },
    services,
  );
  const disk = await readDiskImage(configuration, services);
  const config = machineConfig(configuration, program, disk);
  const complaint = checkCpuConfig(config);
  if (complaint) throw new UserError('The machine cannot have this CPU', { ...complaint, where: '"cpu"' });
  return { program, control: services.createTarget(config) };
}

function machineConfig(
  configuration: LaunchConfiguration,
  program: LoadedProgram,
  disk: Uint8Array | undefined,
): MachineConfig {
  const { mode, address, registers } = program.entry;
  return {
    program: {
      segments: program.segments,
      entry: {
        mode,
        address: Number(address),
        ...(registers === undefined ? {} : { registers: lowerCase(registers) }),
      },
    },
    memoryBytes: configuration.memoryBytes,
    cpus: configuration.cpus,
    virtualization: configuration.virtualization,
    ...(configuration.cpu === undefined ? {} : { cpu: configuration.cpu }),
    devices: {
      ...(disk === undefined ? {} : { disk, diskReadOnly: configuration.diskReadOnly }),
      console: configuration.virtioConsole,
    },
  };
}

function lowerCase(registers: Readonly<Record<string, bigint>>): Record<string, bigint> {
  return Object.fromEntries(Object.entries(registers).map(([name, value]) => [name.toLowerCase(), value]));
}

async function readDiskImage({ disk }: LaunchConfiguration, { files }: LoadServices): Promise<Uint8Array | undefined> {
  if (disk === undefined || 'sizeBytes' in disk) {
    return disk === undefined ? undefined : new Uint8Array(disk.sizeBytes);
  }
  let bytes: Uint8Array;
  try {
    bytes = await files.read(disk.path);
  } catch (error) {
    throw new UserError('The disk image cannot be read', {
      expected: 'a file, or a size as "64K"',
      found: error instanceof Error ? error.message : String(error),
      where: disk.path,
      whatToDo: 'check "devices.disk"',
    });
  }
  if (bytes.length === 0 || bytes.length % SECTOR_BYTES !== 0) {
    throw new UserError('The disk image has no whole number of sectors', {
      expected: `a multiple of ${SECTOR_BYTES} bytes`,
      found: formatBytes(bytes.length),
      where: disk.path,
    });
  }
  return bytes;
}
