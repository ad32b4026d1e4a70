/** The x87 FPU as the debugger shows and sets it. */
import { describe, expect, test } from 'vitest';
import { readRegister, registerGroups, writeRegister } from '../../engine/inspect/registers.ts';
import { describeExtended } from '../../engine/inspect/x87-registers.ts';
import { VectorMachine } from '../support/vector-machine.ts';

const { processor } = new VectorMachine(64).host;
const { state } = processor;

const partsOf = (register: string) => {
  const group = registerGroups(processor).find(({ name }) => name === 'x87')?.registers ?? [];
  const parts = group.find(({ name }) => name === register)?.parts ?? [];
  return Object.fromEntries(parts.map(({ name, value }) => [name, value]));
};

describe('the x87 FPU', () => {
  test('shows its stack from the top, with places and tags', () => {
    state.fcw = 0xf7f;
    state.fsw = 0x3000 | 0x4100;
    state.ftw = 0;
    expect(writeRegister(processor, 'st0', 0x4000_c90f_daa2_2168_c235n)).toBeUndefined();
    state.setX87Register(7, 0xbfff_8000_0000_0000_0000n);
    expect(readRegister(processor, 'st1')).toBe(0xbfff_8000_0000_0000_0000n);
    expect(partsOf('ST0')).toEqual({
      value: '3.141592653589793',
      register: 'R6',
      tag: 'valid',
      MM6: '0xc90fdaa22168c235',
    });
    expect(partsOf('ST1')).toMatchObject({ value: 'empty', register: 'R7', tag: 'empty' });
    expect(partsOf('FTW')).toMatchObject({ R6: 'valid', R7: 'empty' });
  });

  test('decodes the control and the status word', () => {
    state.fcw = 0xe7b;
    state.fsw = 0x3000 | 0x4100;
    expect(partsOf('FCW')).toMatchObject({ IM: '1', ZM: '0', PC: '53 bits', RC: 'towards zero' });
    expect(partsOf('FSW')).toMatchObject({ C0: '1', C1: '0', C3: '1', TOP: '6', ES: '0' });
    expect(writeRegister(processor, 'fsw', 4n)).toBeUndefined();
    expect(partsOf('FSW'), 'a division by zero is pending now').toMatchObject({ ZE: '1', ES: '1', B: '1' });
  });

  test.each([
    [0n, '0'],
    [0x8000_0000_0000_0000_0000n, '-0'],
    [0xffff_8000_0000_0000_0000n, '-Infinity'],
    [0x7fff_c000_0000_0000_0000n, 'quiet NaN'],
    [0x7ffe_8000_0000_0000_0000n, '1 × 2^16383'],
    [0x0000_4000_0000_0000_0000n, '0.5 × 2^-16382'],
    [0x4000_4000_0000_0000_0000n, 'unsupported'],
    [0xc002_a000_0000_0000_0000n, '-10'],
  ])('%x is %s', (bits, text) => {
    expect(describeExtended(bits)).toBe(text);
  });
});
