import { describe, expect, test } from 'vitest';
import { readFlags, readStatusFlags, writeFlags, writeStatusFlags } from '../../engine/cpu/flags.ts';
import { CpuState } from '../../engine/cpu/state.ts';

const state = new CpuState(new ArrayBuffer(0x3000));
const CF = 1, PF = 4, AF = 0x10, ZF = 0x40, SF = 0x80, OF = 0x800; // biome-ignore format: one row

describe('lazy flags', () => {
  test('every combination of status flags reads back as written', () => {
    for (let bits = 0; bits < 64; bits++) {
      const flags = [CF, PF, AF, ZF, SF, OF].reduce((sum, flag, index) => ((bits >> index) & 1 ? sum | flag : sum), 0);
      writeStatusFlags(state, flags);
      expect(readStatusFlags(state)).toBe(flags);
    }
  });

  test.each([
    { result: 0n, aux: 0n, flags: ZF | PF, why: 'zero has even parity' },
    { result: -1n, aux: 0n, flags: SF | PF, why: 'eight ones in the low byte are even' },
    { result: 0x100n, aux: 0n, flags: PF, why: 'parity looks at the low byte only' },
    { result: 1n, aux: 0n, flags: 0, why: 'one bit is odd parity' },
    { result: 1n, aux: 1n << 63n, flags: CF | OF, why: 'CF XOR OF = 0 with CF = 1 means OF = 1' },
    { result: 1n, aux: 3n << 62n, flags: CF, why: 'CF XOR OF = 1 with CF = 1 means OF = 0' },
    { result: 1n, aux: 1n << 62n, flags: OF, why: 'CF XOR OF = 1 with CF = 0 means OF = 1' },
    { result: 1n, aux: 8n, flags: AF, why: 'AF is bit 3' },
    { result: 1n, aux: 1n, flags: SF, why: 'bit 0 inverts the sign' },
    { result: -1n, aux: 1n, flags: PF, why: 'bit 0 inverts the sign' },
    { result: 1n, aux: 0x100n, flags: PF, why: 'bits 15:8 correct the parity byte' },
    { result: 1n, aux: 0x3fff_ffff_0000_0000n, flags: 0, why: 'bits 61:32 are garbage' },
  ])('$why', ({ result, aux, flags }) => {
    state.flagsResult = BigInt.asUintN(64, result);
    state.flagsAux = aux;
    expect(readStatusFlags(state)).toBe(flags);
  });

  test('reserved bits of RFLAGS take their fixed values', () => {
    writeFlags(state, -1);
    expect(readFlags(state)).toBe(0x003f_7fd7);
    writeFlags(state, 0);
    expect(readFlags(state)).toBe(2);
  });
});
