/** Shortcuts of SIMD arithmetic, evaluated by the definitions of their operations: where they are sure, they are right. */
import { describe, expect, it } from 'vitest';
import { evaluate } from '../../engine/expr/evaluate.ts';
import { constant } from '../../engine/expr/expr.ts';
import { add, divide, multiply, multiplyAdd, squareRoot, subtract } from '../../engine/float/arithmetic.ts';
import { convert } from '../../engine/float/convert.ts';
import {
  type FloatEnvironment,
  FloatException,
  type FloatResult,
  mxcsrEnvironment,
  RoundingMode,
} from '../../engine/float/environment.ts';
import { binary16, binary32, binary64, type FloatFormat } from '../../engine/float/format.ts';
import { fused } from '../../engine/isa/floating-point/fused-shortcuts.ts';
import { singlesToHalves } from '../../engine/isa/floating-point/half-shortcuts.ts';
import * as shortcuts from '../../engine/isa/floating-point/shortcuts.ts';
import { anyNumber } from '../support/any-number.ts';
import { random } from '../support/random.ts';

type Definition = (format: FloatFormat, environment: FloatEnvironment, ...operands: bigint[]) => FloatResult;
interface Subject {
  readonly name: string;
  readonly shortcut: shortcuts.ShortcutOf;
  readonly operands: number;
  readonly definition: Definition;
}
const nothing = constant(128, 0);
const subjects: readonly Subject[] = [
  { name: 'sum', shortcut: shortcuts.sum, operands: 2, definition: (f, e, a = 0n, b = 0n) => add(f, e, a, b) },
  {
    name: 'difference',
    shortcut: shortcuts.difference,
    operands: 2,
    definition: (f, e, a = 0n, b = 0n) => subtract(f, e, a, b),
  },
  {
    name: 'product',
    shortcut: shortcuts.product,
    operands: 2,
    definition: (f, e, a = 0n, b = 0n) => multiply(f, e, a, b),
  },
  {
    name: 'quotient',
    shortcut: shortcuts.quotient,
    operands: 2,
    definition: (f, e, a = 0n, b = 0n) => divide(f, e, a, b),
  },
  { name: 'root', shortcut: shortcuts.root, operands: 1, definition: (f, e, a = 0n) => squareRoot(f, e, a) },
  {
    name: 'fused multiply-add',
    shortcut: fused(() => ({ product: nothing, addend: nothing })),
    operands: 3,
    definition: (f, e, a = 0n, b = 0n, c = 0n) => multiplyAdd(f, e, a, b, c),
  },
];
const ROUNDS = 400;
const environment = mxcsrEnvironment(0x1fa0);

describe.each([binary32, binary64])('$name', (format) => {
  const lanes = new shortcuts.FloatLanes(format, 'scalar');
  const cut = (value: bigint) => BigInt.asUintN(format.width, value);
  it.each(subjects)('$name', ({ shortcut, operands, definition }) => {
    const next = random(operands * 7919 + format.width);
    let sure = 0;
    for (let n = 0; n < ROUNDS; n++) {
      const values = Array.from({ length: operands }, () => anyNumber(format, next));
      const [a = 0n, b = 0n] = values;
      // An addend that all but cancels the product: what is left is the error of rounding it.
      if (operands === 3 && next(2))
        values[2] = multiply(format, environment, a, b).bits ^ format.signBit ^ BigInt(next(3));
      const { value, unsure } = shortcut(lanes, ...values.map((operand) => constant(128, operand)));
      const noTemps = () => 0n;
      if (cut(evaluate(unsure, noTemps)) !== 0n) continue;
      sure++;
      const expected = definition(format, environment, ...values);
      const label = values.map((operand) => operand.toString(16)).join(' ');
      expect(cut(evaluate(value, noTemps)), label).toBe(expected.bits);
      expect(expected.exceptions & ~FloatException.Inexact, label).toBe(0);
    }
    expect(sure).toBeGreaterThan(ROUNDS * 0.4);
  });
});

describe('to half precision', () => {
  const edges = [
    0x3880_0000, 0x387f_ffff, 0x3880_1000, 0x477f_e000, 0x477f_efff, 0x477f_f000, 0x4780_0000, 0x3f80_1000, 0x3f80_3000,
  ];
  it.each([
    { name: 'to nearest', mode: RoundingMode.Nearest },
    { name: 'towards zero', mode: RoundingMode.Zero },
  ])('at the edges, rounding $name', ({ mode }) => {
    const noTemps = () => 0n;
    const inMode = { ...environment, rounding: mode };
    let sure = 0;
    for (const bits of edges.flatMap((edge) => [BigInt(edge), BigInt(edge + 0x8000_0000)])) {
      const shortcut = singlesToHalves([constant(128, bits)], mode);
      if (!shortcut) throw new Error('there is no shortcut');
      if (evaluate(shortcut.unsure, noTemps) !== 0n) continue;
      sure++;
      const { bits: half, exceptions } = convert(binary32, binary16, inMode, bits);
      expect(evaluate(shortcut.value, noTemps), bits.toString(16)).toBe(half);
      expect(exceptions & ~FloatException.Inexact, bits.toString(16)).toBe(0);
    }
    expect(sure).toBeGreaterThan(8);
  });
});
