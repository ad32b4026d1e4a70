/** A name in a file is cut here: longer than any path and nearly any mangled name. */
const MAX_NAME_BYTES = 4096;

/** How much text a table may yield in relation to its size; names that share their tails are counted each. */
const MAX_TEXT_PER_BYTE = 16;
const MAX_TEXT_OF_SMALL_TABLE = 65_536;

const decoder = new TextDecoder('utf-8');

/** Text of a file's name; what is not UTF-8 becomes replacement characters. */
export function decodeText(bytes: Uint8Array): string {
  return decoder.decode(bytes.length > MAX_NAME_BYTES ? bytes.subarray(0, MAX_NAME_BYTES) : bytes);
}

/**
 * The zero-terminated names of an ELF string table, read by offset.
 *
 * A malformed file may point a million times into one long name, so the whole text taken from a table is bounded by
 * its size; a name beyond that, or outside of the table, is undefined.
 */
export class StringTable {
  readonly #cache = new Map<number, string>();
  readonly #bytes: Uint8Array;
  #budget: number;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#budget = Math.max(MAX_TEXT_OF_SMALL_TABLE, bytes.length * MAX_TEXT_PER_BYTE);
  }

  at(offset: number): string | undefined {
    return this.#cache.get(offset) ?? this.#decode(offset);
  }

  #decode(offset: number): string | undefined {
    if (!(offset >= 0 && offset < this.#bytes.length) || this.#budget <= 0) {
      return undefined;
    }
    const window = this.#bytes.subarray(offset, offset + MAX_NAME_BYTES);
    const end = window.indexOf(0);
    const text = decodeText(end < 0 ? window : window.subarray(0, end));
    this.#budget -= text.length;
    this.#cache.set(offset, text);
    return text;
  }
}
