/** Writes vectors as the text that read-vectors.ts reads. */
import { extendedItems } from './extended-state.ts';
import { GPR_NAMES_32, GPR_NAMES_64, SEGMENT_NAMES } from './layout.ts';
import {
  initialState,
  type MachineState,
  type MemoryBytes,
  type Vector,
  type VectorException,
} from './read-vectors.ts';

const hex = (value: number | bigint) => value.toString(16);

/** The text of one group; consecutive vectors of one form, and of one encoding, share their heading lines. */
export function writeVectors(title: string, vectors: readonly Vector[]): string {
  const masks = commonMasks(vectors);
  const lines = [`# ${title}`];
  let previous: Vector | undefined;
  for (const vector of vectors) {
    const mask = masks.get(vector.name) ?? 0;
    const newForm = previous?.name !== vector.name;
    if (newForm) lines.push(`form ${vector.name} mask=${hex(mask)}`);
    if (newForm || hexOf(previous?.bytes ?? vector.bytes) !== hexOf(vector.bytes)) {
      lines.push(`code ${hexOf(vector.bytes)} ${vector.disassembly}`);
    }
    lines.push(vectorLine(vector, mask));
    previous = vector;
  }
  return `${lines.join('\n')}\n`;
}

/** The mask most vectors of a form have; a vector with another says so itself. */
function commonMasks(vectors: readonly Vector[]): Map<string, number> {
  const counts = new Map<string, Map<number, number>>();
  for (const { name, flagsMask } of vectors) {
    const form = counts.get(name) ?? new Map<number, number>();
    counts.set(name, form.set(flagsMask, (form.get(flagsMask) ?? 0) + 1));
  }
  const most = (form: Map<number, number>) => [...form].sort((a, b) => b[1] - a[1])[0]?.[0] ?? 0;
  return new Map([...counts].map(([name, form]) => [name, most(form)]));
}

function vectorLine(vector: Vector, formMask: number): string {
  const { input, output } = vector;
  const before = registerItems(vector, initialState(vector.mode), input);
  if (vector.flagsMask !== formMask) before.push(`m=${hex(vector.flagsMask)}`);
  before.push(`f=${hex(input.flags)}`, ...memoryItems(input.memory));
  const after = registerItems(vector, input, output);
  if (output.flags !== input.flags) after.push(`f=${hex(output.flags)}`);
  if (output.rip !== input.rip + BigInt(vector.bytes.length)) after.push(`rip=${hex(output.rip)}`);
  after.push(...memoryItems(output.memory));
  if (output.exception) after.push(exceptionItem(output.exception));
  return ` ${before.join(' ')} > ${after.join(' ') || '-'}`;
}

/** Registers of `state` that differ from `base`. */
function registerItems(vector: Vector, base: MachineState, state: MachineState): string[] {
  const names = vector.mode === 64 ? GPR_NAMES_64 : GPR_NAMES_32;
  const general = names.flatMap((name, n) =>
    state.gpr[n] === base.gpr[n] ? [] : [`${name}=${hex(state.gpr[n] ?? 0n)}`],
  );
  const segments = SEGMENT_NAMES.flatMap((name, n) =>
    state.segments[n] === base.segments[n] ? [] : [`${name}=${hex(state.segments[n] ?? 0)}`],
  );
  return [...general, ...segments, ...extendedItems(base.extended, state.extended)];
}

const memoryItems = (memory: readonly MemoryBytes[]) =>
  memory.map(({ address, bytes }) => `@${hex(address)}=${hexOf(bytes)}`);

function exceptionItem({ vector, errorCode, linearAddress }: VectorException): string {
  const parts = [`${vector}`];
  if (errorCode !== undefined) parts.push(hex(errorCode));
  if (linearAddress !== undefined) parts.push(hex(linearAddress));
  return `exc=${parts.join(',')}`;
}

export const hexOf = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
