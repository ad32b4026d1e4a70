/** The x87 status word, and the registers as a stack (SDM volume 1, "x87 FPU Data Registers"). */
import { extended80 } from '../../float/format.ts';
import type { CpuState } from '../state.ts';

/** Bits of the status word; the first six are those of FloatException. */
export const FSW = {
  IE: 0x01, DE: 0x02, ZE: 0x04, OE: 0x08, UE: 0x10, PE: 0x20, SF: 0x40, ES: 0x80,
  C0: 0x100, C1: 0x200, C2: 0x400, TOP: 0x3800, C3: 0x4000, B: 0x8000,
} as const; // biome-ignore format: one table

const TOP_SHIFT = 11;
export const EXCEPTIONS = 0x3f;
/** The bits of the control word that exist, and one that is always 1. */
const FCW_DEFINED = 0x1f3f;
const FCW_FIXED = 0x40;
export const FCW_INITIAL = 0x37f;

/** What an invalid operation gives. */
export const INDEFINITE = extended80.defaultNaN;

export const topOfStack = ({ fsw }: CpuState): number => (fsw & FSW.TOP) >> TOP_SHIFT;

export function setTop(state: CpuState, top: number): void {
  state.fsw = (state.fsw & ~FSW.TOP) | ((top & 7) << TOP_SHIFT);
}

/** The number of the register that ST(i) stands for. */
export const physical = (state: CpuState, i: number): number => (topOfStack(state) + i) & 7;

export const isEmpty = (state: CpuState, i: number): boolean => (state.ftw & (1 << physical(state, i))) === 0;

/** The 80 bits of ST(i), empty or not. */
export const readStack = (state: CpuState, i: number): bigint => state.x87Register(physical(state, i));

export function writeStack(state: CpuState, i: number, value: bigint): void {
  const n = physical(state, i);
  state.setX87Register(n, value);
  state.ftw |= 1 << n;
}

export function free(state: CpuState, i: number): void {
  state.ftw &= ~(1 << physical(state, i));
}

export function pop(state: CpuState): void {
  free(state, 0);
  setTop(state, topOfStack(state) + 1);
}

export function push(state: CpuState, value: bigint): void {
  setTop(state, topOfStack(state) - 1);
  writeStack(state, 0, value);
}

/** ES and B tell whether an exception flag is set whose mask is clear. */
export function updateErrorSummary(state: CpuState): void {
  const pending = (state.fsw & ~state.fcw & EXCEPTIONS) !== 0;
  state.fsw = pending ? state.fsw | FSW.ES | FSW.B : state.fsw & ~(FSW.ES | FSW.B);
}

export function setControlWord(state: CpuState, value: number): void {
  state.fcw = (value & FCW_DEFINED) | FCW_FIXED;
  updateErrorSummary(state);
}

export function setStatusWord(state: CpuState, value: number): void {
  state.fsw = value & 0xffff;
  updateErrorSummary(state);
}

/** What FNINIT leaves: the registers' contents stay, but all are empty. */
export function initialize(state: CpuState): void {
  state.fcw = FCW_INITIAL;
  state.fsw = 0;
  state.ftw = 0;
  state.fop = 0;
  state.fip = 0;
  state.fdp = 0;
  state.fcs = 0;
  state.fds = 0;
}
