import { UserError } from '../errors.ts';
import { hex } from '../hexadecimal.ts';

/** The longest LEB128 that can hold 64 significant bits. */
const LEB128_MAX_BYTES = 10;

/**
 * Reads little-endian numbers from bytes that may be malformed.
 *
 * A read beyond the end is a user error with the offset: a guest's file never causes any other exception. `name`
 * says what the bytes are (`.debug_line`), `base` is added to the offsets of messages.
 */
export class ByteReader {
  offset = 0;
  readonly bytes: Uint8Array;
  readonly #name: string;
  readonly #base: number;
  readonly #view: DataView;

  constructor(bytes: Uint8Array, name: string, base = 0) {
    this.bytes = bytes;
    this.#name = name;
    this.#base = base;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get length(): number {
    return this.bytes.length;
  }

  get atEnd(): boolean {
    return this.offset >= this.length;
  }

  /** Moves to an absolute offset, which may be the end but not beyond it. */
  seek(offset: number): this {
    if (!(offset >= 0 && offset <= this.length)) {
      throw this.error('Offset beyond the end', `an offset up to ${hex(this.length)}`, hex(offset));
    }
    this.offset = offset;
    return this;
  }

  skip(lengthBytes: number): void {
    this.take(lengthBytes);
  }

  u8(): number {
    return this.#view.getUint8(this.take(1));
  }

  i8(): number {
    return this.#view.getInt8(this.take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.take(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.take(4), true);
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.take(8), true);
  }

  /** A 64-bit offset or size as a number; a user error if it is larger than any file. */
  offset64(): number {
    const at = this.offset;
    const value = this.u64();
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw this.error('Number too large', 'an offset or size within the file', hex(value), at);
    }
    return Number(value);
  }

  uleb128(): bigint {
    return this.#leb128().value;
  }

  sleb128(): bigint {
    const { value, bits } = this.#leb128();
    return BigInt.asIntN(64, BigInt.asIntN(bits, value));
  }

  /** A ULEB128 that counts or indexes something; a user error if no file could hold that many. */
  count(): number {
    const at = this.offset;
    const first = this.bytes[at];
    if (first !== undefined && first < 0x80) {
      this.offset = at + 1;
      return first;
    }
    const value = this.uleb128();
    if (value > 0xffff_ffffn) {
      throw this.error('Number too large', 'a count or index below 2^32', hex(value), at);
    }
    return Number(value);
  }

  take(lengthBytes: number): number {
    const at = this.offset;
    if (!(lengthBytes >= 0 && lengthBytes <= this.length - at)) {
      throw this.error('The data end too early', `${lengthBytes} more bytes`, `${this.length - at}`, at);
    }
    this.offset = at + lengthBytes;
    return at;
  }

  /** The next bytes, without a copy. */
  slice(lengthBytes: number): Uint8Array {
    const at = this.take(lengthBytes);
    return this.bytes.subarray(at, at + lengthBytes);
  }

  /** The bytes up to the next zero, which is passed over. */
  zeroTerminated(): Uint8Array {
    const at = this.offset;
    const end = this.bytes.indexOf(0, at);
    if (end < 0) {
      throw this.error('Text without an end', 'a zero byte', 'none', at);
    }
    this.offset = end + 1;
    return this.bytes.subarray(at, end);
  }

  error(summary: string, expected: string, found: string, at = this.offset): UserError {
    return new UserError(summary, { expected, found, where: `${this.#name}, offset ${hex(this.#base + at)}` });
  }

  #leb128(): { value: bigint; bits: number } {
    const at = this.offset;
    let value = 0n;
    for (let index = 0; index < LEB128_MAX_BYTES; index += 1) {
      const byte = this.u8();
      value |= BigInt(byte & 0x7f) << BigInt(7 * index);
      if (byte < 0x80) {
        return { value: BigInt.asUintN(64, value), bits: 7 * (index + 1) };
      }
    }
    throw this.error('Malformed LEB128 number', `at most ${LEB128_MAX_BYTES} bytes`, 'more', at);
  }
}
