/**
 * How vector instructions read and write their operands. Legacy encodings have DEST = SRC1, leave what lies above bit 127 of a
 * register and want memory of 128 bits aligned; VEX encodings name DEST apart, zero what is above and want no alignment
 * (SDM volume 2, "Exceptions Classification of Instructions").
 */
import { constant, type Expr, vector } from '../../expr/expr.ts';
import type { Operand } from '../operand.ts';
import type { Semantics } from '../semantics-builder.ts';

/** DEST, SRC1 and what follows. */
export function splitOperands(m: Semantics, operands: readonly Operand[]): [dest: Operand, ...sources: Operand[]] {
  const [dest, ...rest] = operands;
  if (!dest) throw new Error('a vector instruction without operands');
  return m.sizes.vex ? [dest, ...rest] : [dest, dest, ...rest];
}

/** The halves of a source of 128 or 256 bits. */
export const readVector = (m: Semantics, source: Operand): Expr<128>[] =>
  m.readHalves(source, m.sizes.vex ? undefined : 16);

/** The lowest `width` bits of a register, or memory of that size. */
export const readLow = <W extends 8 | 16 | 32 | 64 | 128>(m: Semantics, source: Operand, width: W): Expr<W> =>
  m.read({ ...source, width });

export const zero = constant(128, 0);

/** One operand that is combined with nothing. */
export const mapHalves =
  (of: (a: Expr<128>) => Expr<128>) =>
  (m: Semantics, dest: Operand, src: Operand): void => {
    m.writeHalves(dest, readVector(m, src).map(of));
  };

/** Two operands, combined half by half. */
export const combineHalves =
  (of: (a: Expr<128>, b: Expr<128>) => Expr<128>) =>
  (m: Semantics, ...operands: Operand[]): void => {
    const [dest, first, second] = splitOperands(m, operands) as [Operand, Operand, Operand];
    const a = readVector(m, first);
    const b = readVector(m, second);
    m.writeHalves(
      dest,
      a.map((half, i) => of(half, b[i] as Expr<128>)),
    );
  };

/** Lanes of `bytes` bytes of a, and of b above them, in the order given. */
export const shuffleLanes = (bytes: number, a: Expr<128>, b: Expr<128>, lanes: readonly number[]): Expr<128> =>
  vector(
    'i8x16.shuffle',
    [a, b],
    lanes.flatMap((lane) => Array.from({ length: bytes }, (_, byte) => lane * bytes + byte)),
  );
export const shuffleDwords = (a: Expr<128>, lanes: readonly number[]): Expr<128> => shuffleLanes(4, a, a, lanes);
