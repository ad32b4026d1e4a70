/**
 * Reads the vectors under data/: what single instructions did on a real x86 CPU.
 * The text format is described in README.md, the memory layout in layout.ts.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import {
  copyExtendedState,
  DEFAULT_EXTENDED_STATE,
  type ExtendedState,
  isExtendedItem,
  setExtendedItem,
} from './extended-state.ts';
import {
  defaultRegisters,
  FIXED_FLAGS,
  GPR_NAMES_32,
  GPR_NAMES_64,
  initialInstructionPointer,
  initialSegments,
  type Mode,
  SEGMENT_NAMES,
  STATUS_FLAGS,
} from './layout.ts';

export type { Mode } from './layout.ts';

/** Bytes at a linear address. */
export interface MemoryBytes {
  address: number;
  bytes: Uint8Array;
}

export interface MachineState {
  /** 16 registers in encoding order. In 32- and 16-bit mode the first eight, 32 bits wide; the others are 0. */
  gpr: bigint[];
  /** RFLAGS. RF is never set. */
  flags: number;
  /** The instruction pointer: an offset in CS, which is the linear address itself in 32- and 64-bit mode. */
  rip: bigint;
  /** Selectors of ES, CS, SS, DS, FS, GS. In 16-bit mode the base is the selector times 16. */
  segments: number[];
  /** Shared with other states as long as they do not differ: copy it before changing it. */
  extended: ExtendedState;
  /** Input: bytes that differ from the layout's fills. Output: bytes that differ from the input. */
  memory: MemoryBytes[];
}

/** What a mode starts from when nothing else is said. */
export function initialState(mode: Mode): MachineState {
  return {
    gpr: defaultRegisters(mode),
    flags: FIXED_FLAGS,
    rip: BigInt(initialInstructionPointer(mode)),
    segments: initialSegments(mode),
    extended: DEFAULT_EXTENDED_STATE,
    memory: [],
  };
}

export interface VectorException {
  vector: number;
  /** For the exceptions that have one, outside of real-address mode. */
  errorCode?: number;
  /** CR2, for a page fault. */
  linearAddress?: bigint;
}

export interface Vector {
  /** The form: the name of iced-x86's `Code`, for instance `Add_rm8_r8`. */
  name: string;
  /** Group, form, and the line in the group's file. */
  id: string;
  mode: Mode;
  bytes: Uint8Array;
  disassembly: string;
  input: MachineState;
  /** After the instruction; with an exception, the state that its handler would return to (flags as pushed, without RF). */
  output: MachineState & { exception?: VectorException };
  /** The bits of RFLAGS that the manual defines after this instruction on these inputs; compare no others. */
  flagsMask: number;
}

const DATA = new URL('./data/', import.meta.url);

/** The names of all groups, such as `64-shift`: mode, then subject. */
export function vectorGroups(): string[] {
  return [...groupFiles().keys()].sort();
}

/** The file of each group. */
function groupFiles(): Map<string, string> {
  return new Map(readdirSync(DATA).map((file) => [file.replace(/\.txt(\.gz)?$/, ''), file]));
}

