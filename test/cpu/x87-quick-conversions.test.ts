/** Quick conversions of reals against engine/float, where they take part at all. */
import { expect, test } from 'vitest';
import { Outcome, partsOf } from '../../engine/cpu/x87/quick-arithmetic.ts';
import * as quick from '../../engine/cpu/x87/quick-conversions.ts';
import { convert } from '../../engine/float/convert.ts';
import { controlWordEnvironment, FloatException, roundingMode } from '../../engine/float/environment.ts';
import { binary32, binary64, extended80 } from '../../engine/float/format.ts';
import { interestingFloat } from '../vectors/record/interesting-floats.ts';
import { Random } from '../vectors/record/random.ts';

const CASES = 10_000;
const parts = partsOf();
const bitsOf = () => (BigInt(parts.signExponent) << 64n) | (BigInt(parts.high) << 32n) | BigInt(parts.low);

test.each([
  [32, binary32, (bits: bigint) => quick.widenSingle(Number(bits), parts)],
  [64, binary64, (bits: bigint) => quick.widenDouble(bits, parts)],
] as const)('a real of %i bits becomes what it is', (width, format, widen) => {
  const random = new Random(`widen ${width}`);
  let computed = 0;
  for (let n = 0; n < CASES; n++) {
    const bits = interestingFloat(random, width);
    if (!widen(bits)) continue;
    computed++;
    expect(bitsOf(), bits.toString(16)).toBe(convert(format, extended80, controlWordEnvironment(0x37f), bits).bits);
  }
  expect(computed).toBeGreaterThan(CASES / 2);
});

/** A register that is near the other format's numbers, ties and the ends of its range among them. */
function near(random: Random, width: number): bigint {
  const source = interestingFloat(random, width);
  const { bits } = convert(width === 32 ? binary32 : binary64, extended80, controlWordEnvironment(0x37f), source);
  return random.oneIn(4)
    ? interestingFloat(random, 80)
    : bits ^ random.pick([0n, 1n, 0x400n, 0x401n, 0x80_0000_0000n, 0x80_0000_0001n, random.bits(63)]);
}

test.each([
  [32, binary32, quick.narrowToSingle],
  [64, binary64, quick.narrowToDouble],
] as const)('a register becomes a real of %i bits, in all rounding modes', (width, format, narrow) => {
  const random = new Random(`narrow ${width}`);
  let computed = 0;
  for (let n = 0; n < CASES; n++) {
    const bits = near(random, width);
    Object.assign(parts, {
      signExponent: Number(bits >> 64n),
      high: Number((bits >> 32n) & 0xffff_ffffn),
      low: Number(bits & 0xffff_ffffn),
    });
    for (const rounding of [0, 1, 2, 3]) {
      const outcome = narrow(parts, roundingMode(rounding));
      if (outcome === Outcome.Other) continue;
      computed++;
      const expected = convert(extended80, format, controlWordEnvironment(0x37f | (rounding << 10)), bits);
      const what = `${bits.toString(16)} rounding ${rounding}`;
      expect(quick.narrowedBits().toString(16), what).toBe(expected.bits.toString(16));
      expect(outcome !== Outcome.Exact, what).toBe(expected.exceptions === FloatException.Inexact);
      expect(outcome === Outcome.RoundedUp, what).toBe(expected.roundedUp);
    }
  }
  expect(computed).toBeGreaterThan(CASES);
});
