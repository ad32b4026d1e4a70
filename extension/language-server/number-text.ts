/** Numbers as people compare them: hexadecimal, decimal, binary. */

const groupFromRight = (digits: string, size: number): string =>
  digits.replace(new RegExp(`\\B(?=(?:.{${size}})+$)`, 'gu'), '_');

/** Markdown rows. `value` is taken as 64 bits wide. */
export function numberTable(value: bigint): string {
  const unsigned = BigInt.asUintN(64, value);
  const signed = BigInt.asIntN(64, value);
  const hex = groupFromRight(unsigned.toString(16).toUpperCase(), 4);
  const binary = groupFromRight(unsigned.toString(2), 4);
  const rows = [
    ['hexadecimal', `${hex}h`],
    ['decimal', unsigned === signed ? `${unsigned}` : `${unsigned} (signed ${signed})`],
    ['binary', `${binary}b`],
  ];
  if (unsigned >= 0x20n && unsigned < 0x7fn) rows.push(['character', `'${String.fromCharCode(Number(unsigned))}'`]);
  const bits = bitsSet(unsigned);
  if (bits.length > 0 && bits.length <= 8) rows.push(['bits set', bits.join(', ')]);
  return ['| | |', '|---|---|', ...rows.map(([name, text]) => `| ${name} | \`${text}\` |`)].join('\n');
}

function bitsSet(value: bigint): number[] {
  const set: number[] = [];
  for (let bit = 63; bit >= 0; bit--) if ((value >> BigInt(bit)) & 1n) set.push(bit);
  return set;
}
