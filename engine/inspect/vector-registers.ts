/** Vector registers as the debugger shows them: XMM, or YMM where AVX is enabled, by lanes of the types they hold. */

import { enabledExtensions } from '../cpu/extensions.ts';
import { hex } from '../cpu/hexadecimal.ts';
import type { Processor } from '../cpu/processor.ts';
import { MXCSR } from '../cpu/register-bits.ts';
import type { CpuState } from '../cpu/state.ts';
import { VECTOR_REGISTERS, vectorAddress } from '../cpu/state-layout.ts';
import { EXTENSION } from '../isa/extensions.ts';
import type { RegisterAccess, RegisterView } from './views.ts';

const numbers = (count: number): number[] => Array.from({ length: count }, (_, n) => n);

/** So many bytes of a register from an offset on, as an unsigned number. */
function partAccess(address: number, offset: number, bytes: number, writable: boolean): RegisterAccess {
  const at = address + offset;
  const access: RegisterAccess = {
    widthBits: bytes * 8,
    read: ({ state: { view } }) =>
      numbers(bytes).reduce((value, i) => value | (BigInt(view.getUint8(at + i)) << BigInt(8 * i)), 0n),
  };
  if (!writable) return access;
  return {
    ...access,
    write: ({ state: { view } }, value) => {
      for (const i of numbers(bytes)) view.setUint8(at + i, Number((value >> BigInt(8 * i)) & 0xffn));
      return undefined;
    },
  };
}

/** `xmm3` and `ymm3`, and what of them can be set: quadwords `xmm3.q1`, doublewords `ymm3.d7`. */
export const vectorAccesses = (): [string, RegisterAccess][] =>
  (['xmm', 'ymm'] as const).flatMap((file) => {
    const bytes = file === 'xmm' ? 16 : 32;
    return numbers(VECTOR_REGISTERS).flatMap((number): [string, RegisterAccess][] => {
      const lanes = (letter: string, width: number): [string, RegisterAccess][] =>
        numbers(bytes / width).map((n) => [
          `${file}${number}.${letter}${n}`,
          partAccess(vectorAddress(number), n * width, width, true),
        ]);
      const whole = partAccess(vectorAddress(number), 0, bytes, false);
      return [[`${file}${number}`, whole], ...lanes('q', 8), ...lanes('d', 4)];
    });
  });

function lanesText(number: number, bytes: number, width: number, read: (at: number) => string): string {
  return numbers(bytes / width)
    .map((n) => read(vectorAddress(number) + n * width))
    .join(', ');
}

function partsOf(state: CpuState, number: number, bytes: number): NonNullable<RegisterView['parts']> {
  const { view } = state;
  const part = (name: string, width: number, read: (at: number) => string) => ({
    name,
    value: lanesText(number, bytes, width, read),
    description: `${bytes / width} lanes, the lowest first`,
  });
  const quadwords = numbers(bytes / 8).map((n) => ({
    name: `q${n}`,
    value: hex(view.getBigUint64(vectorAddress(number) + 8 * n, true), 16),
    description: `bits ${64 * n + 63}:${64 * n}`,
  }));
  return [
    ...quadwords,
    part('double', 8, (at) => String(view.getFloat64(at, true))),
    part('float', 4, (at) => String(view.getFloat32(at, true))),
    part('int32', 4, (at) => String(view.getInt32(at, true))),
    part('int16', 2, (at) => String(view.getInt16(at, true))),
    part('bytes', 1, (at) => view.getUint8(at).toString(16).padStart(2, '0')),
  ];
}

/** The registers that the mode has, and MXCSR. */
export function vectorViews(cpu: Processor): RegisterView[] {
  const { state } = cpu;
  const file = enabledExtensions(state) & EXTENSION.AVX ? 'YMM' : 'XMM';
  const bytes = file === 'XMM' ? 16 : 32;
  const registers = numbers(VECTOR_REGISTERS).map((number) => {
    const { widthBits, read } = partAccess(vectorAddress(number), 0, bytes, false);
    return {
      name: `${file}${number}`,
      value: read(cpu),
      widthBits,
      writable: false,
      parts: partsOf(state, number, bytes),
    };
  });
  return [...registers, mxcsrView(state)];
}

const ROUNDING = ['nearest', 'down', 'up', 'towards zero'];

function mxcsrView({ mxcsr }: CpuState): RegisterView {
  const flags = Object.entries(MXCSR).map(([name, mask]) => ({
    name,
    value: mxcsr & mask ? '1' : '0',
    description: `bit ${Math.log2(mask)}`,
  }));
  const rounding = {
    name: 'RC',
    value: ROUNDING[(mxcsr >> 13) & 3] ?? '',
    description: 'bits 14:13, rounding control',
  };
  return { name: 'MXCSR', value: BigInt(mxcsr), widthBits: 32, writable: true, parts: [...flags, rounding] };
}
