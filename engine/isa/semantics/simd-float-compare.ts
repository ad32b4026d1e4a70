/** Comparisons of SIMD floating-point numbers (SDM volume 1, "SSE Comparison Instructions"). */
import { constant, type Expr } from '../../expr/expr.ts';
import type { Shortcut } from '../../expr/pure-function.ts';
import { compare, type Relation } from '../../float/compare.ts';
import type { FloatEnvironment } from '../../float/environment.ts';
import type { FloatFormat } from '../../float/format.ts';
import { floatFunction, type LaneOperation } from '../floating-point/functions.ts';
import { type FloatLanes, notOrdinary, whatever } from '../floating-point/shortcuts.ts';
import type { Operand } from '../operand.ts';
import type { Semantics } from '../semantics-builder.ts';
import { callFloatOnce, double, type LaneArithmetic, type LaneType, packed, scalar, single } from './simd-float.ts';
import { readLow } from './vector-operands.ts';

type Kind = 'quiet' | 'signalling';
interface Predicate {
  readonly name: string;
  readonly holdsFor: readonly Relation[];
  readonly kind: Kind;
}

const all: readonly Relation[] = ['less', 'equal', 'greater', 'unordered'];
const allBut = (...excluded: Relation[]) => all.filter((relation) => !excluded.includes(relation));

/**
 * The first sixteen predicates, by their number (SDM volume 2, "Comparison Predicate for VCMPPD and VCMPPS Instructions");
 * the others are the same with quiet and signalling exchanged. Legacy encodings have the first eight.
 */
const predicates: readonly (readonly [name: string, holdsFor: readonly Relation[], kind: Kind])[] = [
  ['Equal', ['equal'], 'quiet'],
  ['Less', ['less'], 'signalling'],
  ['LessOrEqual', ['less', 'equal'], 'signalling'],
  ['Unordered', ['unordered'], 'quiet'],
  ['NotEqual', allBut('equal'), 'quiet'],
  ['NotLess', allBut('less'), 'signalling'],
  ['NotLessOrEqual', allBut('less', 'equal'), 'signalling'],
  ['Ordered', allBut('unordered'), 'quiet'],
  ['EqualOrUnordered', ['equal', 'unordered'], 'quiet'],
  ['NotGreaterOrEqual', allBut('greater', 'equal'), 'signalling'],
  ['NotGreater', allBut('greater'), 'signalling'],
  ['False', [], 'quiet'],
  ['NotEqualAndOrdered', ['less', 'greater'], 'quiet'],
  ['GreaterOrEqual', ['greater', 'equal'], 'signalling'],
  ['Greater', ['greater'], 'signalling'],
  ['True', all, 'quiet'],
];

function predicateOf(number: number): Predicate {
  const [name, holdsFor, kind] = predicates[number & 15] as (typeof predicates)[number];
  const exchanged = (number & 16) !== 0;
  const actual = exchanged ? (kind === 'quiet' ? 'signalling' : 'quiet') : kind;
  const prefix = actual === 'quiet' ? 'Quiet' : 'Signalling';
  return { name: prefix + name, holdsFor, kind: actual };
}

/** Ones in the lanes for which the relation is one of these, of numbers. */
function ofNumbers(lanes: FloatLanes, relations: readonly Relation[], a: Expr<128>, b: Expr<128>): Expr<128> {
  const [less, equal, greater] = (['less', 'equal', 'greater'] as const).map((each) => relations.includes(each));
  if (less && greater) return equal ? constant(128, -1n) : lanes.binary('ne', a, b);
  if (less) return lanes.binary(equal ? 'le' : 'lt', a, b);
  if (greater) return lanes.binary(equal ? 'le' : 'lt', b, a);
  return equal ? lanes.binary('eq', a, b) : constant(128, 0);
}

/** Ones in the lanes for which the predicate holds, else zeros. */
const comparison = ({ name, holdsFor, kind }: Predicate): LaneArithmetic => ({
  name,
  operands: 2,
  shortcut: (lanes, a, b) => ({
    value: ofNumbers(lanes, holdsFor, a as Expr<128>, b as Expr<128>),
    unsure: notOrdinary(lanes, a as Expr<128>, b as Expr<128>),
    control: whatever,
  }),
  of:
    (format) =>
    (environment, [a = 0n, b = 0n]) => {
      const { relation, exceptions } = compare(format, environment, a, b, kind);
      return { bits: holdsFor.includes(relation) ? -1n : 0n, exceptions };
    },
});

const withPredicate =
  (form: typeof packed, type: LaneType) =>
  (m: Semantics, ...operands: Operand[]): void => {
    const predicate = operands[operands.length - 1]?.constant ?? 0;
    const arithmetic = comparison(predicateOf(m.sizes.vex ? predicate & 31 : predicate & 7));
    form(type, arithmetic)(m, ...operands.slice(0, -1));
  };

/** CMPPS, CMPPD, CMPSS, CMPSD — Compare. DEST := ones where SRC1 predicate SRC2, zeros elsewhere. */
export const CMPPS = withPredicate(packed, single);
export const CMPPD = withPredicate(packed, double);
export const CMPSS = withPredicate(scalar, single);
export const CMPSD = withPredicate(scalar, double);

const CF = 1n;
const PF = 2n;
const ZF = 4n;
const flagsOf: Readonly<Record<Relation, bigint>> = { less: CF, equal: ZF, greater: 0n, unordered: CF | PF | ZF };

const orderedComparison = (type: LaneType, kind: Kind) => {
  const operation: LaneOperation = (environment: FloatEnvironment, [a = 0n, b = 0n]) => {
    const { relation, exceptions } = compare(type.format as FloatFormat, environment, a, b, kind);
    return { bits: flagsOf[relation], exceptions };
  };
  const lanes = { bits: type.bits, lane: type.bits };
  const name = `Flags${kind === 'quiet' ? 'Quiet' : 'Signalling'}${type.name}`;
  const of = floatFunction({ name, operands: 2, from: lanes, to: { bits: 32, lane: 32 } }, operation);
  return (m: Semantics, first: Operand, second: Operand): void => {
    const operands = [readLow(m, first, type.bits), readLow(m, second, type.bits)];
    const [flags] = callFloatOnce(m, of, operands, flagsOfNumbers(m, type, operands));
    const bit = (index: number): Expr<1> => (flags as Expr<32>).bit(index);
    const clear = constant(1, 0);
    m.setFlags({ CF: bit(0), PF: bit(1), ZF: bit(2), OF: clear, SF: clear, AF: clear });
  };
};

function flagsOfNumbers(m: Semantics, { lanes, bits }: LaneType, operands: readonly Expr[]): Shortcut {
  const { scalar: numbers } = lanes;
  const [a, b] = operands.map((operand) => operand.zeroExtend(128)) as [Expr<128>, Expr<128>];
  const flag = (mask: Expr<128>, value: bigint) => mask.truncate(32).and(constant(32, value));
  const flags = flag(numbers.binary('lt', a, b), CF).or(flag(numbers.binary('eq', a, b), ZF));
  return { condition: notOrdinary(numbers, a, b).truncate(bits).isZero(), values: [flags, m.state('mxcsr')] };
}

/** COMISS, COMISD — Compare Ordered Scalar and Set EFLAGS; any NaN is invalid. */
export const COMISS = orderedComparison(single, 'signalling');
export const COMISD = orderedComparison(double, 'signalling');
/** UCOMISS, UCOMISD — Compare Unordered Scalar and Set EFLAGS; a signalling NaN is invalid. */
export const UCOMISS = orderedComparison(single, 'quiet');
export const UCOMISD = orderedComparison(double, 'quiet');
