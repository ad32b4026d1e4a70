/** Memory as text: address, sixteen bytes, and their characters on each line. */

const perLine = 16;
const isPrintable = (byte: number): boolean => byte >= 0x20 && byte < 0x7f;

/** `bytes` from `address` on; what lies beyond them, up to `length`, could not be read and is shown as `??`. */
export function hexDump(address: bigint, bytes: Uint8Array, length: number): string {
  const lines: string[] = [];
  for (let at = 0; at < length; at += perLine) {
    const cells = Array.from({ length: Math.min(perLine, length - at) }, (_, i) => bytes[at + i]);
    lines.push(dumpLine(BigInt.asUintN(64, address + BigInt(at)), cells));
  }
  return `${lines.join('\n')}\n`;
}

function dumpLine(address: bigint, cells: readonly (number | undefined)[]): string {
  const hex = cells.map((byte) => byte?.toString(16).padStart(2, '0') ?? '??');
  const groups = [hex.slice(0, perLine / 2).join(' '), hex.slice(perLine / 2).join(' ')].join('  ');
  const text = cells.map((byte) => (byte !== undefined && isPrintable(byte) ? String.fromCharCode(byte) : '.'));
  return `${address.toString(16).padStart(16, '0')}  ${groups.padEnd(perLine * 3)} |${text.join('')}|`;
}
