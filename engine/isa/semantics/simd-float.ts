/**
 * How SIMD floating-point instructions are made: lanes of a type, computed by a call under MXCSR, which gets the exceptions
 * met and raises those that are not masked (SDM volume 1, "Handling SIMD Floating-Point Exceptions").
 */
import { call, constant, type Expr } from '../../expr/expr.ts';
import type { PureFunction, Shortcut } from '../../expr/pure-function.ts';
import { binary32, binary64, type FloatFormat } from '../../float/format.ts';
import { floatFunction, type LaneOperation, type OperandBits, RAISED_BIT } from '../floating-point/functions.ts';
import type { QuickOperation } from '../floating-point/quick-arithmetic.ts';
import { type QuickShape, quickFunction } from '../floating-point/quick-lanes.ts';
import { FloatLanes, type ShortcutOf, shortcutOf } from '../floating-point/shortcuts.ts';
import type { Operand } from '../operand.ts';
import type { Semantics } from '../semantics-builder.ts';
import { replaceLow } from './vector-moves.ts';
import { readLow, readVector, splitOperands } from './vector-operands.ts';

/** Lanes of single or double precision. */
export interface LaneType {
  readonly name: 'Single' | 'Double';
  readonly format: FloatFormat;
  readonly bits: 32 | 64;
  readonly lanes: Readonly<Record<'packed' | 'scalar', FloatLanes>>;
}
const lanesOf = (format: FloatFormat): LaneType['lanes'] => ({
  packed: new FloatLanes(format, 'packed'),
  scalar: new FloatLanes(format, 'scalar'),
});
export const single: LaneType = { name: 'Single', format: binary32, bits: 32, lanes: lanesOf(binary32) };
export const double: LaneType = { name: 'Double', format: binary64, bits: 64, lanes: lanesOf(binary64) };

/** What an instruction does to a lane: its name in pseudo-code, and its definition for either type. */
export interface LaneArithmetic {
  readonly name: string;
  readonly operands: 1 | 2 | 3;
  readonly of: (format: FloatFormat) => LaneOperation;
  /** The ordinary case in WebAssembly. */
  readonly shortcut?: ShortcutOf;
  /** Without BigInt, for all lanes or for each. */
  readonly quick?: (bits: 32 | 64, lane: number) => QuickOperation;
}

/**
 * Calls a function of the lanes under MXCSR, raising the exceptions it meets that are not masked, and returns MXCSR with those
 * it meets, which is for the caller to set.
 */
export function callFloat(
  m: Semantics,
  of: PureFunction,
  args: readonly Expr[],
  mxcsr: Expr<32> = m.state('mxcsr'),
  shortcut?: Shortcut,
): { values: Expr[]; mxcsr: Expr<32> } {
  const results = call(of, [...args, mxcsr], shortcut);
  const status = results[results.length - 1] as Expr<32>;
  const after = status.and(constant(32, 0xffff));
  m.raiseSimdExceptionIf(status.bit(RAISED_BIT), after);
  return { values: results.slice(0, -1), mxcsr: after };
}

/** As `callFloat`, and sets MXCSR. */
export function callFloatOnce(m: Semantics, of: PureFunction, args: readonly Expr[], shortcut?: Shortcut): Expr[] {
  const { values, mxcsr } = callFloat(m, of, args, m.state('mxcsr'), shortcut);
  m.setState('mxcsr', mxcsr);
  return values;
}

export const vectorBits = (operand: Operand): 128 | 256 => (operand.halves === 2 ? 256 : 128);

const functions = new Map<string, PureFunction>();

/** A function is made once: executions number them. */
export function functionOf(
  type: LaneType,
  bits: OperandBits,
  { name, operands, of, quick }: LaneArithmetic,
): PureFunction {
  const fullName = `${name}${type.name}${bits === type.bits ? '' : `x${bits / type.bits}`}`;
  let made = functions.get(fullName);
  if (!made) {
    const lanes = { bits, lane: type.bits };
    const shape = { name: fullName, operands, from: lanes, to: lanes };
    made = floatFunction(shape, of(type.format), quick && quickFunction(quickShape(type, bits, operands, quick)));
    functions.set(fullName, made);
  }
  return made;
}

const quickShape = (
  { bits: laneBits }: LaneType,
  bits: OperandBits,
  operands: number,
  quick: NonNullable<LaneArithmetic['quick']>,
): QuickShape => ({
  operands,
  bytes: bits / 8,
  laneBits,
  operations: Array.from({ length: bits / laneBits }, (_, lane) => quick(laneBits, lane)),
});

/** Calls the arithmetic for operands of halves, or of lowest lanes. */
export function callArithmetic(
  m: Semantics,
  type: LaneType,
  arithmetic: LaneArithmetic,
  operands: readonly (readonly Expr[])[],
  mxcsr: Expr<32> = m.state('mxcsr'),
): { values: Expr[]; mxcsr: Expr<32> } {
  const first = operands[0] as readonly Expr[];
  const width = (first[0] as Expr).width as 32 | 64 | 128;
  const { shortcut } = arithmetic;
  const halves = first.map((_, half) => operands.map((operand) => asVector(operand[half] as Expr)));
  return callFloat(
    m,
    functionOf(type, first.length === 2 ? 256 : width, arithmetic),
    operands.flat(),
    mxcsr,
    shortcut &&
      shortcutOf(
        halves.map((half) => shortcut(type.lanes[width === 128 ? 'packed' : 'scalar'], ...half)),
        width,
        mxcsr,
      ),
  );
}
export const asVector = (value: Expr): Expr<128> =>
  value.width === 128 ? (value as Expr<128>) : value.zeroExtend(128);

type Instruction = (m: Semantics, ...operands: Operand[]) => void;

/** All lanes: DEST := operation(SRC1, SRC2), or of the one source. */
export const packed =
  (type: LaneType, arithmetic: LaneArithmetic): Instruction =>
  (m, ...operands) => {
    const [dest, ...sources] = arithmetic.operands === 1 ? operands : splitOperands(m, operands);
    const read = sources.map((source) => readVector(m, source));
    const { values, mxcsr } = callArithmetic(m, type, arithmetic, read);
    m.writeHalves(dest as Operand, values as Expr<128>[]);
    m.setState('mxcsr', mxcsr);
  };

/** The lowest lane; the others of DEST are those of SRC1. */
export const scalar =
  (type: LaneType, arithmetic: LaneArithmetic): Instruction =>
  (m, ...operands) => {
    const [dest, first, second] = splitOperands(m, operands) as [Operand, Operand, Operand];
    const b = readLow(m, second, type.bits);
    const read = arithmetic.operands === 1 ? [[b]] : [[readLow(m, first, type.bits)], [b]];
    const { values, mxcsr } = callArithmetic(m, type, arithmetic, read);
    m.writeHalves(dest, [replaceLow(m.readHalf(first, 0), values[0] as Expr<32> | Expr<64>)]);
    m.setState('mxcsr', mxcsr);
  };
