/** Miscellaneous instructions (SDM volume 1, "Miscellaneous Instructions"). */
import type { Operand, OperandWidth } from '../operand.ts';
import type { Semantics } from '../semantics-builder.ts';

/** LEA — Load Effective Address. DEST := EffectiveAddress(SRC), cut or zero-extended to the operand size. */
export function LEA<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand): void {
  m.write(dest, m.effectiveAddress(src).truncate(dest.width));
}

/** NOP — No Operation. Also what only hints (PREFETCHh, ENDBR), and the fences: memory accesses are in order anyway. */
export function NOP(_m: Semantics): void {}

/** CLFLUSH — Flush Cache Line. Without a cache to flush, what remains is the check of a load. */
export function CLFLUSH(m: Semantics, line: Operand<8>): void {
  m.read(line);
}
