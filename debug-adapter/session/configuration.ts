import { closest } from '../closest.ts';
import type { MachineConfig } from '../engine-target.ts';
import { UserError } from '../errors.ts';
import { type EntryMode, formatBytes } from '../program/loaded-program.ts';
import type { LaunchAttributes } from '../protocol/launch.ts';
import { AttributeReader, asObject, wrongType } from './attribute-reader.ts';
import { looksLikeSize, parseSize } from './sizes.ts';

/** A launch configuration that has been checked, with all defaults in place. */
export interface LaunchConfiguration {
  readonly program: string;
  readonly virtualization: MachineConfig['virtualization'];
  readonly memoryBytes: number;
  readonly cpus: number;
  readonly cpu: MachineConfig['cpu'];
  readonly disk: { readonly path: string } | { readonly sizeBytes: number } | undefined;
  readonly diskReadOnly: boolean;
  readonly virtioConsole: boolean;
  readonly stopOnEntry: boolean;
  readonly noDebug: boolean;
  readonly history: boolean;
  readonly loadAddress: number | undefined;
  readonly entryAddress: bigint | undefined;
  readonly entryMode: EntryMode | undefined;
  readonly symbolFile: string | undefined;
  readonly commandLine: string | undefined;
  readonly initrd: string | undefined;
}

const MINIMUM_MEMORY = 2 ** 20;
const MAXIMUM_MEMORY = 3 * 2 ** 30;
const MAXIMUM_CPUS = 8;
const MAXIMUM_DISK = 2 ** 30;
const SECTOR_BYTES = 512;
const PAGE_BYTES = 4096;
const VIRTUALIZATIONS = ['none', 'hardware'] as const;
const ENTRY_MODES = ['real', 'protected', 'long'] as const;

/** What every debug configuration may have, whoever reads it. */
const COMMON_ATTRIBUTES = [
  'name', 'type', 'request', 'preLaunchTask', 'postDebugTask', 'presentation', 'internalConsoleOptions', 'debugServer',
  'suppressMultipleSessionWarning', 'windows', 'linux', 'osx', 'trace', 'restart', 'serverReadyAction',
]; // biome-ignore format: one list
const OWN_ATTRIBUTES: readonly (keyof LaunchAttributes)[] = [
  'program', 'virtualization', 'memory', 'cpus', 'cpu', 'devices', 'stopOnEntry', 'loadAddress', 'entryAddress',
  'entryMode', 'symbolFile', 'append', 'initrd', 'history', 'noDebug',
]; // biome-ignore format: one list
const CPU_ATTRIBUTES = ['model', 'features', 'pagingStructureCaches', 'randomSeed'];
const MAXIMUM_SEED = 2 ** 32 - 1;
const DEVICE_ATTRIBUTES = ['disk', 'diskReadOnly', 'console'];

/**
 * Checks a launch configuration.
 *
 * @throws UserError for the first attribute that is wrong, naming it
 */
export function checkConfiguration(attributes: Readonly<Record<string, unknown>>): LaunchConfiguration {
  refuseUnknown(attributes, OWN_ATTRIBUTES, COMMON_ATTRIBUTES, '');
  const read = new AttributeReader(attributes, '');
  const devices = readDevices(attributes.devices);
  const virtualization = read.choice('virtualization', VIRTUALIZATIONS) ?? 'none';
  return {
    program: readProgram(attributes.program),
    virtualization,
    memoryBytes: readMemory(attributes.memory),
    cpus: read.integer('cpus', 1, MAXIMUM_CPUS) ?? 1,
    cpu: readCpu(attributes.cpu),
    ...devices,
    stopOnEntry: read.boolean('stopOnEntry') ?? false,
    noDebug: read.boolean('noDebug') ?? false,
    history: read.boolean('history') ?? true,
    loadAddress: toNumber(read.address('loadAddress')),
    entryAddress: read.address('entryAddress'),
    entryMode: read.choice('entryMode', ENTRY_MODES),
    symbolFile: read.text('symbolFile'),
    commandLine: read.text('append'),
    initrd: read.text('initrd'),
  };
}

function toNumber(address: bigint | undefined): number | undefined {
  return address === undefined ? undefined : Number(address);
}

