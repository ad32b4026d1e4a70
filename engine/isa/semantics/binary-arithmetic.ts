/** Binary arithmetic instructions (SDM volume 1, "Binary Arithmetic Instructions"). */
import type { Operand, OperandWidth } from '../operand.ts';
import { additionFlags, type Semantics, subtractionFlags } from '../semantics-builder.ts';

/** ADD — Add. DEST := DEST + SRC. */
export function ADD<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>): void {
  const a = m.readForWrite(dest);
  const b = m.read(src);
  const sum = a.add(b);
  m.write(dest, sum);
  m.setArithmeticFlags(additionFlags(a, b, sum));
}

/** ADC — Add With Carry. DEST := DEST + SRC + CF. */
export function ADC<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>): void {
  const a = m.readForWrite(dest);
  const b = m.read(src);
  const sum = a.add(b).add(m.flag('CF').zeroExtend(a.width));
  m.write(dest, sum);
  m.setArithmeticFlags(additionFlags(a, b, sum));
}

/** CMP — Compare Two Operands. As SUB, without the result. */
export function CMP<W extends OperandWidth>(m: Semantics, left: Operand<W>, right: Operand<W>): void {
  const a = m.read(left);
  const b = m.read(right);
  m.setArithmeticFlags(subtractionFlags(a, b, a.sub(b)));
}
