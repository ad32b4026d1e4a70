/** FNV-1a over pieces of memory, eight bytes a step where possible: a digest of state, not a cryptographic one. */
export function fnv1a64(pieces: readonly Uint8Array[]): string {
  let low = 0x84222325;
  let high = 0xcbf29ce4;
  for (const piece of pieces) {
    const words = new Uint32Array(piece.buffer, piece.byteOffset, piece.length >>> 2);
    for (const word of words) {
      low = Math.imul(low ^ word, 0x0100_0193);
      high = Math.imul(high ^ low, 0x85eb_ca6b) ^ (high >>> 13);
    }
    for (let i = words.length * 4; i < piece.length; i++) low = Math.imul(low ^ (piece[i] as number), 0x0100_0193);
    low = Math.imul(low ^ piece.length, 0x0100_0193);
  }
  return (high >>> 0).toString(16).padStart(8, '0') + (low >>> 0).toString(16).padStart(8, '0');
}
