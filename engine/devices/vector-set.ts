/** A 256-bit register of the local APIC (ISR, TMR, IRR): one bit a vector, in eight words as the guest reads them. */

const WORDS = 8;

export class VectorSet {
  #words: number[] = new Array<number>(WORDS).fill(0);

  add(vector: number): void {
    this.#words[vector >>> 5] = (this.word(vector >>> 5) | (1 << (vector & 31))) >>> 0;
  }
  delete(vector: number): void {
    this.#words[vector >>> 5] = (this.word(vector >>> 5) & ~(1 << (vector & 31))) >>> 0;
  }
  has(vector: number): boolean {
    return ((this.word(vector >>> 5) >>> (vector & 31)) & 1) !== 0;
  }
  /** The highest vector in it, or -1. */
  highest(): number {
    for (let index = WORDS - 1; index >= 0; index--) {
      const word = this.word(index);
      if (word !== 0) return index * 32 + 31 - Math.clz32(word);
    }
    return -1;
  }
  word(index: number): number {
    return this.#words[index] ?? 0;
  }
  clear(): void {
    this.#words.fill(0);
  }

  save(): number[] {
    return [...this.#words];
  }
  restore(words: readonly number[]): void {
    this.#words = Array.from({ length: WORDS }, (_, index) => words[index] ?? 0);
  }
  /** The vectors in words, for people. */
  describe(): string {
    const vectors: string[] = [];
    for (let vector = 0; vector < 32 * WORDS; vector++) if (this.has(vector)) vectors.push(`0x${vector.toString(16)}`);
    return vectors.join(' ') || 'none';
  }
}
