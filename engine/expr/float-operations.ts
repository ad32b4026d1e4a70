/**
 * The rows of the table of vector operations for floating-point lanes: IEEE 754 in its default environment (rounding to
 * nearest, exceptions ignored). What WebAssembly leaves open, the payload of a NaN that an operation makes, must not be used.
 */
import { add, divide, multiply, squareRoot, subtract } from '../float/arithmetic.ts';
import { compare, type Relation } from '../float/compare.ts';
import { convert, fromInteger, roundToIntegral, toInteger } from '../float/convert.ts';
import { type FloatEnvironment, type FloatResult, RoundingMode } from '../float/environment.ts';
import { binary32, binary64, type FloatFormat } from '../float/format.ts';
import { fromLanes, lanesOf, type VectorRow } from './lanes.ts';

const environmentOf = (rounding: RoundingMode): FloatEnvironment => ({
  rounding,
  masks: 0x3f,
  denormalsAreZero: false,
  flushToZero: false,
  precision: undefined,
  rules: 'sse',
});
const toNearest = environmentOf(RoundingMode.Nearest);

const typeName = ({ width }: FloatFormat): string => (width === 32 ? 'Singles' : 'Doubles');

type Binary = (format: FloatFormat, environment: FloatEnvironment, a: bigint, b: bigint) => FloatResult;
type Lane = (a: bigint, b: bigint) => bigint;

const lanewise = (format: FloatFormat, name: string, of: Lane): VectorRow => ({
  arguments: [128, 128],
  result: 128,
  text: name + typeName(format),
  evaluate: ([a = 0n, b = 0n]) => {
    const right = lanesOf(format.width, b);
    return fromLanes(
      format.width,
      lanesOf(format.width, a).map((lane, i) => of(lane, right[i] as bigint)),
    );
  },
});
const binary = (format: FloatFormat, name: string, of: Binary): VectorRow =>
  lanewise(format, name, (a, b) => of(format, toNearest, a, b).bits);
/** Ones in the lanes for which the relation is one of these. */
const relation = (format: FloatFormat, name: string, ...holdsFor: Relation[]): VectorRow =>
  lanewise(format, name, (a, b) => (holdsFor.includes(compare(format, toNearest, a, b, 'quiet').relation) ? -1n : 0n));

const unary = (text: string, from: number, to: number, of: (a: bigint) => bigint): VectorRow => ({
  arguments: [128],
  result: 128,
  text,
  evaluate: ([a = 0n]) =>
    fromLanes(
      to,
      lanesOf(from, a)
        .slice(0, 128 / to)
        .map(of),
    ),
});
const root = (format: FloatFormat): VectorRow =>
  unary(`SquareRoots${typeName(format)}`, format.width, format.width, (a) => squareRoot(format, toNearest, a).bits);
const integral = (format: FloatFormat, name: string, rounding: RoundingMode): VectorRow =>
  unary(
    name + typeName(format),
    format.width,
    format.width,
    (a) => roundToIntegral(format, environmentOf(rounding), a).bits,
  );

/** Towards zero; beyond the integers the nearest one, 0 for a NaN. */
function saturated(format: FloatFormat, a: bigint): bigint {
  const wide = toInteger(format, environmentOf(RoundingMode.Zero), a, { width: 64, signed: true });
  const zero = compare(format, toNearest, a, 0n, 'quiet').relation;
  if (zero === 'unordered') return 0n;
  const value = wide.exceptions & 1 ? (zero === 'less' ? -(2n ** 63n) : 2n ** 63n) : BigInt.asIntN(64, wide.bits);
  return value < -(2n ** 31n) ? -(2n ** 31n) : value >= 2n ** 31n ? 2n ** 31n - 1n : value;
}

const isLess = (format: FloatFormat, a: bigint, b: bigint): boolean =>
  compare(format, toNearest, a, b, 'quiet').relation === 'less';