/** The text of a group. */
export function vectorText(group: string): string {
  const file = groupFiles().get(group);
  if (file === undefined) throw new Error(`expected a vector group, found "${group}"`);
  const bytes = readFileSync(new URL(file, DATA));
  return (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString();
}

/** All vectors of a group. Throws with file and line when the text is malformed. */
export function* readVectors(group: string): Generator<Vector> {
  yield* parseVectors(group, vectorText(group));
}

interface Heading {
  mode: Mode;
  name: string;
  mask: number;
  bytes: Uint8Array;
  disassembly: string;
}

/** As readVectors, from text. */
export function* parseVectors(group: string, text: string): Generator<Vector> {
  const heading: Heading = {
    mode: modeOf(group),
    name: '',
    mask: STATUS_FLAGS,
    bytes: new Uint8Array(),
    disassembly: '',
  };
  let lineNumber = 0;
  for (const line of text.split('\n')) {
    lineNumber++;
    if (line === '' || line.startsWith('#')) continue;
    try {
      if (!line.startsWith(' ')) readHeading(heading, line);
      else yield readVector(heading, line, `${group} ${heading.name} line ${lineNumber}`);
    } catch (error) {
      throw new Error(`test/vectors/data/${group}.txt:${lineNumber}: ${(error as Error).message}`);
    }
  }
}

function modeOf(group: string): Mode {
  const mode = Number.parseInt(group, 10);
  if (mode === 16 || mode === 32 || mode === 64) return mode;
  throw new Error(`vector group ${group}: expected a name that starts with 16-, 32- or 64-`);
}

function readHeading(heading: Heading, line: string): void {
  const form = /^form (\S+) mask=([0-9a-f]+)$/.exec(line);
  const code = /^code ([0-9a-f]+) (.*)$/.exec(line);
  if (form) {
    heading.name = form[1] ?? '';
    heading.mask = hexNumber(form[2] ?? '');
  } else if (code) {
    heading.bytes = hexBytes(code[1] ?? '');
    heading.disassembly = code[2] ?? '';
  } else {
    throw new Error(`expected "form NAME mask=HEX", "code HEX TEXT" or an indented vector, found "${line}"`);
  }
}

function readVector(heading: Heading, line: string, id: string): Vector {
  const [before, after, extra] = line.split(' > ');
  if (before === undefined || after === undefined || extra !== undefined) throw new Error('expected INPUT > OUTPUT');
  const { mode, bytes } = heading;
  const vector: Vector = {
    name: heading.name,
    id,
    mode,
    bytes,
    disassembly: heading.disassembly,
    input: { ...initialState(mode), flags: 0 },
    output: { ...initialState(mode), rip: 0n },
    flagsMask: heading.mask,
  };
  for (const item of items(before)) {
    if (item.startsWith('m=')) vector.flagsMask = hexNumber(item.slice(2));
    else readStateItem(vector.input, DEFAULT_EXTENDED_STATE, item);
  }
  const { input } = vector;
  const next = input.rip + BigInt(bytes.length);
  vector.output = { ...input, gpr: [...input.gpr], segments: [...input.segments], memory: [], rip: next };
  for (const item of items(after)) {
    if (item.startsWith('exc=')) vector.output.exception = readException(item.slice(4));
    else readStateItem(vector.output, input.extended, item);
  }
  return vector;
}

const items = (text: string) => text.split(' ').filter((item) => item !== '' && item !== '-');

/** `shared` is the extended state to be left as it is. */
function readStateItem(state: MachineState, shared: ExtendedState, item: string): void {
  const [name = '', value = ''] = item.split('=');
  if (name.startsWith('@')) {
    state.memory.push({ address: hexNumber(name.slice(1)), bytes: hexBytes(value) });
  } else if (name === 'f') {
    state.flags = hexNumber(value);
  } else if (name === 'rip') {
    state.rip = BigInt(`0x${value}`);
  } else if (registerNumber(name) >= 0) {
    state.gpr[registerNumber(name)] = BigInt(`0x${value}`);
  } else if ((SEGMENT_NAMES as readonly string[]).includes(name)) {
    state.segments[(SEGMENT_NAMES as readonly string[]).indexOf(name)] = hexNumber(value);
  } else if (isExtendedItem(name)) {
    if (state.extended === shared) state.extended = copyExtendedState(shared);
    setExtendedItem(state.extended, name, value);
  } else {
    throw new Error(`expected a register, f, rip, exc or @address, found "${item}"`);
  }
}

function registerNumber(name: string): number {
  const wide = GPR_NAMES_64.indexOf(name);
  return wide >= 0 ? wide : GPR_NAMES_32.indexOf(name);
}

/** `vector`, `vector,errorCode` or `vector,errorCode,linearAddress`: the vector decimal, the others hexadecimal. */
function readException(text: string): VectorException {
  const [vector, errorCode, linearAddress] = text.split(',');
  return {
    vector: Number.parseInt(vector ?? '', 10),
    ...(errorCode === undefined ? {} : { errorCode: hexNumber(errorCode) }),
    ...(linearAddress === undefined ? {} : { linearAddress: BigInt(`0x${linearAddress}`) }),
  };
}

function hexNumber(text: string): number {
  if (!/^[0-9a-f]+$/.test(text)) throw new Error(`expected a hexadecimal number, found "${text}"`);
  return Number.parseInt(text, 16);
}

function hexBytes(text: string): Uint8Array {
  if (!/^([0-9a-f]{2})+$/.test(text)) throw new Error(`expected hexadecimal bytes, found "${text}"`);
  return Uint8Array.from({ length: text.length / 2 }, (_, i) => Number.parseInt(text.slice(2 * i, 2 * i + 2), 16));
}
