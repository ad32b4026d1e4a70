/** Launch configurations: what is filled in for users, apart from VS Code so that it can be tested without a window. */
import type { LaunchAttributes } from '../../debug-adapter/protocol/launch.ts';

/** A configuration as it stands in launch.json or is being made. */
export interface Configuration extends Partial<LaunchAttributes> {
  readonly type: string;
  readonly name: string;
  readonly request: string;
}

/** The user's defaults, from the settings `ringside.launch.*`. */
export type LaunchDefaults = Pick<LaunchAttributes, 'virtualization' | 'memory' | 'stopOnEntry'>;

/** What stands in launch.json for the file in the editor. */
export const openFile = `\${file}`;

const programName = /\.(?:asm|nasm|s|elf|elf32|elf64|bin|img|com)$/i;

/** Whether a file looks like a guest program, by its name. */
export const isProgram = (path: string): boolean => programName.test(path);

const lastPart = (path: string): string => path.split(/[\\/]/).at(-1) ?? path;

/** What F5 does on a program without a launch.json. */
export function configurationFor(program: string, defaults: LaunchDefaults): Configuration {
  const name = `Debug ${lastPart(program)}`;
  return { type: 'ringside', name, request: 'launch', program, stopOnEntry: true, ...defaults };
}

/**
 * The configuration for a file in the text of a launch.json beside it, if there is one: the one that names the file,
 * or for a part of a program (an included file, C source, its README) the only one.
 *
 * @returns with a program in the folder of `file`
 */
export function configurationBeside(launchJson: string, file: string): Configuration | undefined {
  const parsed: unknown = parseJson(launchJson);
  if (typeof parsed !== 'object' || parsed === null || !('configurations' in parsed)) return undefined;
  const { configurations } = parsed;
  if (!Array.isArray(configurations)) return undefined;
  const own = configurations.filter(isConfiguration);
  const named = own.find(({ program }) => lastPart(program ?? '') === lastPart(file));
  if (named !== undefined) return { ...named, program: file };
  const [only] = own;
  if (isProgram(file) || only?.program === undefined || own.length > 1) return undefined;
  return { ...only, program: file.slice(0, -lastPart(file).length) + lastPart(only.program) };
}

/** A configuration of `${file}`, and what it leaves open taken from the one beside that file. */
export function completeFrom<C extends object>(configuration: C, beside: Configuration): Configuration & C {
  return { ...beside, ...configuration, ...(beside.program === undefined ? {} : { program: beside.program }) };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // With comments, or broken: then it is no help, and nobody asked for it.
  }
}

function isConfiguration(value: unknown): value is Configuration {
  return typeof value === 'object' && value !== null && 'type' in value && value.type === 'ringside';
}

const isUri = (path: string): boolean => /^[a-z][\w+.-]+:\/\//i.test(path);
const isAbsolute = (path: string): boolean => /^(?:[\\/]|[a-z]:[\\/])/i.test(path);
const isSize = (disk: string): boolean => /^\d+\s*[kmg]?(?:i?b)?$/i.test(disk.trim());
const isImage = (disk: unknown): disk is string => typeof disk === 'string' && disk !== '' && !isSize(disk);

/** Where a workspace folder is: a path on disk, or another kind of place, named by URIs. */
export interface Folder {
  /** Separates with `/`. */
  readonly path: string;
  /** A URI of the same place with another path; undefined when paths are enough. */
  readonly uriOf: ((path: string) => string) | undefined;
}

/** A file of a configuration as the adapter is to find it: an absolute path, or a URI where there are no paths. */
export function resolvePath(path: string, folder: Folder | undefined): string {
  if (!folder || isUri(path)) return path;
  const absolute = isAbsolute(path) ? path : `${folder.path}/${path.replace(/^\.[\\/]/, '')}`;
  return folder.uriOf ? folder.uriOf(absolute.replaceAll('\\', '/')) : absolute;
}

/** Resolves all files that a configuration names; what is not a path is left to the adapter to complain about. */
export function resolveFiles<C extends Attributes>(configuration: C, folder: Folder | undefined): C {
  const { program, initrd, symbolFile, devices } = configuration;
  const resolved = (name: string, path: unknown) =>
    typeof path === 'string' && path !== '' ? { [name]: resolvePath(path, folder) } : {};
  const { disk } = isAttributes(devices) ? devices : {};
  return {
    ...configuration,
    ...resolved('program', program),
    ...resolved('initrd', initrd),
    ...resolved('symbolFile', symbolFile),
    ...(isImage(disk) ? { devices: { ...Object(devices), disk: resolvePath(disk, folder) } } : {}),
  };
}

type Attributes = Readonly<Record<string, unknown>>;
const isAttributes = (value: unknown): value is Attributes => typeof value === 'object' && value !== null;
