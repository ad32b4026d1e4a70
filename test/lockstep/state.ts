/** The state that is compared after every step, by name, and its form in bytes as kvm/kvm.c has it. */

export const GPRS = [
  'rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15',
] as const; // biome-ignore format: one row a register file
export const SEGMENTS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'ldtr', 'tr'] as const;
export type SegmentName = (typeof SEGMENTS)[number];

/** A name and how many bytes it takes, in order. */
const LAYOUT: readonly (readonly [name: string, bytes: number])[] = [
  ...[...GPRS, 'rip', 'rflags'].map((name) => [name, 8] as const),
  ...SEGMENTS.flatMap((name) => [
    [`${name}.base`, 8] as const,
    [`${name}.limit`, 4] as const,
    [`${name}.attributes`, 4] as const,
    [name, 4] as const,
  ]),
  ...['gdtr.base', 'idtr.base'].map((name) => [name, 8] as const),
  ...['gdtr.limit', 'idtr.limit'].map((name) => [name, 4] as const),
  ...['cr0', 'cr2', 'cr3', 'cr4', 'cr8', 'efer'].map((name) => [name, 8] as const),
  ...Array.from({ length: 8 }, (_, n) => [`fpr${n}`, 16] as const),
  ...Array.from({ length: 16 }, (_, n) => [`xmm${n}`, 16] as const),
  ...['fcw', 'fsw', 'ftw', 'mxcsr'].map((name) => [name, 4] as const),
];

export const STATE_NAMES: readonly string[] = LAYOUT.map(([name]) => name);
export const STATE_BYTES = LAYOUT.reduce((sum, [, bytes]) => sum + bytes, 0);

/** Values by name (STATE_NAMES); access rights are in the VMCS's format. */
export type State = Readonly<Record<string, bigint>>;

export const registerOf = (state: State, name: string): bigint => state[name] ?? 0n;

/** Bytes that a step changed. */
export interface Change {
  readonly address: number;
  readonly bytes: Uint8Array;
}

/** Why there is no further step. */
export type End = 'halted' | 'shut down' | 'left RAM' | 'not emulated' | 'stuck' | 'other exit';

/** The machine after an instruction, or after the delivery of an event. */
export interface Step {
  readonly state: State;
  readonly changes: readonly Change[];
  readonly end?: End;
}

/** A bare guest: RAM from physical address 0, and the state in which its first instruction runs. */
export interface Guest {
  readonly name: string;
  readonly ram: Uint8Array;
  readonly start: State;
}

export function decodeState(data: Buffer, at: number): State {
  const state: Record<string, bigint> = {};
  let offset = at;
  for (const [name, bytes] of LAYOUT) {
    if (bytes === 4) state[name] = BigInt(data.readUInt32LE(offset));
    else state[name] = data.readBigUInt64LE(offset);
    if (bytes === 16) state[name] = (state[name] ?? 0n) | (data.readBigUInt64LE(offset + 8) << 64n);
    offset += bytes;
  }
  return state;
}

export function encodeState(state: State): Buffer {
  const data = Buffer.alloc(STATE_BYTES);
  let offset = 0;
  for (const [name, bytes] of LAYOUT) {
    const value = registerOf(state, name);
    if (bytes === 4) data.writeUInt32LE(Number(value), offset);
    else data.writeBigUInt64LE(BigInt.asUintN(64, value), offset);
    if (bytes === 16) data.writeBigUInt64LE(value >> 64n, offset + 8);
    offset += bytes;
  }
  return data;
}
