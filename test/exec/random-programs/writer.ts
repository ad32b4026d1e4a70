/** What the makers of random statements share: names of registers and places, and the shape of a statement. */
import type { Random } from '../../machine/hostile/random.ts';
import { at, type EntryMode } from '../../machine/hostile/tables.ts';

export interface Writer {
  readonly random: Random;
  readonly mode: EntryMode;
  /** Bytes of an address and of what PUSH pushes. */
  readonly size: 2 | 4 | 8;
  /** A name that no other label has. */
  label(): string;
  /** Functions that may be called freely: none of them leads back. */
  readonly callees: readonly string[];
  /** All functions. */
  readonly functions: readonly string[];
}

/** Lines of assembly text. Every line but a label can be left out and leaves a program. */
export type Statement = (w: Writer) => string[];

const LOW = ['a', 'c', 'd', 'b'] as const;
const HIGH = ['r8', 'r9', 'r10', 'r11'] as const;

/** The name of a legacy register at a width: `ax` and `si` become `eax`, `rsi` … */
export function wide(w: Pick<Writer, 'mode'>, name: string): string {
  return { real: '', protected: 'e', long: 'r' }[w.mode] + name;
}

/** Accumulator, counter, data, base: those with a low byte in every mode. */
const low = (letter: string, width: number): string =>
  ({ 8: `${letter}l`, 16: `${letter}x`, 32: `e${letter}x`, 64: `r${letter}x` })[width] as string;

/** A register that statements may change: BP counts loops, SP is the stack's. */
export function register(w: Writer, width = operandWidth(w)): string {
  const { random, mode } = w;
  if (mode === 'long' && random.once(3)) return random.pick(HIGH) + { 8: 'b', 16: 'w', 32: 'd', 64: '' }[width];
  if (width === 8) return random.once(4) ? `${random.pick(LOW)}h` : low(random.pick(LOW), 8);
  if (random.once(3)) return { 16: '', 32: 'e', 64: 'r' }[width] + random.pick(['si', 'di']);
  return low(random.pick(LOW), width);
}

export function operandWidth({ random, mode }: Writer): 8 | 16 | 32 | 64 {
  return random.pick(mode === 'long' ? [8, 16, 32, 32, 64, 64] : mode === 'real' ? [8, 16, 16, 32] : [8, 16, 32, 32]);
}

/** Of the instructions that have no 8-bit form. */
export const wideWidth = ({ random, mode }: Writer): 16 | 32 | 64 =>
  random.pick(mode === 'long' ? [16, 32, 64] : [16, 32]);

export const sizeWord = (width: number): string =>
  ({ 8: 'byte', 16: 'word', 32: 'dword', 64: 'qword' })[width] as string;

export const immediate = ({ random }: Writer, width: number): string => {
  if (random.once(2)) return `${random.pick([random.below(128), -1 - random.below(128)])}`;
  const value = random.value();
  return width >= 32 ? `${value | 0}` : `${value % 2 ** width}`;
};

const CONDITIONS = ['o', 'no', 'c', 'nc', 'z', 'nz', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'];
export const condition = ({ random }: Writer): string => random.pick(CONDITIONS);

/** Pages of data, and what lies at some of them in the modes that page. */
export const data = {
  real: 0x2000,
  protected: at.data,
  long: at.data,
} as const satisfies Record<EntryMode, number>;
export const DATA_BYTES = 0x4000;
export const UNMAPPED_PAGE = at.data + 0x5000;
export const READ_ONLY_PAGE = at.data + 0x6000;
/** Cells that the program keeps for itself. */
export const cell = (mode: EntryMode) => {
  const start = data[mode] + DATA_BYTES;
  return { depth: start, ticks: start + 8, faults: start + 16, ready: start + 24 };
};

/** Where the page-table entry of a page lies; none in real mode. */
export function entryOf(mode: EntryMode, page: number | string): string {
  const table = mode === 'long' ? at.pageTable : at.table32;
  return `${table} + (${page}) / 4096 * ${mode === 'long' ? 8 : 4}`;
}
