/** x87 loads, stores, exchanges and constants. */

import { convert, toInteger } from '../../float/convert.ts';
import { FloatException, type FloatResult, RoundingMode, roundingMode } from '../../float/environment.ts';
import { extended80 } from '../../float/format.ts';
import { encodeFinite, roundAndPack } from '../../float/round.ts';
import { unpack } from '../../float/unpack.ts';
import type { LinearAddress } from '../../isa/linear-address.ts';
import { readFlags } from '../flags.ts';
import type { DecodedInstruction, SystemInstruction } from '../instruction.ts';
import { memoryOperand } from '../operands.ts';
import type { Processor } from '../processor.ts';
import { RFLAGS } from '../register-bits.ts';
import type { CpuState } from '../state.ts';
import { fullPrecision } from './arithmetic.ts';
import {
  destination,
  fromRaw,
  readInteger,
  readRaw,
  readTenBytes,
  realFormat,
  writeDestination,
} from './memory-operands.ts';
import { fromPackedDecimal, PACKED_INDEFINITE, toPackedDecimal } from './packed-decimal.ts';
import * as quick from './quick-arithmetic.ts';
import { narrowedBits, narrowToDouble, narrowToSingle, widenDouble, widenSingle } from './quick-conversions.ts';
import {
  FSW,
  INDEFINITE,
  isEmpty,
  physical,
  pop,
  push,
  readStack,
  setTop,
  topOfStack,
  writeStack,
} from './register-stack.ts';
import {
  hasEmpty,
  hasMemoryOperand,
  isStored,
  raise,
  setPointers,
  stackOverflow,
  stackRegister,
  stackUnderflow,
  waiting,
} from './x87-instruction.ts';

/**
 * Pushes a value, of which `exceptions` were found. Silicon loads a denormal even if that exception is unmasked: its value
 * is none that a handler had to mend.
 */
function load(cpu: Processor, value: bigint, exceptions = 0): void {
  if (!isEmpty(cpu.state, 7)) {
    if (stackOverflow(cpu)) push(cpu.state, INDEFINITE);
  } else if (raise(cpu, exceptions, false) || exceptions === FloatException.Denormal) push(cpu.state, value);
}

const parts = quick.partsOf();

/** Pushes an ordinary real of 4 or 8 bytes; false, with nothing changed, if it is none or there is no place for it. */
function pushQuickly({ state }: Processor, sizeBytes: number, bits: bigint): boolean {
  if (sizeBytes === 10 || !isEmpty(state, 7)) return false;
  if (!(sizeBytes === 8 ? widenDouble(bits, parts) : widenSingle(Number(bits), parts))) return false;
  pushParts(state);
  return true;
}

function pushParts(state: CpuState): void {
  const top = (topOfStack(state) - 1) & 7;
  setTop(state, top);
  state.fsw &= ~FSW.C1;
  state.ftw |= 1 << top;
  quick.storeRegister(state, top, parts);
}

/** FLD of 4 and 8 bytes converts, FLD of 10 bytes does not: there even a signalling NaN passes. */
function loadReal(cpu: Processor, insn: DecodedInstruction): void {
  const operand = memoryOperand(insn, 0);
  const raw = readRaw(cpu, operand);
  setPointers(cpu, insn, operand);
  if (pushQuickly(cpu, operand.sizeBytes, raw)) return;
  const { bits, isDenormal } = fromRaw(operand, raw);
  if (operand.sizeBytes === 10) return load(cpu, bits);
  const isSignalling = unpack(extended80, bits).class === 'signalling NaN';
  if (isSignalling) load(cpu, bits | extended80.quietBit, FloatException.Invalid);
  else load(cpu, bits, isDenormal ? FloatException.Denormal : 0);
}

function loadRegister(cpu: Processor, insn: DecodedInstruction): void {
  const { state } = cpu;
  setPointers(cpu, insn);
  const i = stackRegister(insn, 0);
  if (!isEmpty(state, i) && isEmpty(state, 7)) {
    quick.loadRegister(state, physical(state, i), parts);
    pushParts(state);
  } else if (!isEmpty(state, i)) load(cpu, readStack(state, i));
  // Where there is no place for it either, this is what is told.
  else if (stackUnderflow(cpu)) push(state, INDEFINITE);
}

