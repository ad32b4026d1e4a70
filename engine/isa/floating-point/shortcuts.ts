/**
 * When WebAssembly's own operations give what an instruction would: rounding is to nearest, and the only exception that can be
 * met, an inexact result, is masked and has been reported before, so that MXCSR stays as it is. That is so for operands that
 * are normal numbers or zeros, and results that are normal, larger than the smallest normal number (as one that is not may
 * have been rounded up from a tiny one), or zeros that are exact. DAZ, FTZ and the other masks then do not matter.
 */
import { constant, type Expr, vector } from '../../expr/expr.ts';
import type { Shortcut } from '../../expr/pure-function.ts';
import type { VectorOp } from '../../expr/vector-operations.ts';
import type { FloatFormat } from '../../float/format.ts';

/** A result of all lanes, and where it need not be that of the instruction: lanes that are not zero. */
export interface LaneShortcut {
  readonly value: Expr<128>;
  readonly unsure: Expr<128>;
  /** What MXCSR must be for it. */
  readonly control: MxcsrControl;
  /** Not zero where the result may be inexact, if that is told cheaply: where it is not, MXCSR does not matter. */
  readonly inexact?: Expr<128>;
}

/** MXCSR AND mask = value. */
export interface MxcsrControl {
  readonly mask: number;
  readonly value: number;
}
const PRECISION_FLAG = 0x20;
const PRECISION_MASK = 0x1000;
const ROUNDING_CONTROL = 0x6000;
const INEXACT_IS_NO_NEWS = PRECISION_FLAG | PRECISION_MASK;
/** Inexact results, rounded to nearest. */
export const toNearest: MxcsrControl = { mask: ROUNDING_CONTROL | INEXACT_IS_NO_NEWS, value: INEXACT_IS_NO_NEWS };
/** Inexact results, rounded in a way that does not depend on MXCSR. */
export const inexact: MxcsrControl = { mask: INEXACT_IS_NO_NEWS, value: INEXACT_IS_NO_NEWS };
/** Exact results, or ones of which nothing is reported, rounded to nearest. */
export const roundingToNearest: MxcsrControl = { mask: ROUNDING_CONTROL, value: 0 };
/** Exact results. */
export const whatever: MxcsrControl = { mask: 0, value: 0 };

/**
 * The shortcut of a call whose arguments end with MXCSR: of all lanes (128), or of the lowest one of so many bits. `width` is
 * that of a result, if several lanes make a narrower one.
 */
export function shortcutOf(
  halves: readonly LaneShortcut[],
  lanes: 32 | 64 | 128,
  mxcsr: Expr<32>,
  width: 32 | 64 | 128 = lanes,
): Shortcut {
  const { mask, value } = (halves[0] as LaneShortcut).control;
  const nowhere = (marks: readonly Expr<128>[]): Expr<1> => {
    const all = anyOf(...marks);
    return (lanes === 128 ? all : all.truncate(lanes)).isZero();
  };
  const sure = nowhere(halves.map(({ unsure }) => unsure));
  const control = mxcsr.and(constant(32, mask)).eq(constant(32, value));
  const inexactLanes = halves.flatMap((half) => half.inexact ?? []);
  const allowed = inexactLanes.length === 0 ? control : control.or(nowhere(inexactLanes));
  const results = halves.map((half) => (width === 128 ? half.value : half.value.truncate(width)));
  return { condition: mask === 0 ? sure : allowed.and(sure), values: [...results, mxcsr] };
}

export type ShortcutOf = (lanes: FloatLanes, ...operands: readonly Expr<128>[]) => LaneShortcut;

/** Operations on lanes of a type. */
export class FloatLanes {
  readonly bits: 32 | 64;
  /** Whether only the lowest lane matters. */
  readonly extent: 'packed' | 'scalar';
  readonly #shape: 'f32x4' | 'f64x2';
  readonly #magnitude: Expr<128>;
  readonly #smallestNormal: Expr<128>;
  readonly #infinity: Expr<128>;

  constructor(format: FloatFormat, extent: 'packed' | 'scalar') {
    this.extent = extent;
    this.bits = format.width as 32 | 64;
    this.#shape = this.bits === 32 ? 'f32x4' : 'f64x2';
    this.#magnitude = this.everyLane(format.signBit - 1n);
    this.#smallestNormal = this.everyLane(format.encode(false, 1, 0n));
    this.#infinity = this.everyLane(format.infinity(false));
  }

