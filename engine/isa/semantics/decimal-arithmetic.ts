/** Decimal arithmetic instructions (SDM volume 1, "Decimal Arithmetic Instructions"); not in 64-bit mode. */
import { constant, type Expr, ite } from '../../expr/expr.ts';
import type { Operand } from '../operand.ts';
import { DIVIDE_ERROR, RAX, resultFlags, type Semantics, undefined_ } from '../semantics-builder.ts';

const byte = (value: number): Expr<8> => constant(8, value);

/** The lower digit needs adjustment: it is above 9, or AF is set. */
const digitOverflows = (m: Semantics, al: Expr<8>): Expr<1> =>
  byte(9)
    .ltu(al.and(byte(15)))
    .or(m.flag('AF'));

/** DAA — Decimal Adjust AL After Addition. Adds 6 to each digit that is above 9 or carried. */
export function DAA(m: Semantics): void {
  const al = m.gpr(RAX, 8);
  const [low, high] = [digitOverflows(m, al), byte(0x99).ltu(al).or(m.flag('CF'))];
  const result = al.add(adjustment(low, high));
  m.setGpr(RAX, result);
  m.setFlags({ CF: high, AF: low, OF: undefined_(), ...resultFlags(result) });
}

/** DAS — Decimal Adjust AL After Subtraction. Subtracts 6 from each digit that is above 9 or borrowed. */
export function DAS(m: Semantics): void {
  const al = m.gpr(RAX, 8);
  const [low, high] = [digitOverflows(m, al), byte(0x99).ltu(al).or(m.flag('CF'))];
  const result = al.sub(adjustment(low, high));
  m.setGpr(RAX, result);
  m.setFlags({ CF: high.or(low.and(al.ltu(byte(6)))), AF: low, OF: undefined_(), ...resultFlags(result) });
}

const adjustment = (low: Expr<1>, high: Expr<1>): Expr<8> =>
  ite(low, byte(6), byte(0)).or(ite(high, byte(0x60), byte(0)));

/** AAA — ASCII Adjust After Addition. IF digit overflows THEN AX := AX + 106H; AL := AL AND 0FH. */
export function AAA(m: Semantics): void {
  const adjust = digitOverflows(m, m.gpr(RAX, 8));
  setUnpacked(m, m.gpr(RAX, 16).add(ite(adjust, constant(16, 0x106), constant(16, 0))), adjust);
}

/** AAS — ASCII Adjust AL After Subtraction. IF digit overflows THEN AX := AX - 106H; AL := AL AND 0FH. */
export function AAS(m: Semantics): void {
  const adjust = digitOverflows(m, m.gpr(RAX, 8));
  setUnpacked(m, m.gpr(RAX, 16).sub(ite(adjust, constant(16, 0x106), constant(16, 0))), adjust);
}

function setUnpacked(m: Semantics, ax: Expr<16>, adjust: Expr<1>): void {
  const result = ax.and(constant(16, 0xff0f));
  const { SF, ZF, PF } = resultFlags(result.truncate(8));
  m.setGpr(RAX, result);
  m.setFlags({
    CF: adjust,
    AF: adjust,
    SF: undefined_(SF),
    ZF: undefined_(ZF),
    PF: undefined_(PF),
    OF: undefined_(),
  });
}

/** AAM — ASCII Adjust AX After Multiply. AH := AL / imm8; AL := AL MOD imm8. */
export function AAM(m: Semantics, base: Operand<8>): void {
  const [al, divisor] = [m.gpr(RAX, 8), m.read(base)];
  m.raiseIf(divisor.isZero(), DIVIDE_ERROR);
  const remainder = al.remu(divisor);
  m.setGpr(RAX, remainder);
  m.setHighByte(RAX, al.divu(divisor));
  setDigitFlags(m, remainder);
}

/** AAD — ASCII Adjust AX Before Division. AL := AL + AH * imm8; AH := 0. */
export function AAD(m: Semantics, base: Operand<8>): void {
  const result = m.gpr(RAX, 8).add(m.highByte(RAX).mul(m.read(base)));
  m.setGpr(RAX, result.zeroExtend(16));
  setDigitFlags(m, result);
}

function setDigitFlags(m: Semantics, result: Expr<8>): void {
  m.setFlags({ ...resultFlags(result), OF: undefined_(), AF: undefined_(), CF: undefined_() });
}

/** SALC — Set AL on Carry (an opcode that manuals leave out). AL := FFH if CF, else 0. */
export function SALC(m: Semantics): void {
  m.setGpr(RAX, ite(m.flag('CF'), byte(0xff), byte(0)));
}
