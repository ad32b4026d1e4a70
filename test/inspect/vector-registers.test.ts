/** Vector registers as the debugger shows and sets them. */
import { describe, expect, test } from 'vitest';
import { readRegister, registerGroups, registerNames, writeRegister } from '../../engine/inspect/registers.ts';
import { VectorMachine } from '../support/vector-machine.ts';

const { processor } = new VectorMachine(64).host;
const { state } = processor;

const vectorGroup = () => registerGroups(processor).find(({ name }) => name === 'Vector')?.registers ?? [];
const partsOf = (register: string) =>
  Object.fromEntries(
    (vectorGroup().find(({ name }) => name === register)?.parts ?? []).map(({ name, value }) => [name, value]),
  );

describe('vector registers', () => {
  test('are set by quadwords and doublewords', () => {
    expect(writeRegister(processor, 'ymm3.q0', 0x4000_0000_3f80_0000n)).toBeUndefined();
    expect(writeRegister(processor, 'YMM3.Q3', 0x4059_0000_0000_0000n)).toBeUndefined();
    expect(writeRegister(processor, 'xmm3.d3', 0xffff_fffen)).toBeUndefined();
    expect(readRegister(processor, 'xmm3')).toBe(0xffff_fffe_0000_0000_4000_0000_3f80_0000n);
    expect(readRegister(processor, 'ymm3.d7')).toBe(0x4059_0000n);
    expect(writeRegister(processor, 'xmm3', 1n)).toBe('xmm3 cannot be written');
  });

  test('show their lanes as what they may be', () => {
    expect(partsOf('YMM3')).toMatchObject({
      q0: '0x400000003f800000',
      q3: '0x4059000000000000',
      float: '1, 2, 0, NaN, 0, 0, 0, 3.390625',
      int32: '1065353216, 1073741824, 0, -2, 0, 0, 0, 1079574528',
      bytes: expect.stringMatching(/^00, 00, 80, 3f, /),
    });
    expect(partsOf('YMM3').double).toMatch(/, 0, 100$/);
  });

  test('are XMM where AVX is not enabled', () => {
    const { xcr0 } = state;
    state.xcr0 = 3;
    expect(vectorGroup().map(({ name }) => name)).toEqual([
      ...Array.from({ length: 16 }, (_, n) => `XMM${n}`),
      'MXCSR',
    ]);
    expect(Object.keys(partsOf('XMM3'))).toEqual(['q0', 'q1', 'double', 'float', 'int32', 'int16', 'bytes']);
    state.xcr0 = xcr0;
  });

  test('MXCSR has its bits by name', () => {
    state.mxcsr = 0x7f81;
    expect(partsOf('MXCSR')).toMatchObject({ IE: '1', DE: '0', IM: '1', FZ: '0', RC: 'towards zero' });
    expect(registerNames(processor)).toContain('mxcsr');
  });
});
