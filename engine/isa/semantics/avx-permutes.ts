/** What AVX and AVX2 add to rearranging lanes: across the halves, by variable choices, broadcasts; and tests of vectors. */
import { constant, type Expr, vector } from '../../expr/expr.ts';
import type { Operand } from '../operand.ts';
import type { Semantics } from '../semantics-builder.ts';
import {
  combineHalves,
  immediateOf,
  lanesOf,
  readLow,
  readVector,
  shuffleLanes,
  type Vector,
  writeVector,
  zero,
} from './vector-operands.ts';

/** VPERM2F128, VPERM2I128 — Permute 128-Bit Values: a half of SRC1 or SRC2, or zeros, for each half. */
export function VPERM2F128(m: Semantics, ...operands: Operand[]): void {
  const [dest, first, second] = operands as [Operand, Operand, Operand];
  const immediate = immediateOf(operands);
  const halves = [...readVector(m, first), ...readVector(m, second)];
  const choose = (control: number): Vector => (control & 8 ? zero : (halves[control & 3] as Vector));
  writeVector(m, dest, [choose(immediate), choose(immediate >> 4)]);
}

/** VINSERTF128, VINSERTI128 — Insert Packed Values: SRC2 in place of a half of SRC1. */
export function VINSERTF128(m: Semantics, ...operands: Operand[]): void {
  const [dest, first, second] = operands as [Operand, Operand, Operand];
  const [low, high] = readVector(m, first) as [Vector, Vector];
  const inserted = m.readHalf(second, 0);
  writeVector(m, dest, immediateOf(operands) & 1 ? [low, inserted] : [inserted, high]);
}
/** VEXTRACTF128, VEXTRACTI128 — Extract Packed Values: a half of SRC. */
export function VEXTRACTF128(m: Semantics, ...operands: Operand[]): void {
  const [dest, src] = operands as [Operand, Operand];
  writeVector(m, dest, [m.readHalf(src, immediateOf(operands) & 1 ? 1 : 0)]);
}

/** VPERMQ, VPERMPD — Qwords Element Permutation by the immediate. */
export function VPERMQ(m: Semantics, ...operands: Operand[]): void {
  const [dest, src] = operands as [Operand, Operand];
  const [low, high] = readVector(m, src) as [Vector, Vector];
  const immediate = immediateOf(operands);
  const pair = (at: number) => shuffleLanes(8, low, high, [(immediate >> at) & 3, (immediate >> (at + 2)) & 3]);
  writeVector(m, dest, [pair(0), pair(4)]);
}

const DWORD_BYTES = lanesOf(32, 0x0302_0100);
const QWORD_BYTES = lanesOf(64, 0x0706_0504_0302_0100n);
/** Numbers of the bytes of the doublewords that the lowest bits of each lane choose. */
const bytesOfDwords = (choices: Vector, mask: number): Vector =>
  vector('i8x16.add', [vector('i32x4.mul', [choices.and(lanesOf(32, mask)), lanesOf(32, 0x0404_0404)]), DWORD_BYTES]);

/** VPERMD, VPERMPS — Permute Packed Doublewords: those of SRC2 that SRC1 chooses. */
export function VPERMD(m: Semantics, ...operands: Operand[]): void {
  const [dest, choices, src] = operands as [Operand, Operand, Operand];
  const [low, high] = readVector(m, src) as [Vector, Vector];
  const results = readVector(m, choices).map((lanes) => {
    const bytes = bytesOfDwords(lanes, 7);
    const fromHigh = vector('i8x16.sub', [bytes, lanesOf(8, 16)]);
    return vector('i8x16.swizzle', [low, bytes]).or(vector('i8x16.swizzle', [high, fromHigh]));
  });
  writeVector(m, dest, results);
}

/** VPERMILPS — Permute In-Lane of Quadruples of Single Precision Values: those of SRC1 that SRC2 chooses. */
export const VPERMILPS = combineHalves((a, choices) => vector('i8x16.swizzle', [a, bytesOfDwords(choices, 3)]));
/** VPERMILPD — Permute In-Lane of Pairs of Double Precision Values: those of SRC1 that bit 1 of SRC2's lanes chooses. */
export const VPERMILPD = combineHalves((a, choices) => {
  const chosen = vector('i64x2.shr_u', [choices, constant(32, 1)]).and(lanesOf(64, 1));
  const start = vector('i64x2.mul', [chosen, lanesOf(64, 0x0808_0808_0808_0808n)]);
  return vector('i8x16.swizzle', [a, vector('i8x16.add', [start, QWORD_BYTES])]);
});
/** VPERMILPD by the immediate, a bit for each lane. */
export function VPERMILPD_IMMEDIATE(m: Semantics, ...operands: Operand[]): void {
  const [dest, src] = operands as [Operand, Operand];
  const immediate = immediateOf(operands);
  const shuffled = readVector(m, src).map((half, i) => {
    const choice = immediate >> (2 * i);
    return shuffleLanes(8, half, half, [choice & 1, (choice >> 1) & 1]);
  });
  writeVector(m, dest, shuffled);
}

const splat = { 8: 'i8x16.splat', 16: 'i16x8.splat', 32: 'i32x4.splat', 64: 'i64x2.splat' } as const;
/** VBROADCASTSS, VPBROADCASTW, VBROADCASTI128 … — Broadcast: the lowest lane of SRC in all lanes. */
export const broadcast =
  (bits: 8 | 16 | 32 | 64 | 128) =>
  (m: Semantics, dest: Operand, src: Operand): void => {
    const value = readLow(m, src, bits);
    const half = bits === 128 ? (value as Vector) : vector(splat[bits], [value]);
    writeVector(m, dest, Array<Vector>(dest.halves ?? 1).fill(half));
  };

/** ZF: nothing in common; CF: nothing of SRC2 outside of SRC1; of the bits of `mask`. */
const test =
  (mask: Vector | undefined) =>
  (m: Semantics, first: Operand, second: Operand): void => {
    const b = readVector(m, second);
    const kept = mask ? b.map((half) => half.and(mask)) : b;
    const a = readVector(m, first);
    const isZero = (of: (a: Vector, b: Vector) => Vector): Expr<1> =>
      a
        .map((half, i) => of(half, kept[i] as Vector))
        .reduce((x, y) => x.or(y))
        .isZero();
    const clear = constant(1, 0);
    m.setFlags({
      ZF: isZero((x, y) => x.and(y)),
      CF: isZero((x, y) => vector('v128.andnot', [y, x])),
      OF: clear,
      AF: clear,
      PF: clear,
      SF: clear,
    });
  };
/** PTEST — Logical Compare. */
export const PTEST = test(undefined);
/** VTESTPS, VTESTPD — Packed Bit Test, of the signs. */
export const VTESTPS = test(lanesOf(32, 0x8000_0000));
export const VTESTPD = test(lanesOf(64, 1n << 63n));

const registers = (m: Semantics) => Array.from({ length: m.sizes.codeSize === 64 ? 16 : 8 }, (_, number) => number);
/** VZEROUPPER — Zero Upper Bits of YMM Registers. */
export function VZEROUPPER(m: Semantics): void {
  for (const number of registers(m)) m.setVectorRegister(number, zero, 1);
}
/** VZEROALL — Zero XMM and YMM Registers. */
export function VZEROALL(m: Semantics): void {
  for (const number of registers(m)) m.setVectorRegister(number, zero);
  VZEROUPPER(m);
}
