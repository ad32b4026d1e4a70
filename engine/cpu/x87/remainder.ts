/** FPREM and FPREM1: the partial remainder. */
import { exactResult, type FloatEnvironment, type FloatResult } from '../../float/environment.ts';
import { extended80 } from '../../float/format.ts';
import { invalidOperation, propagateNaN } from '../../float/nan.ts';
import { roundAndPack } from '../../float/round.ts';
import { denormalException, isNotANumber, topExponent, type Unpacked, unpack } from '../../float/unpack.ts';
import type { SystemInstruction } from '../instruction.ts';
import type { CpuState } from '../state.ts';
import { fullPrecision } from './arithmetic.ts';
import { FSW, INDEFINITE, readStack, writeStack } from './register-stack.ts';
import { hasEmpty, raise, setPointers, stackUnderflow, waiting } from './x87-instruction.ts';

/** How the last quotient is rounded: FPREM cuts, FPREM1 rounds to the nearest, as IEEE 754 wants it. */
type Quotient = 'cut' | 'nearest';

interface Remainder {
  readonly result: FloatResult;
  /** The three lowest bits of the quotient; `partial` where the reduction is not complete, undefined where there is none. */
  readonly quotient: number | 'partial' | undefined;
}

const remainderInstruction = (kind: Quotient): SystemInstruction =>
  waiting((cpu, insn) => {
    const { state } = cpu;
    setPointers(cpu, insn);
    state.fsw &= ~FSW.C2;
    if (hasEmpty(state, 0, 1)) {
      if (stackUnderflow(cpu)) writeStack(state, 0, INDEFINITE);
      return;
    }
    const { result, quotient } = remainder(fullPrecision(state.fcw), kind, readStack(state, 0), readStack(state, 1));
    if (!raise(cpu, result.exceptions, false)) return;
    writeStack(state, 0, result.bits);
    if (quotient !== undefined) setQuotient(state, quotient);
  });

/** C0, C3 and C1 get the lowest bits of the quotient, C2 whether there is more to be done. */
function setQuotient(state: CpuState, quotient: number | 'partial'): void {
  const bits = quotient === 'partial' ? 0 : quotient;
  const conditions = (bits & 4 ? FSW.C0 : 0) | (bits & 2 ? FSW.C3 : 0) | (bits & 1 ? FSW.C1 : 0);
  const kept = state.fsw & ~(FSW.C0 | FSW.C1 | FSW.C2 | FSW.C3);
  state.fsw = kept | conditions | (quotient === 'partial' ? FSW.C2 : 0);
}

export const FPREM = remainderInstruction('cut');
export const FPREM1 = remainderInstruction('nearest');

const withoutQuotient = (result: FloatResult): Remainder => ({ result, quotient: undefined });

function remainder(environment: FloatEnvironment, kind: Quotient, aBits: bigint, bBits: bigint): Remainder {
  const [a, b] = [unpack(extended80, aBits), unpack(extended80, bBits)];
  if (isNotANumber(a) || isNotANumber(b)) return withoutQuotient(propagateNaN(extended80, environment, a, b));
  if (a.class === 'infinity' || b.class === 'zero') return withoutQuotient(invalidOperation(extended80));
  const denormal = denormalException(a, b);
  if (a.class === 'zero' || b.class === 'infinity') return { result: exactResult(a.bits, denormal), quotient: 0 };
  const reduced = reduce(kind, a, b);
  const result =
    reduced.significand === 0n
      ? exactResult(extended80.zero(a.negative))
      : roundAndPack(extended80, environment, reduced);
  return { result: { ...result, exceptions: result.exceptions | denormal }, quotient: reduced.quotient };
}

interface Reduced {
  readonly negative: boolean;
  readonly exponent: number;
  readonly significand: bigint;
  readonly quotient: number | 'partial';
}

/** Where the exponents are further apart than this, the reduction is partial (SDM volume 2, FPREM). */
const COMPLETE_BELOW = 64;

function reduce(kind: Quotient, a: Unpacked, b: Unpacked): Reduced {
  const distance = topExponent(a) - topExponent(b);
  if (distance >= COMPLETE_BELOW) return reducePartly(a, b, distance);
  // Two bits below both operands: the smaller operand is never below half of the larger one's last bit then.
  const exponent = Math.min(a.exponent, b.exponent);
  const dividend = distance < -2 ? undefined : a.significand << BigInt(a.exponent - exponent);
  if (dividend === undefined) return { ...a, quotient: 0 };
  const divisor = b.significand << BigInt(b.exponent - exponent);
  const quotient = dividend / divisor;
  const rest = dividend - quotient * divisor;
  const goesUp = kind === 'nearest' && (2n * rest > divisor || (2n * rest === divisor && (quotient & 1n) === 1n));
  if (!goesUp) return { negative: a.negative, exponent, significand: rest, quotient: Number(quotient & 7n) };
  return { negative: !a.negative, exponent, significand: divisor - rest, quotient: Number((quotient + 1n) & 7n) };
}

/** Takes 32 to 63 bits of the quotient away. */
function reducePartly(a: Unpacked, b: Unpacked, distance: number): Reduced {
  const taken = (distance & 31) | 32;
  const step = distance - taken;
  const exponent = Math.min(a.exponent, b.exponent + step);
  const dividend = a.significand << BigInt(a.exponent - exponent);
  const divisor = b.significand << BigInt(b.exponent + step - exponent);
  return { negative: a.negative, exponent, significand: dividend % divisor, quotient: 'partial' };
}
