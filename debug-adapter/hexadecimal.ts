/** Numbers and bytes the way messages tell them. */

/** `0x1f`, of either kind of number, with at least `digits` digits. */
export function hex(value: number | bigint, digits = 1): string {
  const magnitude = value < 0 ? -value : value;
  return `${value < 0 ? '-' : ''}0x${magnitude.toString(16).padStart(digits, '0')}`;
}

/** `7f 45 4c 46` */
export const hexBytes = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
