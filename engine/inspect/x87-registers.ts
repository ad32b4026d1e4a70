/** The x87 FPU as the debugger shows it: the stack from its top, control, status and tag word, the last instruction. */
import type { Processor } from '../cpu/processor.ts';
import type { CpuState } from '../cpu/state.ts';
import { X87_REGISTERS } from '../cpu/state-layout.ts';
import { fullTagWord } from '../cpu/x87/control.ts';
import {
  FSW,
  isEmpty,
  physical,
  readStack,
  setControlWord,
  setStatusWord,
  topOfStack,
  writeStack,
} from '../cpu/x87/register-stack.ts';
import { extended80 } from '../float/format.ts';
import { unpack } from '../float/unpack.ts';
import type { RegisterAccess, RegisterView } from './views.ts';

type Parts = NonNullable<RegisterView['parts']>;

const numbers = Array.from({ length: X87_REGISTERS }, (_, n) => n);

const stackAccess = (i: number): RegisterAccess => ({
  widthBits: 80,
  read: ({ state }) => readStack(state, i),
  write: ({ state }, value) => {
    writeStack(state, i, value);
    return undefined;
  },
});

const mmAccess = (n: number): RegisterAccess => ({
  widthBits: 64,
  read: ({ state }) => BigInt.asUintN(64, state.x87Register(n)),
  write: ({ state }, value) => {
    state.setX87Register(n, (state.x87Register(n) & ~0xffff_ffff_ffff_ffffn) | value);
    return undefined;
  },
});

const wordAccess = (
  read: (state: CpuState) => number,
  write: (state: CpuState, value: number) => void,
  widthBits = 16,
): RegisterAccess => ({
  widthBits,
  read: ({ state }) => BigInt(read(state)),
  write: ({ state }, value) => {
    write(state, Number(value));
    return undefined;
  },
});

const words: readonly (readonly [string, RegisterAccess])[] = [
  ['fcw', wordAccess((state) => state.fcw, setControlWord)],
  ['fsw', wordAccess((state) => state.fsw, setStatusWord)],
  [
    'ftw',
    wordAccess(
      (state) => state.ftw,
      (state, value) => {
        state.ftw = value;
      },
      8,
    ),
  ],
];

/** `st0` to `st7` from the top of the stack, `mm0` to `mm7` by their place, and the three words. */
export const x87Accesses = (): [string, RegisterAccess][] => [
  ...numbers.map((i): [string, RegisterAccess] => [`st${i}`, stackAccess(i)]),
  ...numbers.map((n): [string, RegisterAccess] => [`mm${n}`, mmAccess(n)]),
  ...words.map(([name, access]): [string, RegisterAccess] => [name, access]),
];

/** A number for people: as a double shows it, or as a power of two beyond what doubles have. */
export function describeExtended(bits: bigint): string {
  const { class: kind, negative, exponent, significand } = unpack(extended80, bits);
  const sign = negative ? '-' : '';
  if (kind === 'zero' || kind === 'infinity') return `${sign}${kind === 'zero' ? '0' : 'Infinity'}`;
  if (kind !== 'normal' && kind !== 'denormal') return kind;
  // In two steps, so that neither power is out of the range of doubles when the product is not.
  const value = Number(significand) * 2 ** -63 * 2 ** (exponent + 63);
  if (Number.isFinite(value) && Math.abs(value) > 2 ** -1022) return `${sign}${value}`;
  return `${sign}${Number(significand) * 2 ** -63} × 2^${exponent + 63}`;
}

const TAGS = ['valid', 'zero', 'special', 'empty'];
const tagOf = (state: CpuState, n: number): string => TAGS[(fullTagWord(state) >> (2 * n)) & 3] ?? '';

function stackParts(state: CpuState, i: number): Parts {
  const n = physical(state, i);
  const value = readStack(state, i);
  return [
    { name: 'value', value: isEmpty(state, i) ? 'empty' : describeExtended(value), description: 'as a number' },
    { name: 'register', value: `R${n}`, description: 'the place in the register file' },
    { name: 'tag', value: tagOf(state, n), description: 'from the tag word' },
    {
      name: `MM${n}`,
      value: `0x${BigInt.asUintN(64, value).toString(16).padStart(16, '0')}`,
      description: 'the significand, which is the MMX register',
    },
  ];
}

const bitParts = (value: number, bits: Readonly<Record<string, number>>): Parts =>
  Object.entries(bits).map(([name, mask]) => ({
    name,
    value: value & mask ? '1' : '0',
    description: `bit ${Math.log2(mask)}`,
  }));

const MASKS = { IM: 0x01, DM: 0x02, ZM: 0x04, OM: 0x08, UM: 0x10, PM: 0x20 };
const PRECISION = ['24 bits', 'reserved', '53 bits', '64 bits'];
const ROUNDING = ['nearest', 'down', 'up', 'towards zero'];
const { TOP: _top, ...STATUS_BITS } = FSW;

const controlParts = ({ fcw }: CpuState): Parts => [
  ...bitParts(fcw, MASKS),
  { name: 'PC', value: PRECISION[(fcw >> 8) & 3] ?? '', description: 'bits 9:8, precision control' },
  { name: 'RC', value: ROUNDING[(fcw >> 10) & 3] ?? '', description: 'bits 11:10, rounding control' },
];

const statusParts = (state: CpuState): Parts => [
  ...bitParts(state.fsw, STATUS_BITS),
  { name: 'TOP', value: String(topOfStack(state)), description: 'bits 13:11, the register that ST(0) is' },
];

const tagParts = (state: CpuState): Parts =>
  numbers.map((n) => ({ name: `R${n}`, value: tagOf(state, n), description: `bit ${n}: not empty` }));

/** The stack, the words and the pointers. */
export function x87Views(cpu: Processor): RegisterView[] {
  const { state } = cpu;
  const partsOf: Readonly<Record<string, Parts>> = {
    fcw: controlParts(state),
    fsw: statusParts(state),
    ftw: tagParts(state),
  };
  const fixed = (name: string, widthBits: number, value: number | bigint): RegisterView => ({
    name,
    value: BigInt.asUintN(widthBits, BigInt(value)),
    widthBits,
    writable: false,
  });
  return [
    ...numbers.map((i) => {
      const value = readStack(state, i);
      return { name: `ST${i}`, value, widthBits: 80, writable: true, parts: stackParts(state, i) };
    }),
    ...words.map(([name, { widthBits, read }]) => ({
      name: name.toUpperCase(),
      value: read(cpu),
      widthBits,
      writable: true,
      parts: partsOf[name] ?? [],
    })),
    fixed('FOP', 11, state.fop),
    fixed('FIP', 64, state.fip),
    fixed('FDP', 64, state.fdp),
  ];
}
