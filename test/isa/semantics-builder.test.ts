/** What the builder refuses, and what of an Operation depends on more than kinds and widths. */
import { Mnemonic } from 'iced-x86';
import { describe, expect, it } from 'vitest';
import { constant } from '../../engine/expr/expr.ts';
import { decodeOne } from '../../engine/isa/decode.ts';
import { formOf } from '../../engine/isa/form.ts';
import { instructionSet } from '../../engine/isa/instruction-set.ts';
import { RAX, Semantics, segmentSS } from '../../engine/isa/semantics-builder.ts';

const sizes = { codeSize: 64, operandSize: 64, addressSize: 64, stackSize: 64, repeat: 'none' } as const;
const here = constant(64, 0);

function form(hex: string, codeSize: 16 | 32 | 64 = 64) {
  const instruction = decodeOne(Uint8Array.from(Buffer.from(hex, 'hex')), codeSize, 0);
  if (!instruction) throw new Error(`${hex} does not decode`);
  return formOf(instruction, codeSize);
}

describe('the builder keeps a fault from leaving the state half-written', () => {
  it('no load and no check after a store, no store after a register write', () => {
    const m = new Semantics([], sizes);
    m.store(segmentSS, here, m.gpr(RAX, 64));
    expect(() => m.load(segmentSS, here, 8)).toThrow('a load comes after a write');
    expect(() => m.raiseIf(constant(1, 1), 0)).toThrow('a check comes after a write');
    m.setGpr(RAX, here);
    expect(() => m.store(segmentSS, here, here)).toThrow('a store comes after a write');
  });

  it('no value of another width than the place', () => {
    const m = new Semantics([], sizes);
    const operand = { kind: 'register', position: 0, width: 32 } as const;
    expect(() => m.write(operand, here as never)).toThrow('width 64 written to a 32-bit place');
    expect(() => here.add(constant(32, 0) as never)).toThrow('add of widths 64 and 32');
  });
});

describe('forms', () => {
  it('instructions that differ in registers only share one', () => {
    expect(form('4801d8')).toBe(form('4801cf'));
    expect(form('4801d8')).not.toBe(form('01d8'));
  });

  it('the table has no key that the decoder does not give', () => {
    expect(Object.keys(instructionSet).filter((key) => !((key.split(' ')[0] ?? '') in Mnemonic))).toEqual([]);
  });

  it('POP to an address that uses RSP has one of its own', () => {
    expect(form('8f442408')?.operation.stores[0]?.address).toMatchObject({ kind: 'operand', plus: constant(64, 8) });
    expect(form('8f4308')?.operation.stores[0]?.address).not.toHaveProperty('plus');
  });

  it("ENTER's level decides how much it copies", () => {
    expect(form('c8100000')?.operation.stores).toHaveLength(1);
    expect(form('c8100003')?.operation).toMatchObject({ reads: { length: 4 }, stores: { length: 4 } });
    expect(form('c8100023')).toBe(form('c8100003'));
  });

  it.each([
    ['far JMP', 'ff28', 64],
    ['far CALL', '9a000000000000', 32],
    ['MOV from a segment register', '8cd8', 64],
    ['PUSH of a segment register', '0fa0', 64],
    ['MOV to CR0', '0f22c0', 64],
    ["AMD's BEXTR", '8fea7810c100000000', 64],
  ] as const)('%s is not one, though its name is in the table', (_, hex, codeSize) => {
    expect(form(hex, codeSize)).toBeUndefined();
  });
});