export const floatOperations = {
  'f32x4.add': binary(binary32, 'Add', add),
  'f64x2.add': binary(binary64, 'Add', add),
  'f32x4.sub': binary(binary32, 'Subtract', subtract),
  'f64x2.sub': binary(binary64, 'Subtract', subtract),
  'f32x4.mul': binary(binary32, 'Multiply', multiply),
  'f64x2.mul': binary(binary64, 'Multiply', multiply),
  'f32x4.div': binary(binary32, 'Divide', divide),
  'f64x2.div': binary(binary64, 'Divide', divide),
  'f32x4.sqrt': root(binary32),
  'f64x2.sqrt': root(binary64),
  'f32x4.pmin': lanewise(binary32, 'PseudoMinimum', (a, b) => (isLess(binary32, b, a) ? b : a)),
  'f64x2.pmin': lanewise(binary64, 'PseudoMinimum', (a, b) => (isLess(binary64, b, a) ? b : a)),
  'f32x4.pmax': lanewise(binary32, 'PseudoMaximum', (a, b) => (isLess(binary32, a, b) ? b : a)),
  'f64x2.pmax': lanewise(binary64, 'PseudoMaximum', (a, b) => (isLess(binary64, a, b) ? b : a)),
  'f32x4.eq': relation(binary32, 'Equal', 'equal'),
  'f64x2.eq': relation(binary64, 'Equal', 'equal'),
  'f32x4.ne': relation(binary32, 'NotEqual', 'less', 'greater', 'unordered'),
  'f64x2.ne': relation(binary64, 'NotEqual', 'less', 'greater', 'unordered'),
  'f32x4.lt': relation(binary32, 'Less', 'less'),
  'f64x2.lt': relation(binary64, 'Less', 'less'),
  'f32x4.le': relation(binary32, 'LessOrEqual', 'less', 'equal'),
  'f64x2.le': relation(binary64, 'LessOrEqual', 'less', 'equal'),
  'f32x4.nearest': integral(binary32, 'RoundToNearest', RoundingMode.Nearest),
  'f64x2.nearest': integral(binary64, 'RoundToNearest', RoundingMode.Nearest),
  'f32x4.floor': integral(binary32, 'RoundDown', RoundingMode.Down),
  'f64x2.floor': integral(binary64, 'RoundDown', RoundingMode.Down),
  'f32x4.ceil': integral(binary32, 'RoundUp', RoundingMode.Up),
  'f64x2.ceil': integral(binary64, 'RoundUp', RoundingMode.Up),
  'f32x4.trunc': integral(binary32, 'Truncate', RoundingMode.Zero),
  'f64x2.trunc': integral(binary64, 'Truncate', RoundingMode.Zero),

  'f32x4.convert_i32x4_s': unary(
    'DwordsToSingles',
    32,
    32,
    (a) => fromInteger(binary32, toNearest, BigInt.asIntN(32, a)).bits,
  ),
  'f64x2.convert_low_i32x4_s': unary(
    'LowDwordsToDoubles',
    32,
    64,
    (a) => fromInteger(binary64, toNearest, BigInt.asIntN(32, a)).bits,
  ),
  'f64x2.convert_low_i32x4_u': unary(
    'LowUnsignedDwordsToDoubles',
    32,
    64,
    (a) => fromInteger(binary64, toNearest, a).bits,
  ),
  'f64x2.promote_low_f32x4': unary(
    'LowSinglesToDoubles',
    32,
    64,
    (a) => convert(binary32, binary64, toNearest, a).bits,
  ),
  'f32x4.demote_f64x2_zero': unary('DoublesToSingles', 64, 32, (a) => convert(binary64, binary32, toNearest, a).bits),
  'i32x4.trunc_sat_f32x4_s': unary('SinglesToDwords', 32, 32, (a) => saturated(binary32, a)),
  'i32x4.trunc_sat_f64x2_s_zero': unary('DoublesToDwords', 64, 32, (a) => saturated(binary64, a)),
} as const satisfies Readonly<Record<string, VectorRow>>;
