/**
 * RFLAGS and its lazy form. The status flags derive from the sign-extended result of the last instruction that set
 * them: ZF = (flagsResult = 0); SF = bit 63 of flagsResult XOR bit 0 of flagsAux; PF = even parity of the low byte of
 * flagsResult XOR bits 15:8 of flagsAux; CF, CF XOR OF and AF are bits 63, 62 and 3 of flagsAux. Bits 61:32 of flagsAux
 * may hold garbage.
 */
import { RFLAGS } from './register-bits.ts';
import type { CpuState } from './state.ts';
import { fieldAddress } from './state-layout.ts';

const RESULT_LOW = fieldAddress.flagsResult;
const RESULT_HIGH = RESULT_LOW + 4;
const AUX_LOW = fieldAddress.flagsAux;
const AUX_HIGH = AUX_LOW + 4;

export const STATUS_FLAGS = RFLAGS.CF | RFLAGS.PF | RFLAGS.AF | RFLAGS.ZF | RFLAGS.SF | RFLAGS.OF;
/** Every flag that software can set; the other bits of RFLAGS are reserved. */
export const WRITABLE_FLAGS = 0x003f_7fd5;

function evenParity(byte: number): boolean {
  const folded = byte ^ (byte >>> 4);
  return ((0x9669 >>> (folded & 0xf)) & 1) === 1;
}

/** CF, PF, AF, ZF, SF and OF in their places in RFLAGS. */
export function readStatusFlags({ view }: Pick<CpuState, 'view'>): number {
  const low = view.getUint32(RESULT_LOW, true);
  const high = view.getUint32(RESULT_HIGH, true);
  const auxLow = view.getUint32(AUX_LOW, true);
  const auxHigh = view.getUint32(AUX_HIGH, true);
  const carry = auxHigh >>> 31;
  const overflow = carry ^ ((auxHigh >>> 30) & 1);
  const sign = (high >>> 31) ^ (auxLow & 1);
  let flags = 0;
  if (carry) flags |= RFLAGS.CF;
  if (evenParity((low ^ (auxLow >>> 8)) & 0xff)) flags |= RFLAGS.PF;
  if (auxLow & 8) flags |= RFLAGS.AF;
  if ((low | high) === 0) flags |= RFLAGS.ZF;
  if (sign) flags |= RFLAGS.SF;
  if (overflow) flags |= RFLAGS.OF;
  return flags;
}

/** Sets CF, PF, AF, ZF, SF and OF from their places in `flags`; other bits are ignored. */
export function writeStatusFlags({ view }: Pick<CpuState, 'view'>, flags: number): void {
  const result = flags & RFLAGS.ZF ? 0 : 1;
  const carry = flags & RFLAGS.CF ? 1 : 0;
  const overflow = flags & RFLAGS.OF ? 1 : 0;
  const parityByte = flags & RFLAGS.PF ? result : result ^ 1;
  const auxLow = (flags & RFLAGS.SF ? 1 : 0) | (flags & RFLAGS.AF ? 8 : 0) | (parityByte << 8);
  view.setUint32(RESULT_LOW, result, true);
  view.setUint32(RESULT_HIGH, 0, true);
  view.setUint32(AUX_LOW, auxLow, true);
  view.setUint32(AUX_HIGH, ((carry << 31) | ((carry ^ overflow) << 30)) >>> 0, true);
}

/** RFLAGS, whose upper half is always 0. */
export function readFlags(state: CpuState): number {
  return (state.flagsOther & ~STATUS_FLAGS) | readStatusFlags(state) | RFLAGS.FIXED;
}

/** Writes all of RFLAGS; reserved bits take their fixed values. `Processor.writeFlags` also tells who depends on them. */
export function writeFlags(state: CpuState, value: number): void {
  writeStatusFlags(state, value);
  state.flagsOther = (value & WRITABLE_FLAGS & ~STATUS_FLAGS) | RFLAGS.FIXED;
}

/** The I/O privilege level. */
export function iopl(state: CpuState): number {
  return (state.flagsOther >>> 12) & 3;
}
