/**
 * The x87 registers, MXCSR and the vector registers of a vector: what they hold unless it says otherwise, and what
 * they are called in its text.
 */

export interface ExtendedState {
  /** Control word, status word, and the abridged tag word of FXSAVE: bit n is set when Rn is not empty. */
  fcw: number;
  fsw: number;
  ftw: number;
  /** The last non-control x87 instruction: its 11 opcode bits, its address, the address of its memory operand. */
  fop: number;
  fip: bigint;
  fdp: bigint;
  mxcsr: number;
  /** R0 to R7, by their place, not by their distance from the top of the stack; 80 bits. MMn is the lower 64 of Rn. */
  fpr: bigint[];
  /** XMM0 to XMM15: the lower halves of the YMM registers. */
  xmm: bigint[];
  /** The upper halves of the YMM registers. */
  ymmHigh: bigint[];
}

const WORDS = ['fcw', 'fsw', 'ftw', 'fop', 'mxcsr'] as const;
const POINTERS = ['fip', 'fdp'] as const;
/** The text says `fpr3`, `xmm3`, `ymm3h`. */
const LISTS = [
  ['fpr', 'fpr', ''],
  ['xmm', 'xmm', ''],
  ['ymmHigh', 'ymm', 'h'],
] as const;

/** Sixteen different bytes for each register and half, so that a wrong one read or written shows. */
function distinctive(register: number, half: number): bigint {
  let value = 0n;
  for (let byte = 15; byte >= 0; byte--) value = (value << 8n) | BigInt((register << 4) ^ byte ^ (half * 0x88));
  return value;
}

const numbers = (count: number) => Array.from({ length: count }, (_, n) => n);

/** Masked exceptions, an empty x87 stack whose registers nevertheless hold something. Shared; copy it to change it. */
export const DEFAULT_EXTENDED_STATE: ExtendedState = {
  fcw: 0x37f,
  fsw: 0,
  ftw: 0,
  fop: 0,
  fip: 0n,
  fdp: 0n,
  mxcsr: 0x1f80,
  fpr: numbers(8).map((n) => (BigInt(0x3fff + n) << 64n) | (BigInt(0x80 + n) << 56n)),
  xmm: numbers(16).map((n) => distinctive(n, 0)),
  ymmHigh: numbers(16).map((n) => distinctive(n, 1)),
};

export function copyExtendedState(state: ExtendedState): ExtendedState {
  return { ...state, fpr: [...state.fpr], xmm: [...state.xmm], ymmHigh: [...state.ymmHigh] };
}

/** Whether `name` stands for a part of this state. */
export const isExtendedItem = (name: string): boolean => SETTERS.has(name);

/** Sets the part called `name` to a hexadecimal value. */
export function setExtendedItem(state: ExtendedState, name: string, value: string): void {
  if (!/^[0-9a-f]+$/.test(value)) throw new Error(`expected a hexadecimal number, found "${value}"`);
  SETTERS.get(name)?.(state, BigInt(`0x${value}`));
}

const SETTERS = new Map<string, (state: ExtendedState, value: bigint) => void>();
for (const word of WORDS) SETTERS.set(word, (state, value) => (state[word] = Number(value)));
for (const pointer of POINTERS) SETTERS.set(pointer, (state, value) => (state[pointer] = value));
for (const [list, prefix, suffix] of LISTS) {
  for (const n of DEFAULT_EXTENDED_STATE[list].keys()) {
    SETTERS.set(`${prefix}${n}${suffix}`, (state, value) => (state[list][n] = value));
  }
}

/** `name=value` for each part of `state` that differs from `base`. */
export function extendedItems(base: ExtendedState, state: ExtendedState): string[] {
  if (base === state) return [];
  const item = (name: string, old: bigint | number, value: bigint | number) =>
    old === value ? [] : [`${name}=${value.toString(16)}`];
  return [
    ...LISTS.flatMap(([list, prefix, suffix]) =>
      state[list].flatMap((value, n) => item(`${prefix}${n}${suffix}`, base[list][n] ?? 0n, value)),
    ),
    ...[...WORDS, ...POINTERS].flatMap((name) => item(name, base[name], state[name])),
  ];
}

/** The number of the register that ST(0) stands for. */
export const topOfStack = (state: ExtendedState): number => (state.fsw >> 11) & 7;

/** Bytes of this state on the recorder's wire: the image of FXSAVE64 up to XMM15, then the upper halves. */
export const EXTENDED_BYTES = 416 + 256;
const [ST_AT, XMM_AT, YMM_HIGH_AT] = [32, 160, 416];

export function encodeExtendedState(state: ExtendedState): Buffer {
  const image = Buffer.alloc(EXTENDED_BYTES);
  image.writeUInt16LE(state.fcw, 0);
  image.writeUInt16LE(state.fsw, 2);
  image.writeUInt8(state.ftw, 4);
  image.writeUInt16LE(state.fop, 6);
  image.writeBigUInt64LE(state.fip, 8);
  image.writeBigUInt64LE(state.fdp, 16);
  image.writeUInt32LE(state.mxcsr, 24);
  const top = topOfStack(state);
  for (const n of numbers(8)) write128(image, ST_AT + 16 * n, state.fpr[(top + n) & 7] ?? 0n);
  for (const n of numbers(16)) write128(image, XMM_AT + 16 * n, state.xmm[n] ?? 0n);
  for (const n of numbers(16)) write128(image, YMM_HIGH_AT + 16 * n, state.ymmHigh[n] ?? 0n);
  return image;
}

export function decodeExtendedState(image: Buffer): ExtendedState {
  const state: ExtendedState = {
    fcw: image.readUInt16LE(0),
    fsw: image.readUInt16LE(2),
    ftw: image.readUInt8(4),
    fop: image.readUInt16LE(6),
    fip: image.readBigUInt64LE(8),
    fdp: image.readBigUInt64LE(16),
    mxcsr: image.readUInt32LE(24),
    fpr: numbers(8).map(() => 0n),
    xmm: numbers(16).map((n) => read128(image, XMM_AT + 16 * n)),
    ymmHigh: numbers(16).map((n) => read128(image, YMM_HIGH_AT + 16 * n)),
  };
  const top = topOfStack(state);
  for (const n of numbers(8)) state.fpr[(top + n) & 7] = BigInt.asUintN(80, read128(image, ST_AT + 16 * n));
  return state;
}

function write128(image: Buffer, at: number, value: bigint): void {
  image.writeBigUInt64LE(BigInt.asUintN(64, value), at);
  image.writeBigUInt64LE(value >> 64n, at + 8);
}

function read128(image: Buffer, at: number): bigint {
  return (image.readBigUInt64LE(at + 8) << 64n) | image.readBigUInt64LE(at);
}
