/** A section: the bytes that are assembled into it, and what SECTION says about it. */
import type { Fixup } from './encode.ts';
import type { SourceRange } from './source.ts';
import type { SectionReference } from './value.ts';

/** The largest image that is assembled; a bigger one is a mistake in a TIMES or a start=. */
export const MAXIMUM_IMAGE_BYTES = 64 * 1024 * 1024;

/** What SECTION may say about a section. */
export interface SectionAttributes {
  type?: 'progbits' | 'nobits';
  align?: number;
  valign?: number;
  start?: number;
  vstart?: number;
  follows?: string;
  vfollows?: string;
}

export interface PlacedFixup extends Fixup {
  /** The end of the instruction, in bytes from the start of the section: what relative fields count from. */
  readonly end: number;
  readonly range: SourceRange;
}

/** A section while it is filled. */
export class Section {
  readonly name: string;
  readonly range: SourceRange;
  readonly reference: SectionReference;
  readonly startReference: SectionReference;
  readonly attributes: SectionAttributes = {};
  readonly fixups: PlacedFixup[] = [];
  length = 0;
  #bytes = new Uint8Array(256);

  constructor(name: string, range: SourceRange) {
    this.name = name;
    this.range = range;
    this.reference = { sectionName: name, kind: 'vstart' };
    this.startReference = { sectionName: name, kind: 'start' };
    if (name === '.bss') this.attributes.type = 'nobits';
  }

  get isNobits(): boolean {
    return this.attributes.type === 'nobits';
  }

  get contents(): Uint8Array {
    return this.#bytes.subarray(0, this.isNobits ? 0 : this.length);
  }

  /** Starts the section again for the next pass. */
  clear(): void {
    this.length = 0;
    this.fixups.length = 0;
  }

  /** Bytes, and the places among them that are patched once all sections have theirs; relative ones count from the end. */
  appendPatchable(bytes: readonly number[], fixups: readonly Fixup[], range: SourceRange): void {
    const base = this.length;
    const end = base + bytes.length;
    if (!this.isNobits) {
      for (const fixup of fixups) this.fixups.push({ ...fixup, offset: base + fixup.offset, end, range });
    }
    this.append(bytes);
  }

  append(bytes: ArrayLike<number>): void {
    if (!this.isNobits) {
      this.#grow(this.length + bytes.length);
      this.#bytes.set(bytes, this.length);
    }
    this.length += bytes.length;
  }

  reserve(count: number): void {
    if (!this.isNobits) {
      this.#grow(this.length + count);
      this.#bytes.fill(0, this.length, this.length + count);
    }
    this.length += count;
  }

  #grow(needed: number): void {
    if (needed <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.length));
    this.#bytes = larger;
  }
}
