/** The state of QEMU's CPU: from the registers that GDB is told, and from `info registers`, which has the hidden parts. */
import type { Departures } from '../compare.ts';
import { GPRS, registerOf, SEGMENTS, type State } from '../state.ts';

/** GDB's order of the x86-64 registers, with their lengths in bytes. */
const GDB_GPRS = [
  'rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'rsp', ...GPRS.slice(8),
]; // biome-ignore format: one row a register file
const each = (names: readonly string[], bytes: number) => names.map((name) => [name, bytes] as const);
const LAYOUT: readonly (readonly [name: string, bytes: number])[] = [
  ...each([...GDB_GPRS, 'rip'], 8),
  ...each(['rflags', 'cs', 'ss', 'ds', 'es', 'fs', 'gs'], 4),
  ...each(['fs_base', 'gs_base', 'kernel_gs_base', 'cr0', 'cr2', 'cr3', 'cr4', 'cr8', 'efer'], 8),
  ...each(
    Array.from({ length: 8 }, (_, n) => `fpr${n}`),
    10,
  ),
  ...each(['fcw', 'fsw', 'ftag', 'fiseg', 'fioff', 'foseg', 'fooff', 'fop'], 4),
  ...each(
    Array.from({ length: 16 }, (_, n) => `xmm${n}`),
    16,
  ),
  ['mxcsr', 4],
];

export type GdbRegisters = Record<string, bigint>;

/** Of the answer to `g`: hexadecimal, little-endian. */
export function parseGdbRegisters(text: string): GdbRegisters {
  const registers: GdbRegisters = {};
  let at = 0;
  for (const [name, bytes] of LAYOUT) {
    const digits = text.slice(at, at + 2 * bytes);
    registers[name] = BigInt(`0x${digits.match(/../g)?.reverse().join('') || '0'}`);
    at += 2 * bytes;
  }
  if (at !== text.length) throw new Error(`expected ${at / 2} bytes of registers, found ${text.length / 2}`);
  return registers;
}

/** What QEMU 7.2 takes for four bytes long in `G`, outside of 64-bit code, though it answers `g` with eight. */
const SHORT_IN_G = new Set(['fs_base', 'gs_base', 'kernel_gs_base', 'cr0', 'cr2', 'cr3', 'cr4', 'cr8', 'efer']);

/** For `G`, outside of 64-bit code. */
export const formatGdbRegisters = (registers: GdbRegisters): string =>
  LAYOUT.map(([name, bytes]) => {
    const digits =
      (registers[name] ?? 0n)
        .toString(16)
        .padStart(2 * bytes, '0')
        .match(/../g) ?? [];
    const all = digits.reverse().join('');
    return SHORT_IN_G.has(name) ? all.slice(0, 8) : all;
  }).join('');

/** Type, S, DPL and P; AVL, L, D/B and G: bits 8 to 15 and 20 to 23 of a descriptor's second half. */
const ATTRIBUTES = 0xf0ffn;
const UNUSABLE = 0x1_0000n;
const PRESENT = 0x80n;
const SELECTORS: Readonly<Record<string, string>> = { ldtr: 'LDT', tr: 'TR' };

/** The whole state. `printed` is what `info registers` prints. */
export function stateOf(registers: GdbRegisters, printed: string): State {
  const state: Record<string, bigint> = {};
  for (const name of [...GPRS, 'rip', 'rflags', 'cr0', 'cr2', 'cr3', 'cr4', 'cr8', 'efer'])
    state[name] = registers[name] ?? 0n;
  for (const name of SEGMENTS) Object.assign(state, segmentOf(name, printed));
  for (const name of ['gdt', 'idt']) {
    const [, base, limit] = match(printed, new RegExp(`^${name.toUpperCase()}= +(\\w+) (\\w+)`, 'm'));
    Object.assign(state, { [`${name}r.base`]: hex(base), [`${name}r.limit`]: hex(limit) });
  }
  const [, fcw, fsw, ftw, mxcsr] = match(printed, /FCW=(\w+) FSW=(\w+) \[ST=\d\] FTW=(\w+) MXCSR=(\w+)/);
  Object.assign(state, { fcw: hex(fcw), fsw: hex(fsw), ftw: hex(ftw), mxcsr: hex(mxcsr) });
  for (let n = 0; n < 16; n++) state[`xmm${n}`] = registers[`xmm${n}`] ?? 0n;
  for (let n = 0; n < 8; n++) state[`fpr${n}`] = registers[`fpr${n}`] ?? 0n;
  return state;
}

