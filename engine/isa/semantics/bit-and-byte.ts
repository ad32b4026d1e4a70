/** Bit and byte instructions (SDM volume 1, "Bit and Byte Instructions"), with BMI1, BMI2, POPCNT, LZCNT. */
import { constant, type Expr, ite } from '../../expr/expr.ts';
import type { Operand, OperandWidth } from '../operand.ts';
import type { AddressRef } from '../operation.ts';
import { type Semantics, undefined_ } from '../semantics-builder.ts';
import type { Condition } from './conditions.ts';

/** SETcc — Set Byte on Condition. DEST := 1 if the condition holds, else 0. */
export const SETcc =
  (condition: Condition) =>
  (m: Semantics, dest: Operand<8>): void => {
    m.write(dest, condition(m).zeroExtend(8));
  };

/** BT — Bit Test. CF := Bit(BASE, OFFSET). */
export const BT = bitTest(undefined);
/** BTS — Bit Test and Set. CF := Bit(BASE, OFFSET); Bit(BASE, OFFSET) := 1. */
export const BTS = bitTest((word, bit) => word.or(bit));
/** BTR — Bit Test and Reset. CF := Bit(BASE, OFFSET); Bit(BASE, OFFSET) := 0. */
export const BTR = bitTest((word, bit) => word.and(bit.not()));
/** BTC — Bit Test and Complement. CF := Bit(BASE, OFFSET); Bit(BASE, OFFSET) := NOT Bit(BASE, OFFSET). */
export const BTC = bitTest((word, bit) => word.xor(bit));

type BitChange = <W extends OperandWidth>(word: Expr<W>, bit: Expr<W>) => Expr<W>;

function bitTest(change: BitChange | undefined) {
  return <W extends OperandWidth>(m: Semantics, base: Operand<W>, offset: Operand): void => {
    const { width } = base;
    const bitOffset = m.read(offset);
    const index = bitOffset.and(constant(bitOffset.width, width - 1));
    const count = index.width < width ? index.zeroExtend(width) : index.truncate(width);
    const address = bitStringAddress(base, offset, bitOffset);
    const forWrite = change !== undefined;
    const word = address ? m.loadAt(address, width, forWrite) : m.read(base);
    if (change) {
      const changed = change(word, constant(width, 1).shl(count));
      if (address) m.storeAt(address, changed);
      else m.write(base, changed);
    }
    const any = undefined_('unchanged');
    m.setFlags({ CF: word.shr(count).truncate(1), OF: any, SF: any, AF: any, PF: any });
  };
}

/** Memory base: a register's offset is signed and goes beyond the operand, in steps of the operand size. */
function bitStringAddress(base: Operand, offset: Operand, bitOffset: Expr): AddressRef | undefined {
  const { position, width } = base;
  if (base.kind !== 'memory') return undefined;
  if (offset.kind === 'immediate') return { kind: 'operand', position };
  const words = bitOffset.signExtend(64).sar(constant(64, Math.log2(width)));
  return { kind: 'operand', position, plus: words.shl(constant(64, Math.log2(width / 8))) };
}

/** BSF — Bit Scan Forward. DEST := index of the lowest one in SRC; unchanged if there is none. */
export function BSF<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>): void {
  const a = m.read(src);
  m.write(dest, ite(a.isZero(), m.read(dest), a.ctz()));
  setScanFlags(m, a);
}

/** BSR — Bit Scan Reverse. DEST := index of the highest one in SRC; unchanged if there is none. */
export function BSR<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>): void {
  const a = m.read(src);
  m.write(dest, ite(a.isZero(), m.read(dest), constant(a.width, a.width - 1).sub(a.clz())));
  setScanFlags(m, a);
}

function setScanFlags(m: Semantics, a: Expr): void {
  const any = undefined_('unchanged');
  m.setFlags({ ZF: a.isZero(), CF: any, OF: any, SF: any, AF: any, PF: any });
}

/** TZCNT — Count the Number of Trailing Zero Bits. */
export function TZCNT<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>): void {
  const a = m.read(src);
  writeCount(m, dest, a, a.ctz());
}

/** LZCNT — Count the Number of Leading Zero Bits. */
export function LZCNT<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>): void {
  const a = m.read(src);
  writeCount(m, dest, a, a.clz());
}

function writeCount<W extends OperandWidth>(m: Semantics, dest: Operand<W>, a: Expr<W>, count: Expr<W>): void {
  const any = undefined_('unchanged');
  m.write(dest, count);
  m.setFlags({ CF: a.isZero(), ZF: count.isZero(), OF: any, SF: any, AF: any, PF: any });
}

/** POPCNT — Return the Count of Number of Bits Set to 1. */
export function POPCNT<W extends OperandWidth>(m: Semantics, dest: Operand<W>, src: Operand<W>): void {
  const a = m.read(src);
  const clear = constant(1, 0);
  m.write(dest, a.popcnt());
  m.setFlags({ CF: clear, OF: clear, SF: clear, AF: clear, PF: clear, ZF: a.isZero() });
}
