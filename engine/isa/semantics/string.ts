/**
 * String instructions (SDM volume 1, "String Instructions"). With a repeat prefix, an execution is one iteration: it
 * does nothing if the count is 0, and otherwise repeats the instruction until the count is 0 or the condition ends it.
 */
import { constant, type Expr, ite } from '../../expr/expr.ts';
import type { OperandWidth } from '../operand.ts';
import {
  RAX,
  RCX,
  RDI,
  RSI,
  type Semantics,
  segmentES,
  segmentOfOperand,
  subtractionFlags,
} from '../semantics-builder.ts';

/** MOVS — Move Data From String to String. ES:[RDI] := DS:[RSI]. */
export const MOVS =
  (width: OperandWidth) =>
  (m: Semantics): void => {
    m.store(segmentES, pointer(m, RDI), m.load(segmentOfOperand, pointer(m, RSI), width));
    advance(m, width, RSI, RDI);
    iterate(m);
  };

/** STOS — Store String. ES:[RDI] := RAX. */
export const STOS =
  (width: OperandWidth) =>
  (m: Semantics): void => {
    m.store(segmentES, pointer(m, RDI), m.gpr(RAX, width));
    advance(m, width, RDI);
    iterate(m);
  };

/** LODS — Load String. RAX := DS:[RSI]. */
export const LODS =
  (width: OperandWidth) =>
  (m: Semantics): void => {
    m.setGpr(RAX, m.load(segmentOfOperand, pointer(m, RSI), width));
    advance(m, width, RSI);
    iterate(m);
  };

/** SCAS — Scan String. Flags of RAX - ES:[RDI]. */
export const SCAS =
  (width: OperandWidth) =>
  (m: Semantics): void => {
    compare(m, m.gpr(RAX, width), m.load(segmentES, pointer(m, RDI), width));
    advance(m, width, RDI);
  };

/** CMPS — Compare String Operands. Flags of DS:[RSI] - ES:[RDI]. */
export const CMPS =
  (width: OperandWidth) =>
  (m: Semantics): void => {
    const left = m.load(segmentOfOperand, pointer(m, RSI), width);
    compare(m, left, m.load(segmentES, pointer(m, RDI), width));
    advance(m, width, RSI, RDI);
  };

function compare<W extends OperandWidth>(m: Semantics, a: Expr<W>, b: Expr<W>): void {
  m.setArithmeticFlags(subtractionFlags(a, b, a.sub(b)));
  iterate(m, m.sizes.repeat === 'repne' ? a.ne(b) : a.eq(b));
}

/** RSI or RDI, by the address size. */
const pointer = (m: Semantics, number: number): Expr<64> => m.gpr(number, m.sizes.addressSize).zeroExtend(64);

/** Moves the pointers on: up if DF is clear, down if it is set. */
function advance(m: Semantics, width: OperandWidth, ...pointers: number[]): void {
  const { addressSize } = m.sizes;
  const bytes = constant(addressSize, width / 8);
  const step = ite(m.directionFlag(), bytes.neg(), bytes);
  for (const number of pointers) m.setGpr(number, m.gpr(number, addressSize).add(step));
}

/** Counts an iteration, if there is a repeat prefix; `goesOn`: the condition of REPE or REPNE. */
function iterate(m: Semantics, goesOn?: Expr<1>): void {
  const { addressSize, repeat } = m.sizes;
  if (repeat === 'none') return;
  const count = m.gpr(RCX, addressSize);
  const left = count.sub(constant(addressSize, 1));
  m.guard(count.isZero().not());
  m.setGpr(RCX, left);
  m.repeat(goesOn ? left.isZero().not().and(goesOn) : left.isZero().not());
}
