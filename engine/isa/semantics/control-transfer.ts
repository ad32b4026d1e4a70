/** Control transfer instructions within the code segment (SDM volume 1, "Control Transfer Instructions"). */
import { constant, type Expr } from '../../expr/expr.ts';
import { type Operand, withWidth } from '../operand.ts';
import { BOUND_RANGE_EXCEEDED, RCX, type Semantics } from '../semantics-builder.ts';
import type { Condition } from './conditions.ts';

/** JMP — Jump. RIP := target. */
export function JMP(m: Semantics, target: Operand): void {
  if (target.kind === 'immediate') m.branch();
  else m.jump(m.read(target).zeroExtend(64));
}

/** Jcc — Jump if Condition Is Met. IF condition THEN RIP := target. */
export const Jcc =
  (condition: Condition) =>
  (m: Semantics): void =>
    m.branch(condition(m));

/** JCXZ, JECXZ, JRCXZ — Jump if the Count Register Is Zero. The address size selects the register. */
export function JCXZ(m: Semantics): void {
  m.branch(m.gpr(RCX, m.sizes.addressSize).isZero());
}

/** LOOP, LOOPE, LOOPNE — Loop According to RCX Counter. RCX := RCX - 1; IF RCX ≠ 0 and condition THEN RIP := target. */
export const LOOP =
  (condition?: Condition) =>
  (m: Semantics): void => {
    const { addressSize } = m.sizes;
    const count = m.gpr(RCX, addressSize).sub(constant(addressSize, 1));
    const goesOn = count.isZero().not();
    m.setGpr(RCX, count);
    m.branch(condition ? goesOn.and(condition(m)) : goesOn);
  };

/** CALL — Call Procedure. Push(RIP of the next instruction); RIP := target. */
export function CALL(m: Semantics, target: Operand): void {
  if (target.kind === 'immediate') m.branch();
  else m.jump(m.read(target).zeroExtend(64));
  m.push(m.nextIp().truncate(m.sizes.operandSize));
}

/** RET — Return From Procedure. RIP := Pop(); with an immediate, RSP := RSP + imm16. */
export function RET(m: Semantics, released?: Operand): void {
  const { operandSize } = m.sizes;
  const bytes: Expr<64> = constant(64, operandSize / 8);
  m.jump(m.stackTop(operandSize).zeroExtend(64));
  m.discard(released ? bytes.add(m.read(released).zeroExtend(64)) : bytes);
}

/** BOUND — Check Array Index Against Bounds. IF index < lower or index > upper (signed) THEN #BR. */
export function BOUND(m: Semantics, index: Operand, bounds: Operand): void {
  const { position } = bounds;
  const { width } = withWidth(bounds, index.width);
  const value = m.read(index);
  const lower = m.loadAt({ kind: 'operand', position }, width);
  const upper = m.loadAt({ kind: 'operand', position, plus: constant(64, width / 8) }, width);
  m.raiseIf(value.lts(lower).or(upper.lts(value)), BOUND_RANGE_EXCEEDED);
}
