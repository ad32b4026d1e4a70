const SIMPLE_ESCAPES: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  t: '\t',
  n: '\n',
  v: '\v',
  f: '\f',
  r: '\r',
  e: '\x1b',
};

const ESCAPE = /\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))/gsu;

/** The text of a backquoted string with its escapes resolved; bytes given as \x80..\xff stay single characters. */
export function resolveEscapes(text: string): string {
  return text.replace(ESCAPE, (_all, octal?: string, hex?: string, u4?: string, u8?: string, simple?: string) => {
    if (octal !== undefined) return rawByte(Number.parseInt(octal, 8) & 0xff);
    if (hex !== undefined) return rawByte(Number.parseInt(hex, 16));
    const codePoint = u4 ?? u8;
    if (codePoint !== undefined) return String.fromCodePoint(Math.min(Number.parseInt(codePoint, 16), 0x10ffff));
    const letter = simple ?? '';
    return SIMPLE_ESCAPES[letter] ?? letter;
  });
}

/**
 * A byte written as an escape must not be encoded as UTF-8 again; it travels in the private use area U+F700..U+F7FF
 * when it is not ASCII.
 */
function rawByte(value: number): string {
  return value < 0x80 ? String.fromCharCode(value) : String.fromCharCode(0xf700 + value);
}

/** The bytes of a string constant: UTF-8, as NASM keeps the bytes of the source file. */
export function bytesOfString(text: string): number[] {
  const bytes: number[] = [];
  for (const character of text) {
    const codePoint = character.codePointAt(0) ?? 0;
    if (codePoint < 0x80) bytes.push(codePoint);
    else if (codePoint >= 0xf780 && codePoint <= 0xf7ff) bytes.push(codePoint - 0xf700);
    else bytes.push(...utf8(codePoint));
  }
  return bytes;
}

function utf8(codePoint: number): number[] {
  const tail = (shift: number): number => 0x80 | ((codePoint >> shift) & 0x3f);
  if (codePoint < 0x800) return [0xc0 | (codePoint >> 6), tail(0)];
  if (codePoint < 0x10000) return [0xe0 | (codePoint >> 12), tail(6), tail(0)];
  return [0xf0 | (codePoint >> 18), tail(12), tail(6), tail(0)];
}

/** A character constant as a number: the first character is the least significant byte. */
export function numberOfString(text: string): bigint {
  return bytesOfString(text)
    .slice(0, 8)
    .reduce((sum, byte, index) => sum | (BigInt(byte) << BigInt(8 * index)), 0n);
}

const RADIX: Readonly<Record<string, number>> = { b: 2, y: 2, o: 8, q: 8, d: 10, t: 10, h: 16, x: 16 };

/**
 * The value of an integer constant in any of NASM's notations (200, 0200, 0200d, 0d200, 0c8h, $0c8, 0xc8, 310q, 0o310,
 * 11001000b, 0b1100_1000 …), or undefined when it is none.
 */
export function parseInteger(text: string): bigint | undefined {
  const lower = text.toLowerCase();
  if (lower.startsWith('$')) return digitsOf(lower.slice(1), 16);
  const prefix = lower.length > 2 && lower.startsWith('0') ? (RADIX[lower[1] ?? ''] ?? 0) : 0;
  const suffix = lower.length > 1 ? (RADIX[lower.at(-1) ?? ''] ?? 0) : 0;
  // 0b1010h is hexadecimal and 0x0b is hexadecimal: the larger radix wins, as in NASM.
  if (prefix > suffix) return digitsOf(lower.slice(2), prefix);
  if (suffix > prefix) return digitsOf(lower.slice(0, -1), suffix);
  return digitsOf(prefix > 0 ? lower.slice(2) : lower, prefix > 0 ? prefix : 10);
}

function digitsOf(digits: string, radix: number): bigint | undefined {
  const clean = digits.replaceAll('_', '');
  if (clean === '') return undefined;
  const valid = { 2: /^[01]+$/u, 8: /^[0-7]+$/u, 10: /^\d+$/u, 16: /^[0-9a-f]+$/u }[radix];
  if (valid === undefined || !valid.test(clean)) return undefined;
  if (radix === 10) return BigInt(clean);
  return BigInt(`${{ 2: '0b', 8: '0o', 16: '0x' }[radix] ?? ''}${clean}`);
}

/** Whether a numeric token has the shape of a floating-point constant, such as 1.2, 1.e10 or 0x1p-3. */
export function looksLikeFloat(text: string): boolean {
  return /^\d[\d_]*\.[\d_]*(?:e[+-]?\d+)?$|^\d[\d_]*e[+-]?\d+$|^0x[\da-f_]*(?:\.[\da-f_]*)?p[+-]?\d+$/iu.test(text);
}
