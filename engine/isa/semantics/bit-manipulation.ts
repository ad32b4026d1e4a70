/** BMI1 and BMI2 (SDM volume 1, "Bit Manipulation Instructions"). All take registers and memory of 32 or 64 bits. */
import { constant, type Expr, ite } from '../../expr/expr.ts';
import type { Operand, OperandWidth } from '../operand.ts';
import { RDX, resultFlags, type Semantics, undefined_ } from '../semantics-builder.ts';

const clear = constant(1, 0);

/** Writes the result; SF and ZF follow it, OF is cleared, AF and PF are undefined. */
function writeWithCarry<W extends OperandWidth>(m: Semantics, dest: Operand<W>, result: Expr<W>, CF: Expr<1>): void {
  const { SF, ZF, PF } = resultFlags(result);
  m.write(dest, result);
  m.setFlags({ CF, OF: clear, SF, ZF, AF: undefined_(), PF: undefined_(PF) });
}

/** ANDN — Logical AND NOT. DEST := NOT SRC1 AND SRC2. */
export function ANDN<W extends OperandWidth>(m: Semantics, dest: Operand<W>, a: Operand<W>, b: Operand<W>): void {
  writeWithCarry(m, dest, m.read(a).not().and(m.read(b)), clear);
}

/** BLSI — Extract Lowest Set Isolated Bit. DEST := -SRC AND SRC. */
export function BLSI<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>): void {
  const a = m.read(src);
  writeWithCarry(m, dest, a.neg().and(a), a.isZero().not());
}

/** BLSMSK — Get Mask Up to Lowest Set Bit. DEST := (SRC - 1) XOR SRC. */
export function BLSMSK<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>): void {
  const a = m.read(src);
  writeWithCarry(m, dest, a.sub(constant(a.width, 1)).xor(a), a.isZero());
}

/** BLSR — Reset Lowest Set Bit. DEST := (SRC - 1) AND SRC. */
export function BLSR<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>): void {
  const a = m.read(src);
  writeWithCarry(m, dest, a.sub(constant(a.width, 1)).and(a), a.isZero());
}

/** BEXTR — Bit Field Extract. DEST := the bits of SRC from CONTROL[7:0] on, CONTROL[15:8] of them. */
export function BEXTR<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>, by: Operand<W>): void {
  const [a, control] = [m.read(src), m.read(by)];
  const start = control.truncate(8);
  const shifted = ite(start.ltu(constant(8, a.width)), a.shr(asCount(start, a.width)), constant(a.width, 0));
  const result = lowBits(shifted, control.shr(constant(control.width, 8)).truncate(8));
  const any = undefined_();
  m.write(dest, result);
  m.setFlags({ ZF: result.isZero(), CF: clear, OF: clear, AF: any, SF: any, PF: any });
}

/** BZHI — Zero High Bits Starting With Specified Bit Position. DEST := the lowest INDEX[7:0] bits of SRC. */
export function BZHI<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>, index: Operand<W>): void {
  const [a, count] = [m.read(src), m.read(index).truncate(8)];
  writeWithCarry(m, dest, lowBits(a, count), constant(8, a.width - 1).ltu(count));
}

const asCount = <W extends OperandWidth>(count: Expr<8>, width: W): Expr<W> =>
  count.and(constant(8, width - 1)).zeroExtend(width);

/** The lowest `count` bits of a value. */
function lowBits<W extends OperandWidth>(value: Expr<W>, count: Expr<8>): Expr<W> {
  const one = constant(value.width, 1);
  const mask = one.shl(asCount(count, value.width)).sub(one);
  return ite(count.ltu(constant(8, value.width)), value.and(mask), value);
}

/** MULX — Unsigned Multiply Without Affecting Flags. HIGH:LOW := RDX * SRC; HIGH stays if both are one register. */
export function MULX<W extends OperandWidth>(m: Semantics, high: Operand<W>, low: Operand<W>, src: Operand<W>): void {
  const [a, b] = [m.gpr(RDX, src.width), m.read(src)];
  m.write(high, a.mulHighUnsigned(b));
  m.write(low, a.mul(b));
}

/** PEXT — Parallel Bits Extract. DEST := the bits of SRC that MASK selects, side by side. */
export function PEXT<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>, mask: Operand<W>): void {
  const selected = m.read(src).and(m.read(mask));
  const one = constant(dest.width, 1);
  m.write(
    dest,
    joinMaskBits(m.read(mask), (bit, index) => selected.shr(bit).and(one).shl(index)),
  );
}

/** PDEP — Parallel Bits Deposit. DEST := the low bits of SRC at the places that MASK selects. */
export function PDEP<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>, mask: Operand<W>): void {
  const [a, b] = [m.read(src), m.read(mask)];
  const one = constant(dest.width, 1);
  m.write(
    dest,
    joinMaskBits(b, (bit, index) => a.shr(index).shl(bit).and(b).and(one.shl(bit))),
  );
}

/** All that `move` gives for the bits of the mask; `index` is the number of ones in the mask below the bit. */
function joinMaskBits<W extends OperandWidth>(mask: Expr<W>, move: (bit: Expr<W>, index: Expr<W>) => Expr<W>): Expr<W> {
  const { width } = mask;
  let [result, index] = [constant(width, 0), constant(width, 0)];
  for (let i = 0; i < width; i++) {
    const bit = constant(width, i);
    result = result.or(move(bit, index));
    index = index.add(mask.shr(bit).and(constant(width, 1)));
  }
  return result;
}

type ShiftName = 'shl' | 'shr' | 'sar';
/** SARX, SHLX, SHRX — Shift Without Affecting Flags. DEST := SRC shifted by COUNT, modulo the operand size. */
const shiftWithoutFlags =
  (name: ShiftName) =>
  <W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>, by: Operand<W>): void => {
    const count = m.read(by).and(constant(dest.width, dest.width - 1));
    m.write(dest, m.read(src)[name](count));
  };
export const SARX = shiftWithoutFlags('sar');
export const SHLX = shiftWithoutFlags('shl');
export const SHRX = shiftWithoutFlags('shr');

/** RORX — Rotate Right Logical Without Affecting Flags. DEST := SRC rotated right by imm8. */
export function RORX<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>, by: Operand<8>): void {
  m.write(dest, m.read(src).rotr(asCount(m.read(by), dest.width)));
}