export const FLD = waiting((cpu, insn) => {
  if (hasMemoryOperand(insn)) loadReal(cpu, insn);
  else loadRegister(cpu, insn);
});

export const FILD = waiting((cpu, insn) => {
  const operand = memoryOperand(insn, 0);
  const { bits } = readInteger(cpu, operand);
  setPointers(cpu, insn, operand);
  load(cpu, bits);
});

export const FBLD = waiting((cpu, insn) => {
  const operand = memoryOperand(insn, 0);
  const { magnitude, negative } = fromPackedDecimal(readTenBytes(cpu, operand));
  setPointers(cpu, insn, operand);
  load(cpu, encodeFinite(extended80, { negative, exponent: 0, significand: magnitude }));
});

/** How a register becomes what a store writes; `indefinite` is stored for an empty one. */
interface Store {
  convert(cpu: Processor, sizeBytes: number, value: bigint): FloatResult;
  indefinite(sizeBytes: number): bigint;
  /** Stores what is ordinary; false, with nothing changed, for what is not. */
  quickly?(cpu: Processor, sizeBytes: number, linear: LinearAddress): boolean;
}

/** A store to memory. The destination is checked before anything else happens. */
const storing = ({ convert: toMemory, indefinite, quickly }: Store, pops: boolean): SystemInstruction =>
  waiting((cpu, insn) => {
    const { state } = cpu;
    const operand = memoryOperand(insn, 0);
    const { sizeBytes } = operand;
    const linear = destination(cpu, operand);
    setPointers(cpu, insn, operand);
    if (!isEmpty(state, 0) && quickly?.(cpu, sizeBytes, linear)) {
      if (pops) pop(state);
      return;
    }
    const result: FloatResult = isEmpty(state, 0)
      ? { bits: indefinite(sizeBytes), exceptions: 0, roundedUp: false }
      : toMemory(cpu, sizeBytes, readStack(state, 0));
    const delivered = isEmpty(state, 0) ? stackUnderflow(cpu) : raise(cpu, result.exceptions, result.roundedUp);
    if (!delivered || !isStored(state, result.exceptions)) return;
    writeDestination(cpu, linear, sizeBytes, result.bits);
    if (pops) pop(state);
  });

const storeReal: Store = {
  convert({ state }, sizeBytes, value) {
    if (sizeBytes === 10) return { bits: value, exceptions: 0, roundedUp: false };
    const result = convert(extended80, realFormat(sizeBytes), fullPrecision(state.fcw), value);
    // Stores report no denormal operand (SDM volume 2, FST).
    return { ...result, exceptions: result.exceptions & ~FloatException.Denormal };
  },
  indefinite: (sizeBytes) => (sizeBytes === 10 ? INDEFINITE : realFormat(sizeBytes).defaultNaN),
  quickly(cpu, sizeBytes, linear) {
    const { state } = cpu;
    if (sizeBytes === 10) return false;
    quick.loadRegister(state, physical(state, 0), parts);
    const narrow = sizeBytes === 8 ? narrowToDouble : narrowToSingle;
    const outcome = narrow(parts, roundingMode(state.fcw >> 10));
    const isInexact = outcome >= quick.Outcome.Inexact;
    if (outcome === quick.Outcome.Other || (isInexact && (state.fcw & FloatException.Inexact) === 0)) return false;
    writeDestination(cpu, linear, sizeBytes, narrowedBits());
    const c1 = outcome === quick.Outcome.RoundedUp ? FSW.C1 : 0;
    state.fsw = (state.fsw & ~FSW.C1) | c1 | (isInexact ? FSW.PE : 0);
    return true;
  },
};

const storeInteger = (isCut: boolean): Store => ({
  convert({ state }, sizeBytes, value) {
    const environment = fullPrecision(state.fcw);
    const rounding = isCut ? RoundingMode.Zero : environment.rounding;
    return toInteger(extended80, { ...environment, rounding }, value, { width: 8 * sizeBytes, signed: true });
  },
  indefinite: (sizeBytes) => 1n << BigInt(8 * sizeBytes - 1),
});

const storeDecimal: Store = {
  convert: ({ state }, _sizeBytes, value) => toPackedDecimal(fullPrecision(state.fcw), value),
  indefinite: () => PACKED_INDEFINITE,
};

