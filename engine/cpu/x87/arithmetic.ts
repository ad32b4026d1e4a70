/** x87 arithmetic: FADD, FSUB, FMUL, FDIV and their kin, FSQRT, FRNDINT, FSCALE, FXTRACT, FABS, FCHS. */
import { add, divide, multiply, squareRoot, subtract } from '../../float/arithmetic.ts';
import { roundToIntegral } from '../../float/convert.ts';
import {
  controlWordEnvironment,
  exactResult,
  type FloatEnvironment,
  FloatException,
  type FloatResult,
  roundingMode,
} from '../../float/environment.ts';
import { extended80, type FloatFormat } from '../../float/format.ts';
import { invalidOperation, propagateNaN } from '../../float/nan.ts';
import { encodeFinite, roundAndPack } from '../../float/round.ts';
import { bitLength, denormalException, isNotANumber, type Unpacked, unpack } from '../../float/unpack.ts';
import type { MemoryOperand, SystemInstruction } from '../instruction.ts';
import { memoryOperand } from '../operands.ts';
import type { Processor } from '../processor.ts';
import { fromSigned, readInteger, readReal, type Source } from './memory-operands.ts';
import * as quick from './quick-arithmetic.ts';
import { FSW, INDEFINITE, isEmpty, physical, pop, push, readStack, writeStack } from './register-stack.ts';
import {
  hasEmpty,
  hasMemoryOperand,
  raise,
  setPointers,
  stackOverflow,
  stackRegister,
  stackUnderflow,
  waiting,
} from './x87-instruction.ts';

type Binary = (format: FloatFormat, environment: FloatEnvironment, a: bigint, b: bigint) => FloatResult;

/** Which operand of a subtraction or division is the destination. */
type Order = 'destination-first' | 'source-first';

/** The environment of operations that precision control does not concern. */
export const fullPrecision = (fcw: number): FloatEnvironment => ({
  ...controlWordEnvironment(fcw),
  precision: undefined,
});

/** A denormal in memory counts where one in a register would: not beside a NaN, an invalid operation, a division by zero. */
function sourceExceptions({ isDenormal }: Source, { bits, exceptions }: FloatResult): number {
  const before = exceptions & (FloatException.Invalid | FloatException.DivideByZero);
  return isDenormal && before === 0 && !isNotANumber(unpack(extended80, bits)) ? FloatException.Denormal : 0;
}

const QUICK = new Map<Binary, typeof quick.add>([
  [add, quick.add],
  [subtract, quick.subtract],
  [multiply, quick.multiply],
]);
const [own, other, quickResult] = [quick.partsOf(), quick.partsOf(), quick.partsOf()];
const FULL_PRECISION = 0x300;

/** As `combine`, of two registers or a register and a source; false, with nothing changed, for what is not ordinary. */
function combineQuickly(
  { state }: Processor,
  compute: Binary,
  order: Order,
  destination: number,
  source: number | bigint,
): boolean {
  const quickly = QUICK.get(compute);
  const { fcw } = state;
  if (!quickly || (fcw & FULL_PRECISION) !== FULL_PRECISION) return false;
  const n = physical(state, destination);
  quick.loadRegister(state, n, own);
  if (typeof source === 'bigint') quick.loadBits(source, other);
  else quick.loadRegister(state, physical(state, source), other);
  const rounding = roundingMode(fcw >> 10);
  const outcome =
    order === 'destination-first'
      ? quickly(own, other, quickResult, rounding)
      : quickly(other, own, quickResult, rounding);
  const isInexact = outcome >= quick.Outcome.Inexact;
  if (outcome === quick.Outcome.Other || (isInexact && (fcw & FloatException.Inexact) === 0)) return false;
  quick.storeRegister(state, n, quickResult);
  const c1 = outcome === quick.Outcome.RoundedUp ? FSW.C1 : 0;
  state.fsw = (state.fsw & ~FSW.C1) | c1 | (isInexact ? FSW.PE : 0);
  return true;
}

