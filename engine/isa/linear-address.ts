/**
 * Linear addresses, and other 64-bit values that are used as such. Those within 2^52 are signed numbers, which all canonical
 * addresses of 48 bits are; the others are signed bigints, as numbers would lose their low bits. Each value has one
 * representation, so that `===`, `<` and maps do what they say.
 */
export type LinearAddress = number | bigint;

const NUMBERS_END = 2 ** 52;
/** The signed upper halves of the addresses that are numbers end here. */
const NUMBERS_END_HIGH = 2 ** 20;
const CANONICAL_END_48 = 2 ** 47;
const CANONICAL_END_57 = 2 ** 56;
const OFFSET_MASK = 0xfff;

/** Whether an address is sign-extended from bit 47, or, with 5-level paging, from bit 56. */
export function isSignExtended(linear: LinearAddress, fiveLevel: boolean): boolean {
  const end = fiveLevel ? CANONICAL_END_57 : CANONICAL_END_48;
  return linear >= -end && linear < end;
}

/** A 64-bit value, signed or not, as an address. */
export function linearAddressOf(value: bigint): LinearAddress {
  const signed = BigInt.asIntN(64, value);
  const number = Number(signed);
  return number < NUMBERS_END && number >= -NUMBERS_END ? number : signed;
}

/** The address of two halves, signed or not. */
export function joined(high: number, low: number): LinearAddress {
  const upper = high | 0;
  const isNumber = upper < NUMBERS_END_HIGH && upper >= -NUMBERS_END_HIGH;
  return isNumber ? upper * 0x1_0000_0000 + (low >>> 0) : (BigInt(upper) << 32n) | BigInt(low >>> 0);
}

/** The 64-bit field at an address of a view. */
export const readLinearAddress = (view: DataView, at: number): LinearAddress =>
  joined(view.getInt32(at + 4, true), view.getInt32(at, true));

/** Stores an address, or another integer number, as 64 bits in two's complement. */
export function writeLinearAddress(view: DataView, at: number, linear: LinearAddress): void {
  if (typeof linear === 'bigint') {
    view.setBigInt64(at, linear, true);
    return;
  }
  const high = Math.floor(linear / 0x1_0000_0000);
  view.setUint32(at, linear - high * 0x1_0000_0000, true);
  view.setInt32(at + 4, high | 0, true);
}

/** The sum modulo 2^64. */
export function plus(a: LinearAddress, b: LinearAddress): LinearAddress {
  if (typeof a === 'number' && typeof b === 'number') {
    const sum = a + b;
    if (sum < NUMBERS_END && sum >= -NUMBERS_END) return sum;
  }
  return linearAddressOf(BigInt(a) + BigInt(b));
}

/** How far `a` lies behind `b`, which is near to it. */
export const difference = (a: LinearAddress, b: LinearAddress): number =>
  typeof a === 'number' && typeof b === 'number' ? a - b : Number(BigInt.asIntN(64, BigInt(a) - BigInt(b)));

/** The low 32 bits, unsigned: what there is of an address outside 64-bit mode. */
export const low32 = (linear: LinearAddress): number =>
  typeof linear === 'bigint' ? Number(BigInt.asUintN(32, linear)) : linear >>> 0;

/** An address is the sum of a number, which is it or the first address of its page, and of a small rest. */
export const numberPart = (linear: LinearAddress): number => (typeof linear === 'number' ? linear : pageOf(linear));
export const restOf = (linear: LinearAddress): number => (typeof linear === 'number' ? 0 : offsetInPage(linear));

/** Offset of an address in its page. */
export const offsetInPage = (linear: LinearAddress): number =>
  typeof linear === 'bigint' ? Number(linear & 0xfffn) : linear & OFFSET_MASK;

/** The first address of the page, as a number: page addresses are exact. */
export const pageOf = (linear: LinearAddress): number =>
  typeof linear === 'bigint' ? Number(linear & ~0xfffn) : linear - (linear & OFFSET_MASK);
