/** The interpreter against the BigInt oracle: every recorded form, on random registers, flags undefined ones included. */
import { describe, expect, test } from 'vitest';
import { decodeOne } from '../../engine/isa/decode.ts';
import { formOf } from '../../engine/isa/form.ts';
import { OracleException, runOracle } from '../../engine/isa/oracle.ts';
import { VectorMachine as OracleVectorMachine } from '../isa/vector-machine.ts';
import { VectorMachine } from '../support/vector-machine.ts';
import { DATA_ADDRESS, type Mode, STATUS_FLAGS } from '../vectors/layout.ts';
import { readVectors, type Vector, vectorGroups } from '../vectors/read-vectors.ts';

const INPUTS_PER_FORM: Readonly<Record<Mode, number>> = { 64: 10, 32: 10, 16: 4 };

function* randomBits(seed: number): Generator<bigint> {
  let x = BigInt.asUintN(64, BigInt(seed) * 0x9e3779b97f4a7c15n + 1n);
  for (;;) {
    x ^= BigInt.asUintN(64, x << 13n);
    x ^= x >> 7n;
    x ^= BigInt.asUintN(64, x << 17n);
    yield x;
  }
}

/** Boundary values as often as random ones; addresses of data now and then, so that memory operands work. */
function randomValue(bits: Generator<bigint>): bigint {
  const r = bits.next().value as bigint;
  const boundary = [
    0n,
    1n,
    0x7fn,
    0x80n,
    0x7fff_ffffn,
    0x8000_0000n,
    0xffff_ffffn,
    1n << 63n,
    (1n << 63n) - 1n,
    (1n << 64n) - 1n,
  ];
  if (r % 4n === 0n) return boundary[Number((r >> 8n) % 10n)] as bigint;
  if (r % 4n === 1n) return BigInt(DATA_ADDRESS) + ((r >> 8n) % 0x1f00n);
  return r % 4n === 2n ? bits.next().value : (r >> 8n) % 256n;
}

function withRandomInput(vector: Vector, bits: Generator<bigint>): Vector {
  const width = vector.mode === 64 ? 64 : 32;
  const gpr = vector.input.gpr.map((value, index) => {
    if (index === 4 || (width === 32 && index > 7)) return value;
    return BigInt.asUintN(width, randomValue(bits));
  });
  const flags = Number((bits.next().value as bigint) & BigInt(STATUS_FLAGS)) | 0x202;
  return { ...vector, input: { ...vector.input, gpr, flags } };
}

interface Outcome {
  readonly gpr: string[];
  readonly flags: string;
  readonly rip: string;
  readonly exception: number | undefined;
}

const hex = (value: bigint | number): string => value.toString(16);

function byOracle(vector: Vector): Outcome | undefined {
  const instruction = decodeOne(vector.bytes, vector.mode, Number(vector.input.rip));
  const form = instruction && formOf(instruction, vector.mode);
  if (!form || !instruction || form.sizes.repeat !== 'none') return undefined;
  const machine = new OracleVectorMachine(vector);
  let exception: number | undefined;
  try {
    runOracle(form.operation, instruction, machine);
  } catch (error) {
    if (!(error instanceof OracleException)) throw error;
    exception = error.vector;
  }
  return outcome(machine.gpr, machine.rflags, machine.rip, exception);
}

const outcome = (gpr: readonly bigint[], flags: number, rip: bigint, exception: number | undefined): Outcome => ({
  gpr: gpr.map(hex),
  flags: hex(flags & STATUS_FLAGS),
  rip: exception === undefined ? hex(rip) : 'fault',
  exception,
});

const interpreters = new Map<Mode, VectorMachine>();
function byInterpreter(vector: Vector): Outcome {
  let machine = interpreters.get(vector.mode);
  if (!machine)
    interpreters.set(
      vector.mode,
      (machine = new VectorMachine(vector.mode, { hotAfter: Number.POSITIVE_INFINITY, watchedBlocks: 1 })),
    );
  const { gpr, flags, rip, exception } = machine.run(vector);
  return outcome(gpr, flags, rip, exception?.vector);
}

/** Of each form and encoding length, the last vector of a group. */
function formsOf(group: string): Map<string, Vector> {
  const forms = new Map<string, Vector>();
  for (const vector of readVectors(group)) forms.set(`${vector.name} ${vector.bytes.length}`, vector);
  return forms;
}

/** Vectors of vector instructions have inputs of their own in plenty: random general-purpose registers are addresses to them. */
const inputsPerForm = ({ mode, bytes }: Vector): number =>
  decodeOne(bytes, mode, 0)?.extensions ? 2 : INPUTS_PER_FORM[mode];

describe('oracle = interpreter on random inputs', () => {
  test.each(vectorGroups())('%s', (group) => {
    let compared = 0;
    for (const [name, vector] of formsOf(group)) {
      const bits = randomBits(name.length * 7919 + compared);
      for (let n = 0; n < inputsPerForm(vector); n++) {
        const input = withRandomInput(vector, bits);
        const expected = byOracle(input);
        if (!expected) break;
        compared++;
        expect(byInterpreter(input), `${name} ${vector.disassembly} #${n}`).toEqual(expected);
      }
    }
    if (!withoutSemantics.test(group)) expect(compared).toBeGreaterThan(0);
  });
});

/** Groups of system instructions. */
const withoutSemantics = /-(interrupt|privileged|undefined|segment|state-saving|x87.*|.*masked)$/;
