/** Random operands of a hostile guest's statements, as assembly text. */
import type { Random } from './random.ts';
import { at, type EntryMode, SELECTORS } from './tables.ts';

export interface Writer {
  readonly random: Random;
  readonly mode: EntryMode;
  /** A name that no other label has. */
  label(): string;
}

/** The registers as wide as the mode; the stack pointer is seldom written. */
export const registers = {
  real: ['ax', 'bx', 'cx', 'dx', 'si', 'di', 'bp'],
  protected: ['eax', 'ebx', 'ecx', 'edx', 'esi', 'edi', 'ebp'],
  long: ['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'r8', 'r9', 'r12', 'r13', 'r15'],
} as const;

export const DEVICES = [0xfee0_0000, 0xfeb0_0000, 0xfeb0_0200, 0xfec0_0000, 0xb_8000];
export const TABLES = [
  at.pml4,
  at.pdpt,
  at.pageDirectory,
  at.pageTable,
  at.directory32,
  at.table32,
  at.paePdpt,
  at.ept + 0x3000,
];
export const ROOTS = [at.pml4, at.directory32, at.paePdpt, at.pdpt];
export const PORTS = [
  ...[0x20, 0x21, 0xa0, 0xa1, 0x40, 0x41, 0x42, 0x43, 0x60, 0x61, 0x64, 0x70, 0x71, 0x80, 0x3f8, 0x3f9, 0x3fa, 0x3fb],
  ...[0x3fc, 0x3fd, 0x3fe, 0x3ff, 0xe9, 0xcf8, 0xcfc, 0xffff, 0x1ce],
];
export const RAM_END = 0x20_0000;

/** An address as a literal: of data most often, of code, tables, devices, the ends of pages and of memory. */
export function address({ random, mode }: Writer): string {
  if (mode === 'real') return `${random.pick([random.below(0x1_0000), 0xffff, at.code + random.below(0x600), 0x7fff])}`;
  const near = random.pick([
    at.data + random.below(0x1000),
    at.data + 0x1000 - random.below(9),
    at.code + random.below(0x1000),
    random.pick(TABLES) + 8 * random.below(512),
    random.pick(DEVICES) + 4 * random.below(0x100),
    random.pick([at.gdt, at.idt, at.tss, at.ldt, at.vmcs, at.stack]) + random.below(0x100),
    RAM_END - random.below(10),
    RAM_END + random.below(0x10_0000),
    random.value(),
  ]);
  return mode === 'long' && random.once(8)
    ? random.pick(['0x7fffffffffff', '0x800000000000', '-1', '-4096'])
    : `${near}`;
}

export const register = ({ random, mode }: Writer): string => random.pick(registers[mode]);
export const value = ({ random, mode }: Writer): string => (mode === 'long' ? random.value64() : `${random.value()}`);
export const selector = ({ random }: Writer): number =>
  random.below(SELECTORS) * 8 + random.pick([0, 0, 3, random.below(8)]);
/** Loads an address into a register that can be a base in every mode. */
export const point = (
  w: Writer,
  base = w.mode === 'real' ? 'bx' : w.mode === 'long' ? 'rbx' : 'ebx',
): [string, string] => [`mov ${base}, ${address(w)}`, `[${base}]`];
