/**
 * Shift and rotate instructions (SDM volume 1, "Shift and Rotate Instructions"). Counts are taken modulo 32 (64 with
 * 64-bit operands); a count of 0 leaves the flags alone. OF is defined for a count of 1: the formula for it is
 * used for all counts.
 */
import { constant, type Expr, ite } from '../../expr/expr.ts';
import type { Operand, OperandWidth } from '../operand.ts';
import { resultFlags, type Semantics, undefined_ } from '../semantics-builder.ts';

const countMask = (width: OperandWidth): number => (width === 64 ? 63 : 31);

/** The masked count, at the width of the operand to be shifted. */
function maskedCount<W extends OperandWidth>(m: Semantics, count: Operand<8>, width: W): Expr<W> {
  return m
    .read(count)
    .and(constant(8, countMask(width)))
    .zeroExtend(width);
}

/** One less than a count; what it is for a count of 0 does not matter, as long as it is a count. */
const oneLess = <W extends OperandWidth>(count: Expr<W>): Expr<W> =>
  count.sub(constant(count.width, 1)).and(constant(count.width, countMask(count.width)));

const isNotZero = (count: Expr): Expr<1> => count.isZero().not();

/** Bit below the highest. */
const belowMsb = (value: Expr): Expr<1> => value.bit(value.width - 2);

function setShiftFlags(m: Semantics, count: Expr, result: Expr, CF: Expr<1>, OF: Expr<1>): void {
  m.setFlags({ CF, OF, AF: undefined_(), ...resultFlags(result) }, isNotZero(count));
}

/** SHL, SAL — Shift Left. DEST := DEST * 2^COUNT; CF := last bit shifted out. */
export function SHL<W extends OperandWidth>(m: Semantics, dest: Operand<W>, by: Operand<8>): void {
  const a = m.readForWrite(dest);
  const count = maskedCount(m, by, a.width);
  const result = a.shl(count);
  const carry = a.shl(oneLess(count)).msb();
  m.write(dest, result);
  setShiftFlags(m, count, result, carry, carry.xor(result.msb()));
}

/** SHR — Shift Right. DEST := DEST / 2^COUNT, unsigned; CF := last bit shifted out. */
export function SHR<W extends OperandWidth>(m: Semantics, dest: Operand<W>, by: Operand<8>): void {
  const a = m.readForWrite(dest);
  const count = maskedCount(m, by, a.width);
  const result = a.shr(count);
  m.write(dest, result);
  setShiftFlags(m, count, result, a.shr(oneLess(count)).bit(0), belowMsb(result));
}

/** SAR — Shift Arithmetic Right. DEST := DEST / 2^COUNT, signed, towards minus infinity; CF := last bit shifted out. */
export function SAR<W extends OperandWidth>(m: Semantics, dest: Operand<W>, by: Operand<8>): void {
  const a = m.readForWrite(dest);
  const count = maskedCount(m, by, a.width);
  const result = a.sar(count);
  m.write(dest, result);
  setShiftFlags(m, count, result, a.sar(oneLess(count)).bit(0), constant(1, 0));
}

/** ROL — Rotate Left. CF := LSB(DEST); OF := MSB(DEST) XOR CF. */
export function ROL<W extends OperandWidth>(m: Semantics, dest: Operand<W>, by: Operand<8>): void {
  const a = m.readForWrite(dest);
  const count = maskedCount(m, by, a.width);
  const result = a.rotl(count);
  m.write(dest, result);
  m.setFlags({ CF: result.bit(0), OF: result.msb().xor(result.bit(0)) }, isNotZero(count));
}

/** ROR — Rotate Right. CF := MSB(DEST); OF := MSB(DEST) XOR MSB-1(DEST). */
export function ROR<W extends OperandWidth>(m: Semantics, dest: Operand<W>, by: Operand<8>): void {
  const a = m.readForWrite(dest);
  const count = maskedCount(m, by, a.width);
  const result = a.rotr(count);
  m.write(dest, result);
  m.setFlags({ CF: result.msb(), OF: result.msb().xor(belowMsb(result)) }, isNotZero(count));
}

/** RCL — Rotate Left Through Carry. Rotates CF:DEST; OF := MSB(DEST) XOR CF. */
export function RCL<W extends OperandWidth>(m: Semantics, dest: Operand<W>, by: Operand<8>): void {
  const a = m.readForWrite(dest);
  const count = rotationCount(m, by, a.width);
  const { result, carry } =
    a.width === 64 ? rotateLeft65(m.flag('CF'), a, count) : rotateLeftWide(m.flag('CF'), a, count);
  m.write(dest, result);
  m.setFlags({ CF: carry, OF: result.msb().xor(carry) }, isNotZero(count));
}

/** RCR — Rotate Right Through Carry. Rotates DEST:CF; OF := MSB(DEST) XOR MSB-1(DEST). */
export function RCR<W extends OperandWidth>(m: Semantics, dest: Operand<W>, by: Operand<8>): void {
  const a = m.readForWrite(dest);
  const count = rotationCount(m, by, a.width);
  const { result, carry } =
    a.width === 64 ? rotateRight65(m.flag('CF'), a, count) : rotateRightWide(m.flag('CF'), a, count);
  m.write(dest, result);
  m.setFlags({ CF: carry, OF: result.msb().xor(belowMsb(result)) }, isNotZero(count));
}

