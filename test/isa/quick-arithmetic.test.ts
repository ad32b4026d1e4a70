/** Arithmetic on JavaScript's numbers against the definition: where it gives a result, all its bits and exceptions are right. */
import { describe, expect, it } from 'vitest';
import { add, divide, multiply, multiplyAdd, squareRoot, subtract } from '../../engine/float/arithmetic.ts';
import { type FloatEnvironment, type FloatResult, mxcsrEnvironment } from '../../engine/float/environment.ts';
import { binary32, binary64, type FloatFormat } from '../../engine/float/format.ts';
import { quick } from '../../engine/isa/floating-point/quick-arithmetic.ts';
import { quickFunction } from '../../engine/isa/floating-point/quick-lanes.ts';
import { anyNumber } from '../support/any-number.ts';
import { random } from '../support/random.ts';

type Definition = (format: FloatFormat, environment: FloatEnvironment, ...operands: bigint[]) => FloatResult;
const definitions: Readonly<Record<keyof typeof quick, { operands: number; definition: Definition }>> = {
  add: { operands: 2, definition: (f, e, a = 0n, b = 0n) => add(f, e, a, b) },
  subtract: { operands: 2, definition: (f, e, a = 0n, b = 0n) => subtract(f, e, a, b) },
  multiply: { operands: 2, definition: (f, e, a = 0n, b = 0n) => multiply(f, e, a, b) },
  divide: { operands: 2, definition: (f, e, a = 0n, b = 0n) => divide(f, e, a, b) },
  squareRoot: { operands: 1, definition: (f, e, a = 0n) => squareRoot(f, e, a) },
  multiplyAdd: { operands: 3, definition: (f, e, a = 0n, b = 0n, c = 0n) => multiplyAdd(f, e, a, b, c) },
};
const ROUNDS = 4000;
const RESULTS = 64;

describe.each([binary32, binary64])('$name', (format) => {
  const bits = format.width as 32 | 64;
  const view = new DataView(new ArrayBuffer(128));
  const write = (at: number, value: bigint) =>
    bits === 32 ? view.setUint32(at, Number(value), true) : view.setBigUint64(at, value, true);

  it.each(Object.keys(quick) as (keyof typeof quick)[])('%s', (name) => {
    const { operands, definition } = definitions[name];
    const execute = quickFunction({ operands, bytes: bits / 8, laneBits: bits, operations: [quick[name][bits]] });
    const next = random(name.length * 7919 + bits);
    let taken = 0;
    for (let n = 0; n < ROUNDS; n++) {
      const environment = mxcsrEnvironment(0x1f80 | (next(4) << 13));
      const values = Array.from({ length: 3 }, () => anyNumber(format, next));
      const [a = 0n, b = 0n] = values;
      // An addend that all but cancels the product.
      if (next(2)) values[2] = multiply(format, environment, a, b).bits ^ format.signBit ^ BigInt(next(4));
      for (const [i, value] of values.slice(0, operands).entries()) write(16 * i, value);
      view.setUint32(16 * operands, 0x1f80 | (environment.rounding << 13), true);
      if (!execute(view, 0, RESULTS)) continue;
      taken++;
      const found = {
        bits: bits === 32 ? BigInt(view.getUint32(RESULTS, true)) : view.getBigUint64(RESULTS, true),
        exceptions: view.getUint32(RESULTS + 16, true) & 0x3f,
      };
      const expected = definition(format, environment, ...values);
      expect(found, values.map((value) => value.toString(16)).join(' ')).toEqual({
        bits: expected.bits,
        exceptions: expected.exceptions,
      });
    }
    expect(taken).toBeGreaterThan(ROUNDS * 0.4);
  });
});
