/** The words of the lazy flags that are made from operands, against the manual's definition of each flag. */
import { describe, expect, test } from 'vitest';
import { readStatusFlags } from '../../engine/cpu/flags.ts';
import { CpuState } from '../../engine/cpu/state.ts';
import { fieldAddress } from '../../engine/cpu/state-layout.ts';
import {
  type DeferredKind,
  deferredAuxFunction,
  deferredResultFunction,
  kindNumber,
} from '../../engine/exec/compiler/deferred-flags.ts';
import { encodeModule, I32, I64 } from '../../engine/wasm/encoder.ts';

type Words = (kind: number, a: bigint, b: bigint) => bigint;

const memory = new WebAssembly.Memory({ initial: 1 });
const module = encodeModule({
  types: [{ parameters: [I32, I64, I64], results: [I64] }],
  functions: [
    { type: 0, body: deferredResultFunction(), export: 'result' },
    { type: 0, body: deferredAuxFunction(), export: 'aux' },
  ],
});
const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module as BufferSource), { env: { memory } });
const [result, aux] = [exports.result as Words, exports.aux as Words];
const state = new CpuState(memory.buffer);

function flagsOf(kind: DeferredKind, width: number, a: bigint, b: bigint): string {
  const number = kindNumber(kind, width);
  state.view.setBigInt64(fieldAddress.flagsResult, result(number, a, b), true);
  state.view.setBigInt64(fieldAddress.flagsAux, aux(number, a, b), true);
  const flags = readStatusFlags(state);
  return named((bit) => (flags >>> bit) & 1);
}

const named = (bit: (index: number) => number): string =>
  [['CF', 0], ['PF', 2], ['AF', 4], ['ZF', 6], ['SF', 7], ['OF', 11]] // biome-ignore format: one row
    .map(([name, index]) => `${name}=${bit(index as number)}`)
    .join(' ');

/** SDM volume 1, "Status Flags". */
function expectedFlags(kind: DeferredKind, width: number, a: bigint, b: bigint): string {
  const unsigned = (value: bigint) => BigInt.asUintN(width, value);
  const signed = (value: bigint) => BigInt.asIntN(width, value);
  const exact = kind === 'logic' ? a : kind === 'addition' ? a + b : a - b;
  const ofSigned = kind === 'logic' ? signed(a) : kind === 'addition' ? signed(a) + signed(b) : signed(a) - signed(b);
  const ones = [...(unsigned(exact) & 0xffn).toString(2)].filter((digit) => digit === '1').length;
  const nibble = kind === 'addition' ? (a & 15n) + (b & 15n) : (a & 15n) - (b & 15n);
  const values: Record<number, boolean> = {
    0: kind !== 'logic' && exact !== unsigned(exact),
    2: ones % 2 === 0,
    4: kind !== 'logic' && (nibble < 0n || nibble > 15n),
    6: unsigned(exact) === 0n,
    7: signed(exact) < 0n,
    11: ofSigned !== signed(exact),
  };
  return named((index) => (values[index] ? 1 : 0));
}

describe.each(['subtraction', 'addition', 'logic'] as const)('%s', (kind) => {
  test.each([8, 16, 32, 64])('%i bits', (width) => {
    const top = 1n << BigInt(width - 1);
    const edges = [0n, 1n, 2n, 7n, 8n, 15n, 16n, 0x7fn, 0x80n, 0xa5n, top - 1n, top, top + 1n, 2n * top - 1n];
    for (const a of edges.filter((value) => value < 2n * top)) {
      for (const b of edges.filter((value) => value < 2n * top)) {
        expect(flagsOf(kind, width, a, b), `${a}, ${b}`).toBe(expectedFlags(kind, width, a, kind === 'logic' ? a : b));
      }
    }
  });
});