/** Masked count; modulo 9 and 17 for bytes and words. */
function rotationCount<W extends OperandWidth>(m: Semantics, by: Operand<8>, width: W): Expr<W> {
  const count = maskedCount(m, by, width);
  return width < 32 ? count.remu(constant(width, width + 1)) : count;
}

interface Rotated<W extends OperandWidth> {
  readonly result: Expr<W>;
  readonly carry: Expr<1>;
}

const number64 = (value: number): Expr<64> => constant(64, value);

/** CF:DEST in 64 bits, for widths up to 32. */
const withCarry = (carry: Expr<1>, a: Expr): Expr<64> =>
  carry.zeroExtend(64).shl(number64(a.width)).or(a.zeroExtend(64));

function rotateLeftWide<W extends OperandWidth>(carry: Expr<1>, a: Expr<W>, count: Expr<W>): Rotated<W> {
  const all = withCarry(carry, a);
  const by = count.zeroExtend(64);
  const rotated = all.shl(by).or(all.shr(number64(a.width + 1).sub(by)));
  return { result: rotated.truncate(a.width), carry: rotated.bit(a.width) };
}

function rotateRightWide<W extends OperandWidth>(carry: Expr<1>, a: Expr<W>, count: Expr<W>): Rotated<W> {
  const all = withCarry(carry, a);
  const by = count.zeroExtend(64);
  const rotated = all.shr(by).or(all.shl(number64(a.width + 1).sub(by)));
  return { result: rotated.truncate(a.width), carry: rotated.bit(a.width) };
}

function rotateLeft65<W extends OperandWidth>(carry: Expr<1>, a: Expr<W>, count: Expr<W>): Rotated<W> {
  const one = constant(a.width, 1);
  const fromBelow = a
    .shr(one)
    .shr(complement(count))
    .or(carry.zeroExtend(a.width).shl(oneLess(count)));
  return { result: ite(count.isZero(), a, a.shl(count).or(fromBelow)), carry: a.shl(oneLess(count)).msb() };
}

function rotateRight65<W extends OperandWidth>(carry: Expr<1>, a: Expr<W>, count: Expr<W>): Rotated<W> {
  const one = constant(a.width, 1);
  const fromAbove = a
    .shl(one)
    .shl(complement(count))
    .or(carry.zeroExtend(a.width).shl(complement(count)));
  return { result: ite(count.isZero(), a, a.shr(count).or(fromAbove)), carry: a.shr(oneLess(count)).bit(0) };
}

/** 64 - COUNT, for counts of 1 to 63. */
const complement = <W extends OperandWidth>(count: Expr<W>): Expr<W> => count.neg().and(constant(count.width, 63));

/** SHLD — Double Precision Shift Left. DEST := upper half of (DEST:SRC shifted left by COUNT). */
export function SHLD<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>, by: Operand<8>): void {
  const [a, b] = [m.readForWrite(dest), m.read(src)];
  const count = maskedCount(m, by, a.width);
  const result = a.width === 16 ? shiftLeft48(a, b, count) : a.shl(count).or(shiftedIn(b, 'shr', count));
  const carry = a.width === 16 ? shiftLeft48(a, b, oneLess(count)).msb() : a.shl(oneLess(count)).msb();
  m.write(dest, result);
  setShiftFlags(m, count, result, carry, result.msb().xor(a.msb()));
}

/** SHRD — Double Precision Shift Right. DEST := lower half of (SRC:DEST shifted right by COUNT). */
export function SHRD<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>, by: Operand<8>): void {
  const [a, b] = [m.readForWrite(dest), m.read(src)];
  const count = maskedCount(m, by, a.width);
  const result = a.width === 16 ? shiftRight48(a, b, count) : a.shr(count).or(shiftedIn(b, 'shl', count));
  const carry = a.width === 16 ? shiftRight48(a, b, oneLess(count)).bit(0) : a.shr(oneLess(count)).bit(0);
  m.write(dest, result);
  setShiftFlags(m, count, result, carry, result.msb().xor(a.msb()));
}

/** The bits that move in from the other operand: it shifted the other way by (width - count), nothing for a count of 0. */
function shiftedIn<W extends OperandWidth>(from: Expr<W>, direction: 'shl' | 'shr', count: Expr<W>): Expr<W> {
  const rest = count.xor(constant(count.width, count.width - 1));
  return from[direction](constant(count.width, 1))[direction](rest);
}

/** Words by more than 16: undefined; as if DEST followed SRC. */
function doubleWord(a: Expr, b: Expr): Expr<64> {
  const again = a.zeroExtend(64);
  return again
    .shl(number64(32))
    .or(b.zeroExtend(64).shl(number64(16)))
    .or(again);
}
const shiftLeft48 = <W extends OperandWidth>(a: Expr<W>, b: Expr<W>, count: Expr<W>): Expr<W> =>
  doubleWord(a, b).shl(count.zeroExtend(64)).shr(number64(32)).truncate(a.width);
const shiftRight48 = <W extends OperandWidth>(a: Expr<W>, b: Expr<W>, count: Expr<W>): Expr<W> =>
  doubleWord(a, b).shr(count.zeroExtend(64)).truncate(a.width);
