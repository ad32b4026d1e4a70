import { closest } from '../closest.ts';
import { isUserError, UserError } from '../errors.ts';
import { checkConfiguration, type LaunchConfiguration } from '../session/configuration.ts';

/** `ringside run`, its options checked. */
export interface RunCommand {
  readonly configuration: LaunchConfiguration;
  readonly maxInstructions: number | undefined;
  /** A line for each VM exit. */
  readonly exits: boolean;
  /** A line for each instruction. */
  readonly trace: boolean;
  readonly stats: boolean;
}

export type Command = { readonly kind: 'help' } | ({ readonly kind: 'run' } & RunCommand);

/** Wrong use of the command: exit status 2. */
export class UsageError extends UserError {}

interface Option {
  /** What follows it; absent for a switch. */
  readonly value?: string;
  /** The attribute of a launch configuration that it sets. */
  readonly attribute?: string;
  readonly isNumber?: boolean;
  readonly help: string;
}

const OPTIONS: Readonly<Record<string, Option>> = {
  '--virtualization': {
    value: 'none|hardware',
    attribute: 'virtualization',
    help: 'bare machine, or a guest of the built-in hypervisor (default: none)',
  },
  '--memory': { value: 'SIZE', attribute: 'memory', help: 'guest memory, as 64M or 1G (default: 64M)' },
  '--cpus': { value: 'COUNT', attribute: 'cpus', isNumber: true, help: 'number of vCPUs (default: 1)' },
  '--cpu': {
    value: 'MODEL',
    attribute: 'cpu',
    help: 'CPU model, with features added or taken away: skylake,+SHA,-SMEP',
  },
  '--append': { value: 'TEXT', attribute: 'append', help: 'command line of a Multiboot kernel' },
  '--initrd': { value: 'FILE', attribute: 'initrd', help: 'module of a Multiboot kernel' },
  '--disk': {
    value: 'FILE|SIZE',
    attribute: 'disk',
    help: 'virtio block device: an image, or the size of an empty disk',
  },
  '--console': { help: 'virtio console device' },
  '--load-address': {
    value: 'ADDRESS',
    attribute: 'loadAddress',
    help: 'where a flat binary or assembled source is loaded',
  },
  '--entry-mode': {
    value: 'real|protected|long',
    attribute: 'entryMode',
    help: 'CPU mode in which the program starts',
  },
  '--max-instructions': { value: 'COUNT', help: 'stop after so many instructions, with exit status 1' },
  '--exits': { help: 'print a line for each VM exit on standard error' },
  '--trace': { help: 'print a line for each instruction, with the registers it changed, on standard error' },
  '--stats': { value: 'json', help: 'print statistics on standard error at the end' },
};

export function usage(): string {
  const rows = Object.entries(OPTIONS).map(
    ([name, { value, help }]) => `  ${`${name} ${value ?? ''}`.padEnd(38)}${help}`,
  );
  return [
    'Usage: ringside run PROGRAM [OPTION]...',
    'Runs a guest program to its end: NASM source (.asm), a flat binary, a Multiboot kernel or an ELF executable.',
    'What the guest prints goes to standard output; its exit code is the exit status.',
    '',
    ...rows,
    '',
    'Exit status: that of the guest; 1 if it stops in another way; 2 for wrong use.',
    '',
  ].join('\n');
}

/** @throws UsageError saying what was expected */
export function parseArguments(args: readonly string[]): Command {
  const [command, ...rest] = args;
  if (command === '--help' || command === '-h' || command === 'help' || rest.includes('--help')) {
    return { kind: 'help' };
  }
  if (command !== 'run') {
    throw new UsageError(command === undefined ? 'No command is given' : `There is no command '${command}'`, {
      expected: 'ringside run PROGRAM',
    });
  }
  return parseRun(rest);
}

