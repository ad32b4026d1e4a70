/** Quick arithmetic of double extended numbers against engine/float, where it takes part at all. */
import { describe, expect, test } from 'vitest';
import * as quick from '../../engine/cpu/x87/quick-arithmetic.ts';
import * as exact from '../../engine/float/arithmetic.ts';
import { controlWordEnvironment, FloatException, roundingMode } from '../../engine/float/environment.ts';
import { extended80 } from '../../engine/float/format.ts';
import { Random } from '../vectors/record/random.ts';

const CASES = 6000;

/** Numbers whose exponents are often close, and whose bits often few, so that they cancel, carry and tie. */
function operand(random: Random): bigint {
  const exponent = random.pick([16383, 16383, 16384, 16383 + random.below(140) - 70, random.below(0x8000)]);
  const all = random.bits(63);
  const few = (all >> BigInt(random.below(63))) << BigInt(random.below(8));
  const fraction = BigInt.asUintN(
    63,
    random.pick([all, few, 0n, -1n, 1n, -2n, all & ~0xffff_ffffn, 1n << BigInt(random.below(63))]),
  );
  const integerBit = exponent === 0 || random.oneIn(50) ? 0n : 1n;
  return (BigInt(random.below(2)) << 79n) | (BigInt(exponent) << 64n) | (integerBit << 63n) | fraction;
}

describe.each([
  ['add', quick.add, exact.add],
  ['subtract', quick.subtract, exact.subtract],
  ['multiply', quick.multiply, exact.multiply],
] as const)('%s', (name, quickly, exactly) => {
  test('gives what engine/float gives, in all rounding modes', () => {
    const random = new Random(`quick ${name}`);
    const [a, b, result] = [quick.partsOf(), quick.partsOf(), quick.partsOf()];
    let computed = 0;
    for (let n = 0; n < CASES; n++) {
      const [first, second] = [operand(random), operand(random)];
      for (const rounding of [0, 1, 2, 3]) {
        quick.loadBits(first, a);
        quick.loadBits(random.oneIn(20) ? first : second, b);
        const other = (BigInt(b.signExponent) << 64n) | (BigInt(b.high) << 32n) | BigInt(b.low);
        const outcome = quickly(a, b, result, roundingMode(rounding));
        if (outcome === quick.Outcome.Other) continue;
        computed++;
        const expected = exactly(extended80, controlWordEnvironment(0x37f | (rounding << 10)), first, other);
        const bits = (BigInt(result.signExponent) << 64n) | (BigInt(result.high) << 32n) | BigInt(result.low);
        const what = `${first.toString(16)} ${other.toString(16)} rounding ${rounding}`;
        expect(bits.toString(16), what).toBe(expected.bits.toString(16));
        expect(outcome !== quick.Outcome.Exact, what).toBe(expected.exceptions === FloatException.Inexact);
        expect(outcome === quick.Outcome.RoundedUp, what).toBe(expected.roundedUp);
      }
    }
    expect(computed).toBeGreaterThan(CASES);
  });
});
