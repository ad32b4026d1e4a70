/** Fused multiply-add (SDM volume 1, "Fused-Multiply-ADD (FMA)"): 132, 213 and 231 say which operand has which part. */
import { constant, type Expr } from '../../expr/expr.ts';
import { multiplyAdd } from '../../float/arithmetic.ts';
import { fused as fusedShortcut } from '../floating-point/fused-shortcuts.ts';
import { quick } from '../floating-point/quick-arithmetic.ts';
import type { FloatLanes } from '../floating-point/shortcuts.ts';
import type { Operand } from '../operand.ts';
import type { Semantics } from '../semantics-builder.ts';
import { callArithmetic, double, type LaneArithmetic, type LaneType, single } from './simd-float.ts';
import { replaceLow } from './vector-moves.ts';
import { readLow, readVector } from './vector-operands.ts';

/** Which sign the product and the addend get, the latter perhaps by the lane; those that alternate have no scalar forms. */
interface Kind {
  readonly name: string;
  readonly negateProduct?: true;
  readonly negateAddend?: 'all lanes' | 'even lanes' | 'odd lanes';
}
const kinds: Readonly<Record<string, Kind>> = {
  Vfmadd: { name: 'MultiplyAdd' },
  Vfmsub: { name: 'MultiplySubtract', negateAddend: 'all lanes' },
  Vfnmadd: { name: 'NegatedMultiplyAdd', negateProduct: true },
  Vfnmsub: { name: 'NegatedMultiplySubtract', negateProduct: true, negateAddend: 'all lanes' },
  Vfmaddsub: { name: 'MultiplyAlternatelySubtractAndAdd', negateAddend: 'even lanes' },
  Vfmsubadd: { name: 'MultiplyAlternatelyAddAndSubtract', negateAddend: 'odd lanes' },
};

const negatesAddend = ({ negateAddend }: Kind, lane: number): boolean =>
  negateAddend === 'all lanes' || negateAddend === (lane % 2 === 0 ? 'even lanes' : 'odd lanes');

/** Ones in the sign bits of the lanes that get the other sign. */
const signsOf = (lanes: FloatLanes, isNegated: (lane: number) => boolean): Expr<128> => {
  let signs = 0n;
  for (let lane = 0; lane * lanes.bits < 128; lane++) {
    if (isNegated(lane)) signs |= 1n << BigInt((lane + 1) * lanes.bits - 1);
  }
  return constant(128, signs);
};

const fused = (kind: Kind): LaneArithmetic => ({
  name: kind.name,
  shortcut: fusedShortcut((lanes) => ({
    product: signsOf(lanes, () => kind.negateProduct ?? false),
    addend: signsOf(lanes, (lane) => negatesAddend(kind, lane)),
  })),
  quick: (bits, lane) => {
    const factor = kind.negateProduct ? -1 : 1;
    const addend = negatesAddend(kind, lane) ? -1 : 1;
    return (a, b, c) => quick.multiplyAdd[bits](factor * a, b, addend * c);
  },
  operands: 3,
  of:
    (format) =>
    (environment, [a = 0n, b = 0n, c = 0n], lane) =>
      multiplyAdd(format, environment, a, b, c, {
        product: kind.negateProduct ?? false,
        addend: negatesAddend(kind, lane),
      }),
});

/** Of the operands (DEST is the first), the two factors and the addend. */
const orders: Readonly<Record<string, readonly [number, number, number]>> = {
  132: [0, 2, 1],
  213: [1, 0, 2],
  231: [1, 2, 0],
};

const packedFused =
  (type: LaneType, arithmetic: LaneArithmetic, order: readonly number[]) =>
  (m: Semantics, ...operands: Operand[]): void => {
    const read = operands.map((operand) => readVector(m, operand));
    const inOrder = order.map((position) => read[position] as Expr<128>[]);
    const { values, mxcsr } = callArithmetic(m, type, arithmetic, inOrder);
    m.writeHalves(operands[0] as Operand, values as Expr<128>[]);
    m.setState('mxcsr', mxcsr);
  };

const scalarFused =
  (type: LaneType, arithmetic: LaneArithmetic, order: readonly number[]) =>
  (m: Semantics, ...operands: Operand[]): void => {
    const dest = operands[0] as Operand;
    const read = operands.map((operand) => readLow(m, operand, type.bits));
    const inOrder = order.map((position) => [read[position] as Expr]);
    const { values, mxcsr } = callArithmetic(m, type, arithmetic, inOrder);
    m.writeHalves(dest, [replaceLow(m.readHalf(dest, 0), values[0] as Expr<32> | Expr<64>)]);
    m.setState('mxcsr', mxcsr);
  };

const formsOf = (mnemonic: string, kind: Kind, order: readonly number[]) => {
  const arithmetic = fused(kind);
  const packedForms = {
    [`${mnemonic}ps`]: packedFused(single, arithmetic, order),
    [`${mnemonic}pd`]: packedFused(double, arithmetic, order),
  };
  if (kind.negateAddend === 'even lanes' || kind.negateAddend === 'odd lanes') return packedForms;
  return {
    ...packedForms,
    [`${mnemonic}ss`]: scalarFused(single, arithmetic, order),
    [`${mnemonic}sd`]: scalarFused(double, arithmetic, order),
  };
};

/** VFMADD132PS to VFNMSUB231SD, by their mnemonics. */
export const fusedMultiplyAdd: Readonly<Record<string, ReturnType<typeof packedFused>>> = Object.assign(
  {},
  ...Object.entries(kinds).flatMap(([mnemonic, kind]) =>
    Object.entries(orders).map(([digits, order]) => formsOf(mnemonic + digits, kind, order)),
  ),
);