const storeRegister = (pops: boolean): SystemInstruction =>
  waiting((cpu, insn) => {
    const { state } = cpu;
    setPointers(cpu, insn);
    const empty = isEmpty(state, 0);
    if (empty && !stackUnderflow(cpu)) return;
    const to = physical(state, stackRegister(insn, 0));
    if (empty) {
      state.setX87Register(to, INDEFINITE);
    } else {
      state.fsw &= ~FSW.C1;
      quick.loadRegister(state, physical(state, 0), parts);
      quick.storeRegister(state, to, parts);
    }
    state.ftw |= 1 << to;
    if (pops) pop(state);
  });

function store(pops: boolean): SystemInstruction {
  const [memory, register] = [storing(storeReal, pops), storeRegister(pops)];
  return (cpu, insn) => (hasMemoryOperand(insn) ? memory(cpu, insn) : register(cpu, insn));
}

export const FST = store(false);
export const FSTP = store(true);
export const FIST = storing(storeInteger(false), false);
export const FISTP = storing(storeInteger(false), true);
export const FISTTP = storing(storeInteger(true), true);
export const FBSTP = storing(storeDecimal, true);

/** FSTPNCE (D9 D8): FSTP of a register that knows no stack underflow; of an empty register it is the pop alone. */
export const FSTPNCE = waiting((cpu, insn) => {
  const { state } = cpu;
  setPointers(cpu, insn);
  raise(cpu, 0, false);
  if (!isEmpty(state, 0)) writeStack(state, stackRegister(insn, 0), readStack(state, 0));
  pop(state);
});

/** FXCH: an empty register is filled with an indefinite value first. */
export const FXCH = waiting((cpu, insn) => {
  const { state } = cpu;
  setPointers(cpu, insn);
  const i = stackRegister(insn, 1);
  if (!hasEmpty(state, 0, i)) raise(cpu, 0, false);
  else if (!stackUnderflow(cpu)) return;
  const filled = (register: number) => (isEmpty(state, register) ? INDEFINITE : readStack(state, register));
  const [first, second] = [filled(0), filled(i)];
  writeStack(state, 0, second);
  writeStack(state, i, first);
});

/** FCMOVcc: an empty register is an invalid operation whether or not the condition holds. */
const moveIf = (flags: number, wanted: boolean): SystemInstruction =>
  waiting((cpu, insn) => {
    const { state } = cpu;
    setPointers(cpu, insn);
    const i = stackRegister(insn, 1);
    if (hasEmpty(state, 0, i)) {
      if (stackUnderflow(cpu)) writeStack(state, 0, INDEFINITE);
      return;
    }
    if (((readFlags(state) & flags) !== 0) === wanted) writeStack(state, 0, readStack(state, i));
  });

export const FCMOVB = moveIf(RFLAGS.CF, true);
export const FCMOVE = moveIf(RFLAGS.ZF, true);
export const FCMOVBE = moveIf(RFLAGS.CF | RFLAGS.ZF, true);
export const FCMOVU = moveIf(RFLAGS.PF, true);
export const FCMOVNB = moveIf(RFLAGS.CF, false);
export const FCMOVNE = moveIf(RFLAGS.ZF, false);
export const FCMOVNBE = moveIf(RFLAGS.CF | RFLAGS.ZF, false);
export const FCMOVNU = moveIf(RFLAGS.PF, false);

/** A constant by its significand, of 128 bits, times 2 to an exponent; rounded as RC says, without telling. */
const constant = (significand: bigint, exponent: number): SystemInstruction =>
  waiting((cpu, insn) => {
    setPointers(cpu, insn);
    const environment = fullPrecision(cpu.state.fcw);
    load(cpu, roundAndPack(extended80, environment, { negative: false, exponent, significand }).bits);
  });

export const FLD1 = constant(1n, 0);
export const FLDL2T = constant(0xd49a_784b_cd1b_8afe_492b_f6ff_4daf_db4dn, 2 - 128);
export const FLDL2E = constant(0xb8aa_3b29_5c17_f0bb_be87_fed0_691d_3e89n, 1 - 128);
export const FLDPI = constant(0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1n, 2 - 128);
export const FLDLG2 = constant(0x9a20_9a84_fbcf_f798_8f89_59ac_0b7c_9178n, -1 - 128);
export const FLDLN2 = constant(0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6afn, 0 - 128);
export const FLDZ = waiting((cpu, insn) => {
  setPointers(cpu, insn);
  load(cpu, extended80.zero(false));
});
