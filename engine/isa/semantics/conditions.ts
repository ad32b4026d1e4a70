/** The sixteen conditions of Jcc, SETcc and CMOVcc (SDM volume 1, appendix "EFLAGS Condition Codes"). */
import type { Expr } from '../../expr/expr.ts';
import type { Semantics } from '../semantics-builder.ts';

export type Condition = (m: Semantics) => Expr<1>;

const not =
  (condition: Condition): Condition =>
  (m) =>
    condition(m).not();

const overflow: Condition = (m) => m.flag('OF');
const below: Condition = (m) => m.flag('CF');
const equal: Condition = (m) => m.flag('ZF');
const belowOrEqual: Condition = (m) => m.flag('CF').or(m.flag('ZF'));
const sign: Condition = (m) => m.flag('SF');
const parity: Condition = (m) => m.flag('PF');
const less: Condition = (m) => m.flag('SF').xor(m.flag('OF'));
const lessOrEqual: Condition = (m) => less(m).or(m.flag('ZF'));

/** By the suffix that the decoder uses, in the order of the encodings. */
export const conditions: Readonly<Record<string, Condition>> = {
  o: overflow,
  no: not(overflow),
  b: below,
  ae: not(below),
  e: equal,
  ne: not(equal),
  be: belowOrEqual,
  a: not(belowOrEqual),
  s: sign,
  ns: not(sign),
  p: parity,
  np: not(parity),
  l: less,
  ge: not(less),
  le: lessOrEqual,
  g: not(lessOrEqual),
};