  everyLane(value: bigint): Expr<128> {
    let all = 0n;
    for (let at = 0; at < 128; at += this.bits) all |= value << BigInt(at);
    return constant(128, all);
  }

  binary(
    operation: 'add' | 'sub' | 'mul' | 'div' | 'eq' | 'ne' | 'lt' | 'le' | 'pmin' | 'pmax',
    a: Expr<128>,
    b: Expr<128>,
  ) {
    return vector(`${this.#shape}.${operation}` satisfies VectorOp, [a, b]);
  }
  unary(operation: 'sqrt' | 'nearest' | 'floor' | 'ceil' | 'trunc', a: Expr<128>): Expr<128> {
    return vector(`${this.#shape}.${operation}` satisfies VectorOp, [a]);
  }
  select(mask: Expr<128>, a: Expr<128>, b: Expr<128>): Expr<128> {
    return vector('v128.bitselect', [a, b, mask]);
  }

  magnitude(a: Expr<128>): Expr<128> {
    return a.and(this.#magnitude);
  }
  isNotZero(a: Expr<128>): Expr<128> {
    return this.binary('ne', a, constant(128, 0));
  }
  isNaN(a: Expr<128>): Expr<128> {
    return this.binary('ne', a, a);
  }
  isDenormal(a: Expr<128>): Expr<128> {
    return this.binary('lt', this.magnitude(a), this.#smallestNormal).and(this.isNotZero(a));
  }
  /** Neither infinite nor a NaN. */
  isFinite(a: Expr<128>): Expr<128> {
    return this.binary('lt', this.magnitude(a), this.#infinity);
  }
  /** Zero, denormal, or the smallest normal number. */
  isSmall(a: Expr<128>): Expr<128> {
    return this.binary('le', this.magnitude(a), this.#smallestNormal);
  }
}

const anyOf = (...masks: readonly Expr<128>[]): Expr<128> => masks.reduce((all, mask) => all.or(mask));

/** Tiny sums are exact, but with FTZ they would become zeros. */
const sumLike =
  (operation: 'add' | 'sub'): ShortcutOf =>
  (lanes, a, b) => {
    const value = lanes.binary(operation, a as Expr<128>, b as Expr<128>);
    const denormals = [a, b, value].map((operand) => lanes.isDenormal(operand as Expr<128>));
    return { value, unsure: anyOf(lanes.isFinite(value).not(), ...denormals), control: toNearest };
  };
export const sum = sumLike('add');
export const difference = sumLike('sub');

/** A small product is right only if a factor is zero. */
export const product: ShortcutOf = (lanes, a, b) => {
  const [left, right] = [a, b] as [Expr<128>, Expr<128>];
  const value = lanes.binary('mul', left, right);
  const small = lanes.isSmall(value).and(lanes.isNotZero(left)).and(lanes.isNotZero(right));
  const unsure = anyOf(lanes.isFinite(value).not(), small, lanes.isDenormal(left), lanes.isDenormal(right));
  return { value, unsure, control: toNearest };
};

/** A small quotient is right only if the dividend is zero. */
export const quotient: ShortcutOf = (lanes, a, b) => {
  const [left, right] = [a, b] as [Expr<128>, Expr<128>];
  const value = lanes.binary('div', left, right);
  const small = lanes.isSmall(value).and(lanes.isNotZero(left));
  const unsure = anyOf(lanes.isFinite(value).not(), small, lanes.isDenormal(left), lanes.isDenormal(right));
  return { value, unsure, control: toNearest };
};

export const root: ShortcutOf = (lanes, a) => {
  const value = lanes.unary('sqrt', a as Expr<128>);
  const unsure = lanes
    .isFinite(value)
    .not()
    .or(lanes.isDenormal(a as Expr<128>));
  return { value, unsure, control: toNearest };
};

const selection =
  (operation: 'pmin' | 'pmax'): ShortcutOf =>
  (lanes, a, b) => {
    const [first, second] = [a, b] as [Expr<128>, Expr<128>];
    // WebAssembly gives its first operand unless the second is less (greater), the instruction its second.
    return {
      value: lanes.binary(operation, second, first),
      unsure: notOrdinary(lanes, first, second),
      control: whatever,
    };
  };
export const least = selection('pmin');
export const greatest = selection('pmax');

/** NaNs and denormals, which a comparison reports. */
export const notOrdinary = (lanes: FloatLanes, ...operands: readonly Expr<128>[]): Expr<128> =>
  anyOf(...operands.flatMap((operand) => [lanes.isNaN(operand), lanes.isDenormal(operand)]));