/** ST(`destination`) := ST(`destination`) with a source, in the given order. */
function combine(cpu: Processor, compute: Binary, order: Order, destination: number, source: Source): boolean {
  const { state } = cpu;
  const environment = controlWordEnvironment(state.fcw);
  const value = readStack(state, destination);
  const result =
    order === 'destination-first'
      ? compute(extended80, environment, value, source.bits)
      : compute(extended80, environment, source.bits, value);
  if (!raise(cpu, result.exceptions | sourceExceptions(source, result), result.roundedUp)) return false;
  writeStack(state, destination, result.bits);
  return true;
}

/** The masked response to an empty register among those of an operation with a result in ST(`destination`). */
function underflow(cpu: Processor, destination: number): boolean {
  const masked = stackUnderflow(cpu);
  if (masked) writeStack(cpu.state, destination, INDEFINITE);
  return masked;
}

/** An operation with a source in memory and the destination ST(0). */
const withMemory = (compute: Binary, order: Order, read: (cpu: Processor, operand: MemoryOperand) => Source) =>
  waiting((cpu, insn) => {
    const operand = memoryOperand(insn, 0);
    const source = read(cpu, operand);
    setPointers(cpu, insn, operand);
    if (isEmpty(cpu.state, 0)) underflow(cpu, 0);
    else if (source.isDenormal || !combineQuickly(cpu, compute, order, 0, source.bits)) {
      combine(cpu, compute, order, 0, source);
    }
  });

/** An operation between registers, the first operand being the destination; `pops`: afterwards. */
const betweenRegisters = (compute: Binary, order: Order, pops: boolean) =>
  waiting((cpu, insn) => {
    const { state } = cpu;
    const [destination, source] = [stackRegister(insn, 0), stackRegister(insn, 1)];
    setPointers(cpu, insn);
    const done = hasEmpty(state, destination, source)
      ? underflow(cpu, destination)
      : combineQuickly(cpu, compute, order, destination, source) ||
        combine(cpu, compute, order, destination, { bits: readStack(state, source), isDenormal: false });
    if (done && pops) pop(state);
  });

/** A real operation, whose source is in memory or in a register. */
function real(compute: Binary, order: Order = 'destination-first'): SystemInstruction {
  const [memory, register] = [withMemory(compute, order, readReal), betweenRegisters(compute, order, false)];
  return (cpu, insn) => (hasMemoryOperand(insn) ? memory(cpu, insn) : register(cpu, insn));
}

export const FADD = real(add);
export const FADDP = betweenRegisters(add, 'destination-first', true);
export const FIADD = withMemory(add, 'destination-first', readInteger);
export const FMUL = real(multiply);
export const FMULP = betweenRegisters(multiply, 'destination-first', true);
export const FIMUL = withMemory(multiply, 'destination-first', readInteger);
export const FSUB = real(subtract);
export const FSUBP = betweenRegisters(subtract, 'destination-first', true);
export const FISUB = withMemory(subtract, 'destination-first', readInteger);
export const FSUBR = real(subtract, 'source-first');
export const FSUBRP = betweenRegisters(subtract, 'source-first', true);
export const FISUBR = withMemory(subtract, 'source-first', readInteger);
export const FDIV = real(divide);
export const FDIVP = betweenRegisters(divide, 'destination-first', true);
export const FIDIV = withMemory(divide, 'destination-first', readInteger);
export const FDIVR = real(divide, 'source-first');
export const FDIVRP = betweenRegisters(divide, 'source-first', true);
export const FIDIVR = withMemory(divide, 'source-first', readInteger);

/** ST(0) := f(ST(0)). */
export const unary = (compute: (cpu: Processor, value: bigint) => FloatResult): SystemInstruction =>
  waiting((cpu, insn) => {
    setPointers(cpu, insn);
    if (isEmpty(cpu.state, 0)) {
      underflow(cpu, 0);
      return;
    }
    const result = compute(cpu, readStack(cpu.state, 0));
    if (raise(cpu, result.exceptions, result.roundedUp)) writeStack(cpu.state, 0, result.bits);
  });

export const FSQRT = unary(({ state }, value) => squareRoot(extended80, controlWordEnvironment(state.fcw), value));
export const FRNDINT = unary(({ state }, value) => roundToIntegral(extended80, fullPrecision(state.fcw), value));
/** These look at no operand: even a signalling NaN passes. */
export const FABS = unary((_cpu, value) => exactResult(value & ~extended80.signBit));
export const FCHS = unary((_cpu, value) => exactResult(value ^ extended80.signBit));

