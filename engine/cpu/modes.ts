/** Operating modes and what derives from them (SDM volume 3, "Modes of Operation"). */
import { type LinearAddress, low32, plus } from '../isa/linear-address.ts';
import type { Processor } from './processor.ts';
import { ACCESS, CR0, EFER, RFLAGS } from './register-bits.ts';
import { type CpuState, CS, GS, type SegmentRegister, SS } from './state.ts';

/** Values of `state.mode`: operating mode and default size of the code that runs. */
export const CpuMode = {
  real16: 0,
  /** Real-address mode with CS.D = 1, between clearing CR0.PE in 32-bit code and the far jump. */
  real32: 1,
  virtual8086: 2,
  protected16: 3,
  protected32: 4,
  compatibility16: 5,
  compatibility32: 6,
  long64: 7,
} as const;
export type CpuMode = (typeof CpuMode)[keyof typeof CpuMode];

export const modeNames: readonly string[] = [
  'real-address mode',
  'real-address mode, 32-bit code',
  'virtual-8086 mode',
  'protected mode, 16-bit code',
  'protected mode, 32-bit code',
  'compatibility mode, 16-bit code',
  'compatibility mode, 32-bit code',
  '64-bit mode',
];

/** Limit that no offset of 64-bit code reaches before its address stops being canonical. */
const NO_LIMIT = 2 ** 62;

function deriveMode(state: CpuState): CpuMode {
  const { attributes } = state.segment(CS);
  const big = (attributes & ACCESS.DB) !== 0;
  if ((state.cr0 & CR0.PE) === 0) return big ? CpuMode.real32 : CpuMode.real16;
  if (state.flagsOther & RFLAGS.VM) return CpuMode.virtual8086;
  if ((state.efer & EFER.LMA) === 0) return big ? CpuMode.protected32 : CpuMode.protected16;
  if (attributes & ACCESS.L) return CpuMode.long64;
  return big ? CpuMode.compatibility32 : CpuMode.compatibility16;
}

export const is64Bit = (state: CpuState): boolean => state.mode === CpuMode.long64;
export const isRealMode = (state: Pick<CpuState, 'cr0'>): boolean => (state.cr0 & CR0.PE) === 0;
export const isVirtual8086 = (state: Pick<CpuState, 'flagsOther'>): boolean => (state.flagsOther & RFLAGS.VM) !== 0;
/** Real-address or virtual-8086 mode: selectors are paragraph numbers. */
export const usesRealSelectors = (state: Pick<CpuState, 'cr0' | 'flagsOther'>): boolean =>
  isRealMode(state) || isVirtual8086(state);
/** IA-32e mode: 64-bit or compatibility mode. */
export const isIa32e = (state: CpuState): boolean => (state.efer & EFER.LMA) !== 0;

/** Default operand and address size of the code that runs, in bits. */
export function codeSize(state: CpuState): 16 | 32 | 64 {
  switch (state.mode) {
    case CpuMode.long64:
      return 64;
    case CpuMode.real32:
    case CpuMode.protected32:
    case CpuMode.compatibility32:
      return 32;
    default:
      return 16;
  }
}

/** Width of the stack pointer, in bits. */
export function stackSize(state: CpuState): 16 | 32 | 64 {
  if (is64Bit(state)) return 64;
  return state.segment(SS).attributes & ACCESS.DB ? 32 : 16;
}

/** The linear address that an offset in the code segment stands for. */
export const linearOfRip = (state: CpuState, rip: LinearAddress = state.rip): LinearAddress =>
  is64Bit(state) ? rip : low32(plus(state.segment(CS).base, rip));

/** Derives `state.mode` and the fast limits anew; to be called after CR0, IA32_EFER, CS or RFLAGS.VM changed. */
export function refreshMode(processor: Processor): void {
  const { state } = processor;
  const before = state.mode;
  const mode = deriveMode(state);
  state.mode = mode;
  // In 64-bit mode every segment register has had the same fast limits since the mode was entered.
  if (mode === CpuMode.long64 && before === CpuMode.long64) return;
  for (let index = 0; index <= GS; index++) refreshFastLimits(state, index);
  if (mode !== before) processor.hooks.modeChanged(before, mode);
}

/** Derives the fast limits of one segment register; to be called after it was loaded. */
export function refreshFastLimits(state: CpuState, index: number): void {
  const segment = state.segment(index);
  if (is64Bit(state)) segment.setFastLimits(NO_LIMIT, NO_LIMIT);
  else if (usesRealSelectors(state)) segment.setFastLimits(segment.limit, segment.limit);
  else segment.setFastLimits(fastReadLimit(segment), fastWriteLimit(segment));
}

const isUsable = (attributes: number): boolean =>
  (attributes & (ACCESS.UNUSABLE | ACCESS.P | ACCESS.S)) === (ACCESS.P | ACCESS.S);

function fastReadLimit({ attributes, limit }: SegmentRegister): number {
  if (!isUsable(attributes)) return -1;
  const simple = attributes & ACCESS.CODE ? attributes & ACCESS.READABLE : (attributes & ACCESS.EXPAND_DOWN) === 0;
  return simple ? limit : -1;
}

function fastWriteLimit({ attributes, limit }: SegmentRegister): number {
  if (!isUsable(attributes)) return -1;
  const kind = attributes & (ACCESS.CODE | ACCESS.EXPAND_DOWN | ACCESS.WRITABLE);
  return kind === ACCESS.WRITABLE ? limit : -1;
}
