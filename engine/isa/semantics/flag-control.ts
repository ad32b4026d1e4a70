/** Flag control instructions (SDM volume 1, "Flag Control (EFLAG) Instructions"), but for the privileged ones. */
import { constant, type Expr } from '../../expr/expr.ts';
import { RAX, type Semantics } from '../semantics-builder.ts';

/** CLC — Clear Carry Flag. CF := 0. */
export function CLC(m: Semantics): void {
  m.setFlags({ CF: constant(1, 0) });
}

/** STC — Set Carry Flag. CF := 1. */
export function STC(m: Semantics): void {
  m.setFlags({ CF: constant(1, 1) });
}

/** CMC — Complement Carry Flag. CF := NOT CF. */
export function CMC(m: Semantics): void {
  m.setFlags({ CF: m.flag('CF').not() });
}

/** CLD — Clear Direction Flag. DF := 0. */
export function CLD(m: Semantics): void {
  m.setDirectionFlag(constant(1, 0));
}

/** STD — Set Direction Flag. DF := 1. */
export function STD(m: Semantics): void {
  m.setDirectionFlag(constant(1, 1));
}

/** LAHF — Load Status Flags Into AH Register. AH := SF:ZF:0:AF:0:PF:1:CF. */
export function LAHF(m: Semantics): void {
  const at = (value: Expr<1>, bit: number): Expr<8> => value.zeroExtend(8).shl(constant(8, bit));
  const signAndZero = at(m.flag('SF'), 7).or(at(m.flag('ZF'), 6));
  const others = at(m.flag('AF'), 4)
    .or(at(m.flag('PF'), 2))
    .or(at(m.flag('CF'), 0));
  m.setHighByte(RAX, signAndZero.or(others).or(constant(8, 2)));
}

/** SAHF — Store AH Into Flags. SF:ZF:0:AF:0:PF:1:CF := AH. */
export function SAHF(m: Semantics): void {
  const ah = m.highByte(RAX);
  m.setFlags({ SF: ah.bit(7), ZF: ah.bit(6), AF: ah.bit(4), PF: ah.bit(2), CF: ah.bit(0) });
}
