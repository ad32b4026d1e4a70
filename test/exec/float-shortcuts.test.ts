/**
 * Floating-point instructions where WebAssembly's own operations do: with MXCSR as ordinary programs have it, the interpreter
 * must give what the definition gives, for ordinary numbers and for those at the edges where the definition has to step in.
 */
import { describe, expect, test } from 'vitest';
import { decodeOne } from '../../engine/isa/decode.ts';
import { formOf } from '../../engine/isa/form.ts';
import { runOracle } from '../../engine/isa/oracle.ts';
import { VectorMachine as OracleVectorMachine } from '../isa/vector-machine.ts';
import { extendedDifferences } from '../support/extended-state.ts';
import { type Random, random } from '../support/random.ts';
import { VectorMachine } from '../support/vector-machine.ts';
import { copyExtendedState } from '../vectors/extended-state.ts';
import { readVectors, type Vector } from '../vectors/read-vectors.ts';

const INPUTS_PER_FORM = 16;
/** So that F16C's few forms meet all rounding controls. */
const LEAST_INPUTS = 800;
/** Inexact results reported before, rounding to nearest; the same with DAZ and FTZ, with other rounding, with nothing reported. */
const CONTROLS = [0x1fa0, 0x1fa0, 0x1fa0, 0x1fbf, 0x9fe0, 0x3fa0, 0x1f80];

/** Exponents at which something ends, or products and quotients come to an end. */
const EDGES = [0, 0, 1, 2, 63, 64, 64, 190, 254, 255];
const DOUBLE_EDGES: Readonly<Record<number, number>> = {
  0: 0,
  1: 1,
  2: 2,
  63: 511,
  64: 512,
  190: 1534,
  254: 2046,
  255: 2047,
};

/** Mostly numbers of a few digits, whose results are exact, halfway or close by; now and then one at an edge. */
function single(next: Random): number {
  const sign = next(2) ? 0x8000_0000 : 0;
  const fraction = [0, 0x40_0000, 1, 0x7f_ffff, next(0x80) << 16, next(0x800) << 12, next(0x80_0000)][
    next(7)
  ] as number;
  const exponent = next(4) ? 120 + next(24) : (EDGES[next(EDGES.length)] as number);
  return (sign | (exponent << 23) | fraction) >>> 0;
}
function double(next: Random): bigint {
  const high = single(next);
  const exponent = (high >> 23) & 0xff;
  const wide = (next(2) ? DOUBLE_EDGES[exponent] : undefined) ?? exponent + 896;
  const top = ((high & 0x8000_0000) | (wide << 20) | ((high & 0x7f_ffff) >> 3)) >>> 0;
  return (BigInt(top) << 32n) | BigInt(next(2) ? 0 : next(0x1_0000_0000));
}
function half(next: Random, isDouble: boolean): bigint {
  if (isDouble) return double(next) | (double(next) << 64n);
  return [0n, 32n, 64n, 96n].reduce((value, at) => value | (BigInt(single(next)) << at), 0n);
}

/** Numbers of half precision, and a NaN in one of sixteen vectors. */
function halfPrecision(next: Random): bigint {
  let value = 0n;
  for (let at = 0n; at < 128n; at += 16n) {
    const infinite = next(16) === 0;
    const field = infinite ? (next(8) ? 0x7c00 : 0x7c01 + next(0x3ff)) : next(2) ? next(0x7c00) : next(0x400);
    value |= BigInt(field | (next(2) << 15)) << at;
  }
  return value;
}

/** A vector's instruction with other contents of all registers. */
function withInput(vector: Vector, next: Random): Vector {
  const isHalf = /ph2ps/i.test(vector.name);
  const isDouble = /[sp]d|pd2|sd2/i.test(vector.name.replace(/^V?cvt(dq|ps|ss|si)2/i, ''));
  const extended = copyExtendedState(vector.input.extended);
  for (let n = 0; n < 16; n++) {
    extended.xmm[n] = isHalf ? halfPrecision(next) : half(next, isDouble);
    extended.ymmHigh[n] = half(next, isDouble);
  }
  extended.mxcsr = CONTROLS[next(CONTROLS.length)] as number;
  const gpr = vector.input.gpr.map((value, n) => (n === 4 ? value : BigInt(next(0x4000_0000)) << BigInt(next(34))));
  return { ...vector, input: { ...vector.input, extended, gpr } };
}

describe('hardware operations stand in only where they do the same', () => {
  const interpreter = new VectorMachine(64, { hotAfter: Number.POSITIVE_INFINITY, watchedBlocks: 1 });
  test.each(['64-sse-float', '64-avx-float', '64-fma', '64-f16c'])('%s', (group) => {
    const forms = new Map(
      [...readVectors(group)]
        .filter((v) => !v.disassembly.includes('['))
        .map((v) => [group.endsWith('f16c') ? v.disassembly : v.name, v]),
    );
    expect(forms.size).toBeGreaterThan(3);
    for (const vector of forms.values()) {
      const next = random(vector.name.length * 7919 + vector.name.charCodeAt(4));
      for (let n = 0; n < Math.max(INPUTS_PER_FORM, LEAST_INPUTS / forms.size); n++) {
        const input = withInput(vector, next);
        const oracle = new OracleVectorMachine(input);
        const instruction = decodeOne(input.bytes, 64, Number(input.input.rip));
        const form = instruction && formOf(instruction, 64);
        if (!form) throw new Error(`${vector.name} has no semantics`);
        runOracle(form.operation, instruction, oracle);
        const { extended, gpr, flags } = interpreter.run(input);
        const found = { different: extendedDifferences(oracle.extended, extended), gpr, flags: flags & 0x8d5 };
        const expected = { different: [], gpr: oracle.gpr, flags: oracle.rflags & 0x8d5 };
        expect(found, `${vector.disassembly} #${n} MXCSR ${input.input.extended.mxcsr.toString(16)}`).toEqual(expected);
      }
    }
  });
});