/** ST(0) := f(ST(0), ST(1)). */
export const ofTwo = (compute: (cpu: Processor, a: bigint, b: bigint) => FloatResult): SystemInstruction =>
  waiting((cpu, insn) => {
    const { state } = cpu;
    setPointers(cpu, insn);
    if (hasEmpty(state, 0, 1)) {
      underflow(cpu, 0);
      return;
    }
    const result = compute(cpu, readStack(state, 0), readStack(state, 1));
    if (raise(cpu, result.exceptions, result.roundedUp)) writeStack(state, 0, result.bits);
  });

export const FSCALE = ofTwo(({ state }, a, b) => scale(fullPrecision(state.fcw), a, b));

/** a × 2 to the power of b cut to an integer. */
function scale(environment: FloatEnvironment, aBits: bigint, bBits: bigint): FloatResult {
  const [a, b] = [unpack(extended80, aBits), unpack(extended80, bBits)];
  if (isNotANumber(a) || isNotANumber(b)) return propagateNaN(extended80, environment, a, b);
  const denormal = denormalException(a, b);
  if (b.class === 'infinity') return scaleToTheEnd(a, b, denormal);
  if (a.class === 'infinity' || a.class === 'zero') return exactResult(a.bits, denormal);
  const result = roundAndPack(extended80, environment, { ...a, exponent: a.exponent + powerOf(b) });
  return { ...result, exceptions: result.exceptions | denormal };
}

/** Scaling by an infinite power of two. */
function scaleToTheEnd(a: Unpacked, { negative }: Unpacked, denormal: number): FloatResult {
  if (a.class === (negative ? 'infinity' : 'zero')) return invalidOperation(extended80);
  return exactResult(negative ? extended80.zero(a.negative) : extended80.infinity(a.negative), denormal);
}

/** More than this takes any number out of range, in two's exponents. */
const LARGEST_POWER = 0x1_0000;

function powerOf({ significand, exponent, negative }: Unpacked): number {
  if (exponent + bitLength(significand) > 20) return negative ? -LARGEST_POWER : LARGEST_POWER;
  const integer = Number(exponent >= 0 ? significand << BigInt(exponent) : significand >> BigInt(-exponent));
  return negative ? -integer : integer;
}

/** FXTRACT: ST(0) becomes the exponent, and the significand is pushed. */
export const FXTRACT = waiting((cpu, insn) => {
  const { state } = cpu;
  setPointers(cpu, insn);
  if (isEmpty(state, 0) || !isEmpty(state, 7)) {
    const masked = isEmpty(state, 0) ? stackUnderflow(cpu) : stackOverflow(cpu);
    if (masked) deliver(cpu, INDEFINITE, INDEFINITE);
    return;
  }
  const value = unpack(extended80, readStack(state, 0));
  const { exponent, significand, exceptions } = extract(fullPrecision(state.fcw), value);
  if (raise(cpu, exceptions, false)) deliver(cpu, exponent, significand);
});

/** Replaces ST(0) and pushes on it. */
export function deliver({ state }: Processor, below: bigint, above: bigint): void {
  writeStack(state, 0, below);
  push(state, above);
}

interface Extracted {
  readonly exponent: bigint;
  readonly significand: bigint;
  readonly exceptions: number;
}

function extract(environment: FloatEnvironment, value: Unpacked): Extracted {
  if (isNotANumber(value)) {
    const { bits, exceptions } = propagateNaN(extended80, environment, value);
    return { exponent: bits, significand: bits, exceptions };
  }
  if (value.class === 'infinity') {
    return { exponent: extended80.infinity(false), significand: value.bits, exceptions: 0 };
  }
  if (value.class === 'zero') {
    return { exponent: extended80.infinity(true), significand: value.bits, exceptions: FloatException.DivideByZero };
  }
  const length = bitLength(value.significand);
  const significand = encodeFinite(extended80, { ...value, exponent: 1 - length });
  const exponent = fromSigned(BigInt(value.exponent + length - 1));
  return { exponent, significand, exceptions: denormalException(value) };
}
