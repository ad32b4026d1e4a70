/** Binary arithmetic instructions that multiply and divide. */
import { constant, divideUnsigned128, type Expr, ite } from '../../expr/expr.ts';
import type { Operand, OperandWidth } from '../operand.ts';
import { DIVIDE_ERROR, RAX, RDX, resultFlags, type Semantics, undefined_ } from '../semantics-builder.ts';

/** MUL — Unsigned Multiply. RDX:RAX := RAX * SRC (AX := AL * SRC for bytes). */
export function MUL<W extends OperandWidth>(m: Semantics, src: Operand<W>): void {
  const [a, b] = [m.gpr(RAX, src.width), m.read(src)];
  const [low, high] = [a.mul(b), a.mulHighUnsigned(b)];
  setHighLow(m, high, low);
  setProductFlags(m, low, high.isZero().not());
}

/** IMUL — Signed Multiply. One operand: RDX:RAX := RAX * SRC; two: DEST := DEST * SRC; three: DEST := SRC1 * SRC2. */
export function IMUL<W extends OperandWidth>(m: Semantics, first: Operand<W>, ...others: Operand<W>[]): void {
  const [second, third] = others;
  const a = second ? m.read(third ? second : first) : m.gpr(RAX, first.width);
  const b = m.read(third ?? second ?? first);
  const [low, high] = [a.mul(b), a.mulHighSigned(b)];
  if (second) m.write(first, low);
  else setHighLow(m, high, low);
  setProductFlags(m, low, high.ne(ite(low.msb(), constant(low.width, -1), constant(low.width, 0))));
}

/** CF and OF: the product does not fit its lower half. The others are undefined; they are given the lower half's. */
function setProductFlags(m: Semantics, low: Expr, overflows: Expr<1>): void {
  const { SF, ZF, PF } = resultFlags(low);
  m.setFlags({
    CF: overflows,
    OF: overflows,
    SF: undefined_(SF),
    ZF: undefined_(ZF),
    PF: undefined_(PF),
    AF: undefined_(),
  });
}

/** DIV — Unsigned Divide. RAX := RDX:RAX / SRC; RDX := remainder (AL, AH := AX / SRC for bytes). */
export function DIV<W extends OperandWidth>(m: Semantics, src: Operand<W>): void {
  const divisor = m.read(src);
  const { high, low } = highLow(m, divisor.width);
  m.raiseIf(divisor.leu(high), DIVIDE_ERROR);
  const quotient = divideDouble(high, low, divisor);
  setHighLow(m, low.sub(quotient.mul(divisor)), quotient);
  leaveFlagsUndefined(m);
}

/** IDIV — Signed Divide. RAX := RDX:RAX / SRC, towards zero; RDX := remainder, of the dividend's sign. */
export function IDIV<W extends OperandWidth>(m: Semantics, src: Operand<W>): void {
  const divisor = m.read(src);
  const { high, low } = highLow(m, divisor.width);
  const dividendMagnitude = magnitude(high, low);
  const divisorMagnitude = ite(divisor.msb(), divisor.neg(), divisor);
  m.raiseIf(divisorMagnitude.leu(dividendMagnitude.high), DIVIDE_ERROR);
  const unsigned = divideDouble(dividendMagnitude.high, dividendMagnitude.low, divisorMagnitude);
  const negative = high.xor(divisor).msb();
  const smallest = constant(divisor.width, 1n << BigInt(divisor.width - 1));
  m.raiseIf(ite(negative, smallest.ltu(unsigned), smallest.leu(unsigned)), DIVIDE_ERROR);
  const quotient = ite(negative, unsigned.neg(), unsigned);
  setHighLow(m, low.sub(quotient.mul(divisor)), quotient);
  leaveFlagsUndefined(m);
}

function leaveFlagsUndefined(m: Semantics): void {
  const any = undefined_('unchanged');
  m.setFlags({ CF: any, OF: any, SF: any, ZF: any, AF: any, PF: any });
}

/** RDX and RAX; AH and AL for bytes. */
function highLow<W extends OperandWidth>(m: Semantics, width: W): { high: Expr<W>; low: Expr<W> } {
  const high = width === 8 ? (m.highByte(RAX) as unknown as Expr<W>) : m.gpr(RDX, width);
  return { high, low: m.gpr(RAX, width) };
}

function setHighLow<W extends OperandWidth>(m: Semantics, high: Expr<W>, low: Expr<W>): void {
  m.setGpr(RAX, low);
  if (high.width === 8) m.setHighByte(RAX, high as unknown as Expr<8>);
  else m.setGpr(RDX, high);
}

/** Absolute value of the signed high:low. */
function magnitude<W extends OperandWidth>(high: Expr<W>, low: Expr<W>): { high: Expr<W>; low: Expr<W> } {
  const negative = high.msb();
  const negatedHigh = high.not().add(low.isZero().zeroExtend(high.width));
  return { high: ite(negative, negatedHigh, high), low: ite(negative, low.neg(), low) };
}

/** Unsigned quotient of high:low, where high < divisor. */
function divideDouble<W extends OperandWidth>(high: Expr<W>, low: Expr<W>, divisor: Expr<W>): Expr<W> {
  const { width } = divisor;
  if (width === 64) {
    const [h, l, d] = [high, low, divisor] as unknown as [Expr<64>, Expr<64>, Expr<64>];
    return divideUnsigned128(h, l, d) as unknown as Expr<W>;
  }
  const wide = (width * 2) as 16 | 32 | 64;
  const dividend = high.zeroExtend(wide).shl(constant(wide, width)).or(low.zeroExtend(wide));
  return dividend.divu(divisor.zeroExtend(wide)).truncate(width);
}
