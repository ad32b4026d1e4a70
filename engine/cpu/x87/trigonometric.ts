/** FSIN, FCOS, FSINCOS, FPTAN, and the reduction of their arguments. */
import { exactResult, type FloatEnvironment, type FloatResult } from '../../float/environment.ts';
import { extended80 } from '../../float/format.ts';
import { invalidOperation, propagateNaN } from '../../float/nan.ts';
import { roundAndPack } from '../../float/round.ts';
import {
  denormalException,
  type Finite,
  isNotANumber,
  topExponent,
  type Unpacked,
  unpack,
} from '../../float/unpack.ts';
import type { SystemInstruction } from '../instruction.ts';
import type { Processor } from '../processor.ts';
import { deliver, fullPrecision } from './arithmetic.ts';
import { cosine, sine } from './elementary-functions.ts';
import { FSW, INDEFINITE, isEmpty, readStack, writeStack } from './register-stack.ts';
import { beside, fixed, irrational, precisionFor, TINY } from './transcendental.ts';
import { raise, setPointers, stackOverflow, stackUnderflow, waiting } from './x87-instruction.ts';

/** π/2 with the 66 bits that argument reduction uses (SDM volume 1, "Approximation of Pi"), in units of 2^-67. */
const HALF_PI = 0xc_90fd_aa22_168c_234cn;
const UNIT = -67;
/** Arguments from 2^63 on are out of range. */
const RANGE = 63;

interface Reduced {
  /** Multiples of π/2 taken away, modulo 4. */
  readonly quadrant: number;
  /** What is left: between -π/4 and π/4. */
  readonly rest: Finite;
}

function reduce(x: Finite): Reduced {
  if (topExponent(x) < -1) return { quadrant: 0, rest: x };
  const units = fixed(x, -UNIT);
  const multiple = floorDivide(2n * units + HALF_PI, 2n * HALF_PI);
  const left = units - multiple * HALF_PI;
  const rest = { negative: left < 0n, exponent: UNIT, significand: left < 0n ? -left : left };
  return { quadrant: Number(BigInt.asUintN(2, multiple)), rest };
}

/** Rounds downwards; `b` is positive. */
const floorDivide = (a: bigint, b: bigint): bigint => (a >= 0n ? a / b : -((-a + b - 1n) / b));

const negate = (value: Finite, when: boolean): Finite => (when ? { ...value, negative: !value.negative } : value);

/** A function of the rest, close to 0 and elsewhere. */
function sineOf(rest: Finite): Finite {
  const top = topExponent(rest);
  if (top < TINY) return beside(rest, 'below');
  const precision = precisionFor(top);
  const units = sine(fixed({ ...rest, negative: false }, precision), BigInt(precision));
  return { ...irrational(units, precision), negative: rest.negative };
}

const ONE: Finite = { negative: false, exponent: 0, significand: 1n };

function cosineOf(rest: Finite): Finite {
  if (topExponent(rest) < TINY) return beside(ONE, 'below');
  const precision = precisionFor(topExponent(rest));
  return irrational(cosine(fixed({ ...rest, negative: false }, precision), BigInt(precision)), precision);
}

function tangentOf(quadrant: number, rest: Finite): Finite {
  const top = topExponent(rest);
  const isInverse = quadrant % 2 === 1;
  if (top < TINY && !isInverse) return beside(rest, 'above');
  const precision = precisionFor(top);
  const r = fixed({ ...rest, negative: false }, precision);
  const [sin, cos] = [sine(r, BigInt(precision)), cosine(r, BigInt(precision))];
  const units = isInverse ? (cos << BigInt(precision)) / sin : (sin << BigInt(precision)) / cos;
  return { ...irrational(units, precision), negative: rest.negative !== isInverse };
}

const sin = ({ quadrant, rest }: Reduced): Finite =>
  negate(quadrant % 2 === 0 ? sineOf(rest) : cosineOf(rest), quadrant >= 2);