function parseRun(args: readonly string[]): Command {
  const programs: string[] = [];
  const values = new Map<string, string>();
  const queue = [...args];
  for (let argument = queue.shift(); argument !== undefined; argument = queue.shift()) {
    if (argument.startsWith('--')) {
      readOption(argument, queue, values);
    } else {
      programs.push(argument);
    }
  }
  const [program] = programs;
  if (program === undefined || programs.length > 1) {
    throw new UsageError(program === undefined ? 'No program is given' : 'More than one program is given', {
      expected: 'one PROGRAM',
      found: programs.length === 0 ? 'none' : programs.join(' '),
    });
  }
  return { kind: 'run', ...toCommand(program, values) };
}

/** `--memory 64M` or `--memory=64M`. */
function readOption(argument: string, queue: string[], values: Map<string, string>): void {
  const equals = argument.indexOf('=');
  const name = equals < 0 ? argument : argument.slice(0, equals);
  const option = Object.hasOwn(OPTIONS, name) ? OPTIONS[name] : undefined;
  if (option === undefined) {
    const near = closest(name, Object.keys(OPTIONS));
    throw new UsageError(
      `There is no option '${name}'`,
      near === undefined ? {} : { whatToDo: `did you mean ${near}?` },
    );
  }
  if (option.value === undefined && equals >= 0) {
    throw new UsageError(`The option ${name} takes no value`, { found: argument });
  }
  const value = option.value === undefined ? '' : equals < 0 ? queue.shift() : argument.slice(equals + 1);
  if (value === undefined) {
    throw new UsageError(`The option ${name} needs a value`, { expected: `${name} ${option.value}` });
  }
  values.set(name, value);
}

function toCommand(program: string, values: ReadonlyMap<string, string>): RunCommand {
  const attributes: Record<string, unknown> = { program };
  for (const [name, value] of values) {
    const option = OPTIONS[name];
    if (option?.attribute === 'cpu') {
      attributes.cpu = cpuOf(value);
    } else if (option?.attribute !== undefined && option.attribute !== 'disk') {
      attributes[option.attribute] = option.isNumber ? Number(value) : value;
    }
  }
  const disk = values.get('--disk');
  attributes.devices = { console: values.has('--console'), ...(disk === undefined ? {} : { disk }) };
  return {
    configuration: checked(attributes),
    maxInstructions: countOf(values.get('--max-instructions')),
    exits: values.has('--exits'),
    trace: values.has('--trace'),
    stats: statsOf(values.get('--stats')),
  };
}

/** `skylake,+SHA,-SMEP`; the model may be missing. */
function cpuOf(text: string): Record<string, unknown> {
  const parts = text.split(',');
  const model = /^[+-]/.test(parts[0] ?? '') ? undefined : parts.shift();
  const wrong = parts.find((part) => !/^[+-]./.test(part));
  if (wrong !== undefined) {
    throw new UsageError('--cpu has a feature without + or -', { expected: `+${wrong} or -${wrong}`, found: wrong });
  }
  const features = Object.fromEntries(parts.map((part) => [part.slice(1), part.startsWith('+')]));
  return { ...(model === undefined ? {} : { model }), features };
}

/** The options mean what the attributes of launch.json mean; so do their errors. */
function checked(attributes: Record<string, unknown>): LaunchConfiguration {
  try {
    return checkConfiguration(attributes);
  } catch (error) {
    throw isUserError(error) ? new UsageError(error.summary, error.detail) : error;
  }
}

function countOf(text: string | undefined): number | undefined {
  const count = text === undefined ? undefined : Number(text.replaceAll('_', ''));
  if (count !== undefined && (!Number.isSafeInteger(count) || count < 1)) {
    throw new UsageError('--max-instructions needs a count', { expected: 'a whole number from 1', found: text ?? '' });
  }
  return count;
}

function statsOf(format: string | undefined): boolean {
  if (format !== undefined && format !== 'json') {
    throw new UsageError('The format of --stats is not known', { expected: 'json', found: format });
  }
  return format !== undefined;
}
