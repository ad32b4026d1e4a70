/** Data transfer instructions that use the stack, and procedure frames: ENTER, LEAVE. */
import { constant, type Expr } from '../../expr/expr.ts';
import type { Operand, OperandWidth } from '../operand.ts';
import { RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP, type Semantics, segmentSS } from '../semantics-builder.ts';

/** PUSH — Push Onto the Stack. PUSH RSP pushes the value before. */
export function PUSH(m: Semantics, src: Operand): void {
  m.push(m.read(src));
}

/** POP — Pop a Value From the Stack. An address that uses RSP is computed with RSP incremented; POP RSP gets the value. */
export function POP<W extends OperandWidth>(m: Semantics, dest: Operand<W>): void {
  const value = m.stackTop(dest.width);
  const size = constant(64, dest.width / 8);
  if (dest.usesStackPointer) m.storeAt({ kind: 'operand', position: dest.position, plus: size }, value);
  else m.write(dest, value);
  m.discard(size);
}

/** PUSHA, PUSHAD — Push All General-Purpose Registers. The stack pointer pushed is the one before. */
export function PUSHA(m: Semantics): void {
  const all = [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI];
  m.push(...all.map((number) => m.gpr(number, m.sizes.operandSize)));
}

/** POPA, POPAD — Pop All General-Purpose Registers. The value for the stack pointer is skipped. */
export function POPA(m: Semantics): void {
  const { operandSize } = m.sizes;
  const upwards = [RDI, RSI, RBP, RSP, RBX, RDX, RCX, RAX];
  const values = upwards.map((_, i) => m.stackTop(operandSize, (i * operandSize) / 8));
  upwards.forEach((number, i) => {
    const value = values[i];
    if (value && number !== RSP) m.setGpr(number, value);
  });
  m.discard(constant(64, operandSize));
}

/**
 * ENTER — Make Stack Frame for Procedure Parameters. Pushes RBP, for nested procedures (level > 0) the display of the
 * enclosing frames and the new frame pointer, then makes room.
 */
export function ENTER(m: Semantics, room: Operand, level: Operand): void {
  const { operandSize, stackSize } = m.sizes;
  const bytes = operandSize / 8;
  const depth = level.constant ?? 0;
  const frame = m.stackOffset(m.stackPointer().sub(constant(64, bytes)));
  m.load(segmentSS, frame, operandSize, true);
  const pushed: Expr<typeof operandSize>[] = [m.gpr(RBP, operandSize)];
  for (let i = 1; i < depth; i++) {
    const display = m
      .gpr(RBP, stackSize)
      .zeroExtend(64)
      .sub(constant(64, i * bytes));
    pushed.push(m.load(segmentSS, m.stackOffset(display), operandSize));
  }
  if (depth > 0) pushed.push(framePointer(m, frame));
  const below = constant(64, (pushed.length - 1) * bytes);
  const top = m.stackOffset(frame.sub(below).sub(m.read(room).zeroExtend(64)));
  // A write at the new top of the stack is tried out (SDM volume 2, "ENTER"), but RBP is pushed before.
  m.load(segmentSS, top, 8, true);
  for (const [i, value] of pushed.entries())
    m.store(segmentSS, m.stackOffset(frame.sub(constant(64, i * bytes))), value);
  m.setGpr(RBP, framePointer(m, frame));
  m.setStackPointer(top);
}

/** The new RBP: the stack pointer at operand size, whose upper half a 16-bit stack leaves as it is. */
function framePointer(m: Semantics, frame: Expr<64>): Expr<16 | 32 | 64> {
  const { operandSize, stackSize } = m.sizes;
  if (operandSize <= stackSize) return frame.truncate(operandSize);
  const upper = m.gpr(RSP, operandSize).and(constant(operandSize, ~((1n << BigInt(stackSize)) - 1n)));
  return upper.or(frame.truncate(operandSize));
}

/** LEAVE — High Level Procedure Exit. RSP := RBP; RBP := Pop(). */
export function LEAVE(m: Semantics): void {
  const { operandSize, stackSize } = m.sizes;
  const frame = m.gpr(RBP, stackSize).zeroExtend(64);
  m.setGpr(RBP, m.load(segmentSS, frame, operandSize));
  m.setStackPointer(frame.add(constant(64, operandSize / 8)));
}
