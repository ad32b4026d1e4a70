/** Numbers in words that all views share. */

/** A number that the engine gave; as a string, it may have a sign before its prefix. */
const exactly = (value: number | bigint | string): bigint =>
  typeof value === 'string' && value.startsWith('-') ? -BigInt(value.slice(1)) : BigInt(value);

/** A number that the engine gave: negative ones are linear addresses of the upper half. */
export const hex = (value: number | bigint | string, digits = 1): string =>
  `0x${BigInt.asUintN(64, exactly(value)).toString(16).padStart(digits, '0')}`;

/** A linear address, in the width that its half of the address space calls for. */
export const linear = (address: number | bigint | string): string => hex(address, exactly(address) >> 32n ? 16 : 8);

/** A value of so many bits, padded to its width. */
export const ofWidth = (value: string, widthBits: number): string => hex(value, Math.ceil(widthBits / 4));

const units = [
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
] as const;

/** `4 KiB`, `2 MiB`; in the largest unit that divides it. */
export function bytes(count: number): string {
  const [unit, size] = units.find(([, size]) => count >= size && count % size === 0) ?? ['bytes', 1];
  return `${count / size} ${unit}`;
}

/** `1 entry`, `2 entries`. */
export const counted = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;

/** A cell of a Markdown table: no character of it may end the cell or begin markup. */
export const cell = (text: string): string => text.replace(/[\\`*_{}[\]<>#|~]/g, '\\$&').replace(/\s+/g, ' ');

/** A Markdown table. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`;
  return [line(head), `|${' --- |'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}
