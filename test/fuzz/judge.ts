/** Holds cases against the real CPU that this runs on. */
import { differences, type VectorOutcome } from '../support/vector-machine.ts';
import type { Mode, Vector } from '../vectors/read-vectors.ts';
import { type Case, execute, type Outcome } from '../vectors/record/harness.ts';
import { hexOf, writeVectors } from '../vectors/write-vectors.ts';
import { withoutChoices } from './choices.ts';
import { codeOf, type FuzzCase } from './fuzz-case.ts';
import type { Run } from './fuzz-machine.ts';

/** What the recorder takes as the instruction; the rest of a sequence is memory. */
const CODE_BYTES = 15;

/** The outcomes of cases of one mode, in their order. */
export function recordCases(program: string, mode: Mode, cases: readonly FuzzCase[]): Outcome[] {
  return execute(program, mode, cases.map(toCase));
}

function toCase(fuzzCase: FuzzCase): Case {
  const { mode, input } = fuzzCase;
  const code = codeOf(fuzzCase);
  const base = mode === 16 ? (input.segments[1] ?? 0) * 16 : 0;
  const rest = { address: base + Number(input.rip) + CODE_BYTES, bytes: code.subarray(CODE_BYTES) };
  const memory = rest.bytes.length > 0 ? [...input.memory, rest] : input.memory;
  return { mode, bytes: code.subarray(0, CODE_BYTES), input: { ...input, memory } };
}

/** The case as a vector, with what is to be expected. */
function toVector(fuzzCase: FuzzCase, expected: Outcome, flagsMask: number, name: string): Vector {
  const { mode, input } = fuzzCase;
  const bytes = codeOf(fuzzCase);
  const disassembly = fuzzCase.instructions.map(hexOf).join(' ');
  return { name, id: name, mode, bytes, disassembly, input, output: expected, flagsMask };
}

/** How the engine's result differs from the real CPU's; empty if it does not. */
export function compare(fuzzCase: FuzzCase, run: Run, expected: Outcome): string[] {
  const found = differences(toVector(fuzzCase, asTheMachineSays(expected), run.flagsMask, 'fuzz'), run.outcome);
  const { exception, rip } = run.outcome;
  if (expected.exception && rip !== expected.rip)
    found.push(`rip: expected ${expected.rip.toString(16)}, got ${rip.toString(16)}`);
  const address = expected.exception?.linearAddress;
  if (address !== undefined && exception && address !== faultAddress(exception))
    found.push(`address of the fault: expected ${address.toString(16)}, got ${faultAddress(exception)?.toString(16)}`);
  return found.length === 0 ? found : withoutChoices({ fuzzCase, run, expected }, found);
}

const faultAddress = ({ linear }: NonNullable<VectorOutcome['exception']>): bigint | undefined =>
  linear === undefined ? undefined : BigInt.asUintN(64, BigInt(linear));

/** The case as a row in the vectors' text. */
export const rowOf = (fuzzCase: FuzzCase, expected: Outcome, flagsMask: number): string =>
  writeVectors('', [toVector(fuzzCase, expected, flagsMask, `Seed_${fuzzCase.seed}`)])
    .split('\n')
    .slice(1)
    .join('\n');

const [PRESENT, FETCH] = [1, 0x10];
/** The last page of the users' half is kept out of use. */
const KERNEL_PART = 0x7fff_ffff_f000n;

/**
 * The recorder's operating system has execute-disable on, so that page faults tell of fetches, which the vectors' machine
 * has not; and it says that all of its own half of the address space was present.
 */
function asTheMachineSays(expected: Outcome): Outcome {
  const { exception } = expected;
  if (exception?.vector !== 14) return expected;
  const hidden = (exception.linearAddress ?? 0n) >= KERNEL_PART ? FETCH | PRESENT : FETCH;
  return { ...expected, exception: { ...exception, errorCode: (exception.errorCode ?? 0) & ~hidden } };
}
