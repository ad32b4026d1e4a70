/** Numbers the way people read them here. */

/** 0x-prefixed hexadecimal, at least `digits` digits; negative numbers as 64 bits in two's complement. */
export function hex(value: number | bigint, digits = 1): string {
  const unsigned = value < 0 ? BigInt.asUintN(64, BigInt(value)) : value;
  return `0x${unsigned.toString(16).padStart(digits, '0')}`;
}