const cos = ({ quadrant, rest }: Reduced): Finite =>
  negate(quadrant % 2 === 0 ? cosineOf(rest) : sineOf(rest), quadrant === 1 || quadrant === 2);
const tan = ({ quadrant, rest }: Reduced): Finite => tangentOf(quadrant, rest);

interface Trigonometric {
  of(reduced: Reduced): Finite;
  /** The value at a zero of this sign. */
  atZero(zero: bigint): bigint;
}

const SINE: Trigonometric = { of: sin, atZero: (zero) => zero };
const TANGENT: Trigonometric = { of: tan, atZero: (zero) => zero };
const COSINE: Trigonometric = { of: cos, atZero: () => POSITIVE_ONE };
const POSITIVE_ONE = 0x3fff_8000_0000_0000_0000n;

function evaluate(environment: FloatEnvironment, { of, atZero }: Trigonometric, x: Unpacked): FloatResult {
  if (isNotANumber(x)) return propagateNaN(extended80, environment, x);
  if (x.class === 'infinity') return invalidOperation(extended80);
  if (x.class === 'zero') return exactResult(atZero(x.bits));
  const result = roundAndPack(extended80, environment, of(reduce(x)));
  return { ...result, exceptions: result.exceptions | denormalException(x) };
}

/** C2 says that the argument is out of range; then nothing else happens. */
function isOutOfRange({ state }: Processor, x: Unpacked): boolean {
  state.fsw &= ~FSW.C2;
  if (isNotANumber(x) || x.class === 'zero' || x.class === 'infinity' || topExponent(x) < RANGE) return false;
  state.fsw = (state.fsw & ~FSW.C1) | FSW.C2;
  return true;
}

const single = (kind: Trigonometric): SystemInstruction =>
  waiting((cpu, insn) => {
    const { state } = cpu;
    setPointers(cpu, insn);
    if (isEmpty(state, 0)) {
      state.fsw &= ~FSW.C2;
      if (stackUnderflow(cpu)) writeStack(state, 0, INDEFINITE);
      return;
    }
    const x = unpack(extended80, readStack(state, 0));
    if (isOutOfRange(cpu, x)) return;
    const result = evaluate(fullPrecision(state.fcw), kind, x);
    if (raise(cpu, result.exceptions, result.roundedUp)) writeStack(state, 0, result.bits);
  });

export const FSIN = single(SINE);
export const FCOS = single(COSINE);

/** One result in ST(0), and another one pushed; both are the NaN if the argument is one. */
const double = (below: Trigonometric, above: (environment: FloatEnvironment, x: Unpacked) => FloatResult) =>
  waiting((cpu, insn) => {
    const { state } = cpu;
    setPointers(cpu, insn);
    if (isEmpty(state, 0) || !isEmpty(state, 7)) {
      state.fsw &= ~FSW.C2;
      const masked = isEmpty(state, 0) ? stackUnderflow(cpu) : stackOverflow(cpu);
      if (masked) deliver(cpu, INDEFINITE, INDEFINITE);
      return;
    }
    const x = unpack(extended80, readStack(state, 0));
    if (isOutOfRange(cpu, x)) return;
    const environment = fullPrecision(state.fcw);
    const [first, second] = [evaluate(environment, below, x), above(environment, x)];
    const isDelivered = raise(cpu, first.exceptions | second.exceptions, first.roundedUp);
    if (isDelivered) deliver(cpu, first.bits, second.bits);
  });

export const FSINCOS = double(SINE, (environment, x) => evaluate(environment, COSINE, x));

/** FPTAN pushes 1, as the 8087 gave a ratio. */
export const FPTAN = double(TANGENT, (environment, x) => {
  if (isNotANumber(x) || x.class === 'infinity') return evaluate(environment, TANGENT, x);
  return exactResult(POSITIVE_ONE);
});
