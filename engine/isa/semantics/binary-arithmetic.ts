/** Binary arithmetic instructions (SDM volume 1, "Binary Arithmetic Instructions"), but for multiply-divide.ts. */
import { constant } from '../../expr/expr.ts';
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

/** SUB — Subtract. DEST := DEST - SRC. */
export function SUB<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>): void {
  const a = m.readForWrite(dest);
  const b = m.read(src);
  const difference = a.sub(b);
  m.write(dest, difference);
  m.setArithmeticFlags(subtractionFlags(a, b, difference));
}

/** SBB — Integer Subtraction With Borrow. DEST := DEST - (SRC + CF). */
export function SBB<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>): void {
  const a = m.readForWrite(dest);
  const b = m.read(src);
  const difference = a.sub(b).sub(m.flag('CF').zeroExtend(a.width));
  m.write(dest, difference);
  m.setArithmeticFlags(subtractionFlags(a, b, difference));
}

/** CMP — Compare Two Operands. As SUB, without the result. */
export function CMP<W extends OperandWidth>(m: Semantics, left: Operand<W>, right: Operand<W>): void {
  const a = m.read(left);
  const b = m.read(right);
  m.setArithmeticFlags(subtractionFlags(a, b, a.sub(b)));
}

/** NEG — Two's Complement Negation. DEST := 0 - DEST. */
export function NEG<W extends OperandWidth>(m: Semantics, dest: Operand<W>): void {
  const a = m.readForWrite(dest);
  m.write(dest, a.neg());
  m.setArithmeticFlags(subtractionFlags(constant(a.width, 0), a, a.neg()));
}

/** INC — Increment by 1. DEST := DEST + 1. CF stays. */
export function INC<W extends OperandWidth>(m: Semantics, dest: Operand<W>): void {
  const a = m.readForWrite(dest);
  const one = constant(a.width, 1);
  const sum = a.add(one);
  m.write(dest, sum);
  m.setArithmeticFlags(additionFlags(a, one, sum), ['CF']);
}

/** DEC — Decrement by 1. DEST := DEST - 1. CF stays. */
export function DEC<W extends OperandWidth>(m: Semantics, dest: Operand<W>): void {
  const a = m.readForWrite(dest);
  const one = constant(a.width, 1);
  const difference = a.sub(one);
  m.write(dest, difference);
  m.setArithmeticFlags(subtractionFlags(a, one, difference), ['CF']);
}

/** ADCX — Unsigned Integer Addition of Two Operands With Carry Flag. CF:DEST := DEST + SRC + CF. */
export const ADCX = addWithFlag('CF');
/** ADOX — Unsigned Integer Addition of Two Operands With Overflow Flag. OF:DEST := DEST + SRC + OF. */
export const ADOX = addWithFlag('OF');

function addWithFlag(flag: 'CF' | 'OF') {
  return <W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>): void => {
    const [a, b] = [m.read(dest), m.read(src)];
    const sum = a.add(b).add(m.flag(flag).zeroExtend(a.width));
    m.write(dest, sum);
    m.setFlags({ [flag]: additionFlags(a, b, sum).carries.msb() });
  };
}
