import * as fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import {
  difference,
  isSignExtended,
  joined,
  linearAddressOf,
  low32,
  numberPart,
  offsetInPage,
  pageOf,
  plus,
  readLinearAddress,
  restOf,
  writeLinearAddress,
} from '../../engine/isa/linear-address.ts';

const signed = (value: bigint): bigint => BigInt.asIntN(64, value);
/** Mostly near the ends of what numbers hold, and of what is canonical. */
const values = fc
  .tuple(
    fc.constantFrom(0n, 1n << 47n, 1n << 52n, 1n << 53n, 1n << 56n, 1n << 63n),
    fc.bigInt(-5000n, 5000n),
    fc.boolean(),
  )
  .map(([end, near, isNegative]) => signed(isNegative ? near - end : end + near));

describe('an address', () => {
  test.each([
    [0x7fff_ffff_ffffn, 'number'],
    [-0x8000_0000_0000n, 'number'],
    [(1n << 52n) - 1n, 'number'],
    [1n << 52n, 'bigint'],
    [-(1n << 52n), 'number'],
    [-(1n << 52n) - 1n, 'bigint'],
    [(1n << 56n) - 1n, 'bigint'],
    [1n << 63n, 'bigint'],
  ])('%s is a %s', (value, type) => {
    expect(typeof linearAddressOf(value)).toBe(type);
  });

  it('is exact, and one, however it is made', () => {
    const view = new DataView(new ArrayBuffer(8));
    fc.assert(
      fc.property(values, (value) => {
        const address = linearAddressOf(value);
        expect(BigInt(address)).toBe(value);
        expect(linearAddressOf(BigInt.asUintN(64, value))).toBe(address);
        writeLinearAddress(view, 0, address);
        expect(view.getBigInt64(0, true)).toBe(value);
        expect(readLinearAddress(view, 0)).toBe(address);
        expect(joined(Number(BigInt.asUintN(32, value >> 32n)), Number(BigInt.asUintN(32, value)))).toBe(address);
        expect(plus(address, 0)).toBe(address);
      }),
    );
  });

  it('plus another wraps at 2^64', () => {
    fc.assert(
      fc.property(values, fc.oneof(fc.bigInt(-20n, 20n), values), (a, b) => {
        expect(plus(linearAddressOf(a), linearAddressOf(b))).toBe(linearAddressOf(a + b));
      }),
    );
  });

  it('has a page and an offset, and is the sum of its parts', () => {
    fc.assert(
      fc.property(values, (value) => {
        const address = linearAddressOf(value);
        expect(BigInt(pageOf(address)) + BigInt(offsetInPage(address))).toBe(value);
        expect(BigInt(numberPart(address)) + BigInt(restOf(address))).toBe(value);
        expect(low32(address)).toBe(Number(BigInt.asUintN(32, value)));
        expect(difference(plus(address, 4095), address)).toBe(4095);
      }),
    );
  });

  test.each([
    [0x7fff_ffff_ffffn, true, true],
    [0x8000_0000_0000n, false, true],
    [-0x8000_0000_0000n, true, true],
    [-0x8000_0000_0001n, false, true],
    [(1n << 56n) - 1n, false, true],
    [1n << 56n, false, false],
    [-(1n << 56n), false, true],
    [-(1n << 56n) - 1n, false, false],
  ])('%s: canonical with 48 bits %s, with 57 bits %s', (value, with48, with57) => {
    const address = linearAddressOf(value);
    expect([isSignExtended(address, false), isSignExtended(address, true)]).toEqual([with48, with57]);
  });
});