function refuseUnknown(
  attributes: Readonly<Record<string, unknown>>,
  own: readonly string[],
  common: readonly string[],
  prefix: string,
): void {
  // Clients add attributes of their own, which begin with two underscores.
  const unknown = Object.keys(attributes).find(
    (name) => !own.includes(name) && !common.includes(name) && !name.startsWith('__'),
  );
  if (unknown !== undefined) {
    const near = closest(unknown, own);
    throw new UserError(`The launch configuration has an unknown attribute "${prefix}${unknown}"`, {
      expected: own.map((name) => `"${name}"`).join(', '),
      found: `"${unknown}"`,
      whatToDo: near === undefined ? 'remove it' : `did you mean "${near}"?`,
    });
  }
}

function readProgram(value: unknown): string {
  if (typeof value !== 'string' || value.trim() === '') {
    throw new UserError('The launch configuration names no program', {
      expected: 'a path as "program"',
      found: value === undefined ? 'none' : JSON.stringify(value),
      whatToDo: `set "program", as "\${workspaceFolder}/boot.asm"`,
    });
  }
  return value;
}

function readMemory(value: unknown): number {
  const bytes = value === undefined ? 64 * 2 ** 20 : parseSize(value, '"memory"');
  if (bytes < MINIMUM_MEMORY || bytes > MAXIMUM_MEMORY || bytes % PAGE_BYTES !== 0) {
    throw new UserError('The guest cannot have so much memory', {
      expected: `a multiple of ${PAGE_BYTES} bytes from ${formatBytes(MINIMUM_MEMORY)} to ${formatBytes(MAXIMUM_MEMORY)}`,
      found: JSON.stringify(value),
      where: '"memory"',
    });
  }
  return bytes;
}

/** Model and features by their names, which the engine knows. */
function readCpu(value: unknown): LaunchConfiguration['cpu'] {
  if (value === undefined) {
    return undefined;
  }
  const cpu = asObject('cpu', value, 'an object, as { "model": "skylake" }');
  refuseUnknown(cpu, CPU_ATTRIBUTES, [], 'cpu.');
  const read = new AttributeReader(cpu, 'cpu.');
  const model = read.text('model');
  const features = readFeatures(cpu.features);
  const pagingStructureCaches = read.boolean('pagingStructureCaches');
  const randomSeed = read.integer('randomSeed', 0, MAXIMUM_SEED);
  return {
    ...(model === undefined ? {} : { model }),
    ...(features === undefined ? {} : { features }),
    ...(pagingStructureCaches === undefined ? {} : { pagingStructureCaches }),
    ...(randomSeed === undefined ? {} : { randomSeed }),
  };
}

function readFeatures(value: unknown): Record<string, boolean> | undefined {
  if (value === undefined) {
    return undefined;
  }
  const read = new AttributeReader(asObject('cpu.features', value, 'an object, as { "SMEP": false }'), 'cpu.features.');
  const names = Object.keys(value as object);
  return Object.fromEntries(names.map((name) => [name, read.boolean(name) as boolean]));
}

function readDevices(value: unknown): Pick<LaunchConfiguration, 'disk' | 'diskReadOnly' | 'virtioConsole'> {
  if (value === undefined) {
    return { disk: undefined, diskReadOnly: false, virtioConsole: false };
  }
  const devices = asObject('devices', value, 'an object, as { "disk": "64K" }');
  refuseUnknown(devices, DEVICE_ATTRIBUTES, [], 'devices.');
  const read = new AttributeReader(devices, 'devices.');
  const diskReadOnly = read.boolean('diskReadOnly') ?? false;
  if (diskReadOnly && devices.disk === undefined) {
    throw wrongType('devices.diskReadOnly', 'a "devices.disk" beside it', diskReadOnly);
  }
  return {
    disk: readDisk(devices.disk),
    diskReadOnly,
    virtioConsole: read.boolean('console') ?? false,
  };
}

/** A size makes an empty disk; everything else is the path of an image. */
function readDisk(value: unknown): LaunchConfiguration['disk'] {
  if (value === undefined) {
    return undefined;
  }
  if (typeof value === 'string' && value !== '' && !looksLikeSize(value)) {
    return { path: value };
  }
  const sizeBytes = parseSize(value, '"devices.disk"');
  if (sizeBytes < SECTOR_BYTES || sizeBytes > MAXIMUM_DISK || sizeBytes % SECTOR_BYTES !== 0) {
    throw new UserError('The disk cannot have this size', {
      expected: `a multiple of ${SECTOR_BYTES} bytes up to ${formatBytes(MAXIMUM_DISK)}, or the path of an image`,
      found: JSON.stringify(value),
      where: '"devices.disk"',
    });
  }
  return { sizeBytes };
}