function segmentOf(name: string, printed: string): Record<string, bigint> {
  const label = SELECTORS[name] ?? name.toUpperCase();
  const [, selector, base, limit, flags] = match(printed, new RegExp(`^${label} *=(\\w+) (\\w+) (\\w+) (\\w+)`, 'm'));
  const attributes = (hex(flags) >> 8n) & ATTRIBUTES;
  return {
    [name]: hex(selector),
    [`${name}.base`]: hex(base),
    [`${name}.limit`]: hex(limit),
    [`${name}.attributes`]: attributes & PRESENT ? attributes : attributes | UNUSABLE,
  };
}

function match(text: string, pattern: RegExp): string[] {
  const found = pattern.exec(text);
  if (!found) throw new Error(`expected ${pattern} in the registers that QEMU prints, found ${text}`);
  return [...found];
}
const hex = (digits: string | undefined): bigint => BigInt(`0x${digits ?? '0'}`);

/** Code of 64 bits: L of CS, in IA-32e mode. */
const is64Bit = (state: State): boolean =>
  (registerOf(state, 'efer') & LMA) !== 0n && (registerOf(state, 'cs.attributes') & 0x2000n) !== 0n;

const BUSY = 2n;
const WRITE = 2;
const MMX_EXPONENT = 0xffffn << 64n;
/** Of the third byte of RFLAGS. */
const RF = 1;
const FRAME_BYTES = 40n;
const ACCESSED = 0x20;
const PAE = 0x20n;
const LMA = 0x400n;

/** What QEMU does not show as a processor has it: see README.md. */
export const QEMU_DEPARTURES: Departures = {
  state: [
    (name, ours, theirs) => name === 'tr.attributes' && registerOf(ours, name) === (registerOf(theirs, name) | BUSY),
    // What MMX instructions write has no exponent there.
    (name, ours, theirs) => /^fpr/.test(name) && registerOf(ours, name) === (registerOf(theirs, name) | MMX_EXPONENT),
    (name, ours, theirs) => {
      if (is64Bit(theirs)) return false;
      const number = (GPRS as readonly string[]).indexOf(name);
      if (number >= 8 || /^xmm([89]|1\d)$/.test(name)) return true;
      return number >= 0 && BigInt.asUintN(32, registerOf(ours, name)) === registerOf(theirs, name);
    },
  ],
  memory: [
    // The error code of a page fault by what reads and writes: that it was a write.
    (address, difference, ours) => difference === WRITE && BigInt(address) === registerOf(ours, 'rsp'),
    (address, difference, ours) => {
      const fromTop = BigInt(address) - BigInt.asUintN(64, registerOf(ours, 'ss.base') + registerOf(ours, 'rsp'));
      return difference === RF && address % 4 === 2 && fromTop >= 0n && fromTop < FRAME_BYTES;
    },
    (address, difference, ours) => {
      const [cr3, cr4, efer] = ['cr3', 'cr4', 'efer'].map((name) => registerOf(ours, name)) as [bigint, bigint, bigint];
      const hasPointers = (cr4 & PAE) !== 0n && (efer & LMA) === 0n;
      const offset = BigInt(address) - (cr3 & ~0x1fn);
      return hasPointers && difference === ACCESSED && offset >= 0n && offset < 32n;
    },
  ],
};
