/** Data transfer instructions (SDM volume 1, "Data Transfer Instructions"), but for the stack's (stack.ts). */
import { constant, type Expr, ite } from '../../expr/expr.ts';
import { type Operand, type OperandWidth, withWidth } from '../operand.ts';
import {
  additionFlags,
  GENERAL_PROTECTION,
  RAX,
  RBX,
  RCX,
  RDX,
  type Semantics,
  segmentOfOperand,
  subtractionFlags,
} from '../semantics-builder.ts';
import type { Condition } from './conditions.ts';

/** MOV — Move. DEST := SRC. */
export function MOV<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>): void {
  m.write(dest, m.read(src));
}

/** MOVZX — Move With Zero-Extend. DEST := ZeroExtend(SRC). */
export function MOVZX(m: Semantics, dest: Operand, src: Operand): void {
  m.write(dest, m.read(src).zeroExtend(dest.width));
}

/** MOVSX, MOVSXD — Move With Sign-Extension. DEST := SignExtend(SRC). */
export function MOVSX(m: Semantics, dest: Operand, src: Operand): void {
  m.write(dest, m.read(src).signExtend(dest.width));
}

/** CMOVcc — Conditional Move. IF condition THEN DEST := SRC. The source is read, and a 32-bit DEST extended, always. */
export const CMOVcc =
  (condition: Condition) =>
  <W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>): void => {
    m.write(dest, ite(condition(m), m.read(src), m.read(dest)));
  };

/** XCHG — Exchange Register/Memory With Register. DEST, SRC := SRC, DEST. */
export function XCHG<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>): void {
  const [a, b] = [m.readForWrite(dest), m.read(src)];
  m.write(dest, b);
  m.write(src, a);
}

/** BSWAP — Byte Swap. DEST := bytes of DEST reversed. With 16 bits undefined: processors give 0. */
export function BSWAP<W extends OperandWidth>(m: Semantics, dest: Operand<W>): void {
  m.write(dest, dest.width === 16 ? constant(dest.width, 0) : m.read(dest).bswap());
}

/** XADD — Exchange and Add. SRC := DEST; DEST := DEST + SRC. */
export function XADD<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>): void {
  const [a, b] = [m.readForWrite(dest), m.read(src)];
  const sum = a.add(b);
  m.write(dest, sum);
  m.write(src, a);
  m.setArithmeticFlags(additionFlags(a, b, sum));
}

/** CMPXCHG — Compare and Exchange. IF accumulator = DEST THEN DEST := SRC ELSE accumulator := DEST. */
export function CMPXCHG<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>): void {
  const accumulator = m.gpr(RAX, dest.width);
  const old = m.readForWrite(dest);
  const equal = accumulator.eq(old);
  m.writeIf(equal, dest, m.read(src), old);
  m.setGprIf(equal.not(), RAX, old);
  m.setArithmeticFlags(subtractionFlags(accumulator, old, accumulator.sub(old)));
}

/** CMPXCHG8B — Compare and Exchange Bytes. IF EDX:EAX = DEST THEN DEST := ECX:EBX ELSE EDX:EAX := DEST. */
export function CMPXCHG8B(m: Semantics, dest: Operand): void {
  compareAndExchangePair(m, withWidth(dest, 32));
}

/** CMPXCHG16B — Compare and Exchange Bytes. IF RDX:RAX = DEST THEN DEST := RCX:RBX ELSE RDX:RAX := DEST. */
export function CMPXCHG16B(m: Semantics, dest: Operand): void {
  const misaligned = m.effectiveAddress(dest).and(constant(64, 15));
  m.raiseIf(misaligned.isZero().not(), GENERAL_PROTECTION, 0);
  compareAndExchangePair(m, withWidth(dest, 64));
}

function compareAndExchangePair<W extends OperandWidth>(m: Semantics, { position, width }: Operand<W>): void {
  const lowAt = { kind: 'operand', position } as const;
  const highAt = { kind: 'operand', position, plus: constant(64, width / 8) } as const;
  const [low, high] = [m.loadAt(lowAt, width, true), m.loadAt(highAt, width, true)];
  const equal = m.gpr(RAX, width).eq(low).and(m.gpr(RDX, width).eq(high));
  m.storeAt(lowAt, ite(equal, m.gpr(RBX, width), low));
  m.storeAt(highAt, ite(equal, m.gpr(RCX, width), high));
  m.setGprIf(equal.not(), RAX, low);
  m.setGprIf(equal.not(), RDX, high);
  m.setFlags({ ZF: equal });
}

/** CBW, CWDE, CDQE — Convert. Accumulator := SignExtend(its lower half). */
export const CBW =
  <From extends OperandWidth, To extends OperandWidth>(from: From, to: To) =>
  (m: Semantics): void => {
    m.setGpr(RAX, m.gpr(RAX, from).signExtend(to));
  };

/** CWD, CDQ, CQO — Convert. RDX := the sign of RAX in every bit. */
export const CWD =
  <W extends OperandWidth>(width: W) =>
  (m: Semantics): void => {
    const value: Expr<W> = m.gpr(RAX, width);
    m.setGpr(RDX, ite(value.msb(), constant(width, -1), constant(width, 0)));
  };

/** MOVBE — Move Data After Swapping Bytes. DEST := bytes of SRC reversed. */
export function MOVBE<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>): void {
  m.write(dest, m.read(src).bswap());
}

/** XLAT — Table Look-up Translation. AL := (RBX + ZeroExtend(AL)) in DS. */
export function XLAT(m: Semantics): void {
  const { addressSize } = m.sizes;
  const offset = m.gpr(RBX, addressSize).add(m.gpr(RAX, 8).zeroExtend(addressSize));
  m.setGpr(RAX, m.load(segmentOfOperand, offset.zeroExtend(64), 8));
}
