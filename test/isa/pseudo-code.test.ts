/** The printed form of Operations, as hovers show it. */
import { describe, expect, it } from 'vitest';
import { decodeOne } from '../../engine/isa/decode.ts';
import { formOf } from '../../engine/isa/form.ts';
import { pseudoCode } from '../../engine/isa/pseudo-code.ts';
import { readVectors, type Vector, vectorGroups } from '../vectors/read-vectors.ts';

function print(hex: string, operandTexts?: string[]): string[] {
  const instruction = decodeOne(Uint8Array.from(Buffer.from(hex, 'hex')), 64, 0);
  const form = instruction && formOf(instruction, 64);
  if (!form) throw new Error(`${hex} has no form`);
  return pseudoCode(form, operandTexts);
}

describe('pseudo-code', () => {
  it('ADC: a value used twice has a name', () => {
    expect(print('4811d8')).toEqual([
      'temp := (DEST + SRC) + CF',
      'CF, PF, AF, ZF, SF, OF := those of temp',
      'DEST := temp',
    ]);
  });

  it('uses the operands of the program', () => {
    expect(print('4885c0', ['rax', 'rax'])).toEqual([
      'temp := rax AND rax',
      'PF, ZF, SF := those of temp',
      'CF, OF := 0',
      'AF undefined',
    ]);
  });

  it('DIV: the check comes first', () => {
    expect(print('48f7f1')[0]).toBe('IF SRC ≤ RDX THEN #DE');
  });

  it('POP: the stack is read before RSP moves; XCHG: neither value is lost', () => {
    expect(print('5b')).toEqual(['temp := SS:[RSP]', 'RSP := RSP + 8', 'DEST := temp']);
    expect(print('87d8', ['eax', 'ebx'])).toEqual(['temp := ebx', 'ebx := eax', 'eax := temp']);
  });

  it('ADDSD: the exceptions met are added to MXCSR, and raised if they are not masked', () => {
    expect(print('f20f58c1', ['xmm0', 'xmm1'])).toEqual([
      'temp := AddDouble(xmm0, xmm1, MXCSR).mxcsr',
      'IF Bit(temp, 31) THEN #XM or #UD',
      'temp2 := ReplaceQword(xmm0, AddDouble(xmm0, xmm1, MXCSR), 0)',
      'MXCSR := temp AND 0FFFFH',
      'xmm0 := temp2',
    ]);
  });

  it('REPNE SCASB: one iteration, which ends before the pointer has moved', () => {
    expect(print('f2ae')).toEqual([
      'IF RCX = 0 THEN end',
      'temp := RCX - 1',
      'temp2 := (temp ≠ 0) AND (AL ≠ ES:[RDI])',
      'CF, PF, AF, ZF, SF, OF := those of AL - ES:[RDI]',
      'RDI := RDI + (IF DF THEN -1 ELSE 1)',
      'RCX := temp',
      'IF temp2 THEN repeat',
    ]);
  });

  it('a shift leaves the flags alone for a count of 0', () => {
    expect(print('d3e0')).toContain('IF temp ≠ 0 THEN PF, ZF, SF := those of temp2');
  });

  it('every recorded form can be printed', () => {
    const keys = new Set<string>();
    const encodings = new Map<string, Vector>();
    for (const group of vectorGroups()) {
      for (const vector of readVectors(group)) encodings.set(`${vector.mode} ${vector.bytes}`, vector);
    }
    for (const { bytes, mode } of encodings.values()) {
      const instruction = decodeOne(bytes, mode, 0);
      const form = instruction && formOf(instruction, mode);
      if (!form || keys.has(form.key)) continue;
      keys.add(form.key);
      expect(pseudoCode(form).join('\n'), form.key).not.toMatch(/undefined (?!$)|\[object|OPERAND|exception \d/m);
    }
    expect(keys.size).toBeGreaterThan(900);
  });
});
