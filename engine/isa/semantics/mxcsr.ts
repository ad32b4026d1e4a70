/** MXCSR (SDM volume 1, "SSE MXCSR State Management Instructions"). */
import { constant } from '../../expr/expr.ts';
import type { Operand } from '../operand.ts';
import type { Semantics } from '../semantics-builder.ts';

const GP = 13;
/** Bits that MXCSR does not have: MXCSR_MASK is 0000FFFFH. */
const RESERVED = 0xffff_0000;

/** LDMXCSR — Load MXCSR Register. #GP(0) if reserved bits would be set; no exception is raised for flags it sets. */
export function LDMXCSR(m: Semantics, src: Operand): void {
  const value = m.read({ ...src, width: 32 });
  m.raiseIf(value.and(constant(32, RESERVED)).isZero().not(), GP, 0);
  m.setState('mxcsr', value);
}

/** STMXCSR — Store MXCSR Register State. DEST := MXCSR. */
export function STMXCSR(m: Semantics, dest: Operand): void {
  m.write({ ...dest, width: 32 }, m.state('mxcsr'));
}
