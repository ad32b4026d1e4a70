/**
 * Where a vector's code, data and stack lie, and what memory and registers hold unless a vector says otherwise.
 * The recorders and every consumer of the vectors share these constants.
 */

export type Mode = 16 | 32 | 64;

/** A range of linear addresses that exists. Everything outside of the regions of a mode is not present. */
export interface Region {
  readonly address: number;
  readonly lengthBytes: number;
  /** `trap`: INT3 bytes; `pattern`: see patternByte. */
  readonly fill: 'trap' | 'pattern';
}

/** ES, CS, SS, DS, FS, GS, in the order of their encoding. */
export const SEGMENT_NAMES = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const;

export const GPR_NAMES_64 = 'rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15'.split(' ');
export const GPR_NAMES_32 = 'eax ecx edx ebx esp ebp esi edi'.split(' ');

/** 32- and 64-bit modes: one 4-KiB page of code, two of data, one of stack, and (64-bit) one above 4 GiB. */
export const CODE_PAGE = 0x10_0000;
export const DATA_ADDRESS = 0x20_0000;
export const DATA_BYTES = 0x2000;
export const STACK_ADDRESS = 0x30_0000;
export const STACK_BYTES = 0x1000;
export const HIGH_ADDRESS = 0x1234_5678_9000;
export const HIGH_BYTES = 0x1000;
/** RIP of the instruction in 32- and 64-bit mode; in 16-bit mode the IP is 0x0800 and this is not used. */
export const CODE_ADDRESS = CODE_PAGE + 0x800;

/**
 * 16-bit mode: every segment's base is its selector times 16, its limit 0xFFFF. So the vectors hold in real-address
 * mode, although they were recorded in 16-bit protected mode (CPL 3), with selectors that make both agree.
 */
export const REAL_MODE_IP = 0x0800;
const REAL_MODE_SEGMENTS = [0x3007, 0x1007, 0x4007, 0x2007, 0x5007, 0x6007] as const;
/** What a vector loads into CS by far transfers, and into the other segment registers. */
export const REAL_MODE_CODE_SELECTORS = Array.from({ length: 64 }, (_, n) => 0x1007 + 8 * n);
export const REAL_MODE_DATA_SELECTORS = Array.from({ length: 33 }, (_, n) => 0x2007 + 0x200 * n);

/** Selectors of user code under 64-bit Linux; all segments are flat. They matter to MOV r/m, Sreg and PUSH Sreg only. */
const SEGMENTS_64 = [0x2b, 0x33, 0x2b, 0x2b, 0, 0] as const;
const SEGMENTS_32 = [0x2b, 0x23, 0x2b, 0x2b, 0, 0] as const;

export function initialSegments(mode: Mode): number[] {
  return [...(mode === 16 ? REAL_MODE_SEGMENTS : mode === 32 ? SEGMENTS_32 : SEGMENTS_64)];
}

/** The offset in CS at which the instruction starts. */
export function initialInstructionPointer(mode: Mode): number {
  return mode === 16 ? REAL_MODE_IP : CODE_ADDRESS;
}

/** The linear address at which the instruction starts. */
export function instructionAddress(mode: Mode): number {
  return mode === 16 ? REAL_MODE_SEGMENTS[1] * 16 + REAL_MODE_IP : CODE_ADDRESS;
}

const FLAT_REGIONS: Region[] = [
  { address: CODE_PAGE, lengthBytes: 0x1000, fill: 'trap' },
  { address: DATA_ADDRESS, lengthBytes: DATA_BYTES, fill: 'pattern' },
  { address: STACK_ADDRESS, lengthBytes: STACK_BYTES, fill: 'pattern' },
];
const HIGH_REGION: Region = { address: HIGH_ADDRESS, lengthBytes: HIGH_BYTES, fill: 'pattern' };
const REAL_MODE_REGIONS: Region[] = [
  { address: 0x1_0000, lengthBytes: 0x1_0000, fill: 'trap' },
  { address: 0x2_0000, lengthBytes: 0x6_0000, fill: 'pattern' },
];

/** The memory that exists in a mode. */
export function regionsOf(mode: Mode): readonly Region[] {
  if (mode === 16) return REAL_MODE_REGIONS;
  return mode === 32 ? FLAT_REGIONS : [...FLAT_REGIONS, HIGH_REGION];
}

/** What a byte of a `pattern` region holds: the high byte of a multiplicative hash of the address's low 32 bits. */
export function patternByte(address: number): number {
  return Math.imul(address | 0, 0x9e3779b1 | 0) >>> 24;
}

/** A region's bytes before a vector's own memory and instruction are put in. */
export function regionContents(region: Region): Uint8Array {
  return Uint8Array.from({ length: region.lengthBytes }, (_, i) =>
    region.fill === 'trap' ? 0xcc : patternByte((region.address + i) % 0x1_0000_0000),
  );
}

const STACK_POINTER = STACK_ADDRESS + 0x800;
const DEFAULT_GPR_64 = [
  0xa0a1a2a3a4a5a6a7n,
  0xc0c1c2c3c4c5c6c7n,
  0xd0d1d2d3d4d5d6d7n,
  0xb0b1b2b3b4b5b6b7n,
  BigInt(STACK_POINTER),
  0x5051525354555657n,
  0x6061626364656667n,
  0x7071727374757677n,
  0x0801020304050607n,
  0x0911121314151617n,
  0x1021222324252627n,
  0x1131323334353637n,
  0x1241424344454647n,
  0x13a1b1c1d1e1f101n,
  0x1462636465666768n,
  0x15f1e1d1c1b1a191n,
];

/** What a register holds unless a vector says otherwise, so that a wrong register read or written shows. */
export function defaultRegisters(mode: Mode): bigint[] {
  if (mode === 64) return [...DEFAULT_GPR_64];
  const registers = DEFAULT_GPR_64.map((value, n) => (n < 8 ? value & 0xffff_ffffn : 0n));
  if (mode === 16) registers[4] = 0x5051_8000n;
  return registers;
}

/** The bits of RFLAGS that an instruction of user code may change: CF PF AF ZF SF DF OF. */
export const STATUS_FLAGS = 0xcd5;
/** What else is set while a vector runs: bit 1 always, and IF. The vectors were recorded with CPL 3 and IOPL 0. */
export const FIXED_FLAGS = 0x202;
