/** The semantics against vectors recorded from a real CPU: registers, flags, memory, next RIP, exception. */
import { describe, expect, it } from 'vitest';
import { decodeOne } from '../../engine/isa/decode.ts';
import { formOf } from '../../engine/isa/form.ts';
import { OracleException, runOracle } from '../../engine/isa/oracle.ts';
import { extendedDifferences, toEngine } from '../support/extended-state.ts';
import type { Mode } from '../vectors/layout.ts';
import { readVectors, type Vector, vectorGroups } from '../vectors/read-vectors.ts';
import { VectorMachine, VectorPageFault } from './vector-machine.ts';

/** No vector repeats longer than this. */
const MAX_ITERATIONS = 5000;

type Verdict = 'right' | 'undecoded' | 'system' | string;

function judge(vector: Vector): { verdict: Verdict; mnemonic: string } {
  const { mode, bytes, input } = vector;
  const instruction = decodeOne(bytes, mode, Number(input.rip));
  if (!instruction) return { verdict: 'undecoded', mnemonic: vector.name };
  const form = formOf(instruction, mode);
  if (!form) return { verdict: 'system', mnemonic: instruction.mnemonic };
  const machine = new VectorMachine(vector);
  let exception: OracleException | undefined;
  try {
    for (let n = 0; n === 0 || (machine.rip === input.rip && form.sizes.repeat !== 'none'); n++) {
      if (n > MAX_ITERATIONS) throw new Error(`${vector.id}: still repeats after ${n} iterations`);
      runOracle(form.operation, instruction, machine);
    }
  } catch (error) {
    if (!(error instanceof OracleException)) throw error;
    exception = error;
  }
  return { verdict: differences(vector, machine, exception).join('; ') || 'right', mnemonic: instruction.mnemonic };
}

function differences(vector: Vector, machine: VectorMachine, exception: OracleException | undefined): string[] {
  const { output, mode, flagsMask } = vector;
  const found: string[] = [];
  const check = (what: string, expected: unknown, actual: unknown) => {
    if (expected !== actual) found.push(`${what}: expected ${expected}, found ${actual}`);
  };
  check('exception', exceptionText(output.exception, mode), exceptionText(exception, mode));
  if (output.exception?.linearAddress !== undefined) {
    const at = exception instanceof VectorPageFault ? exception.linearAddress : undefined;
    check('CR2', output.exception.linearAddress, at);
  }
  for (const [n, expected] of output.gpr.entries()) {
    check(
      `register ${n}`,
      expected.toString(16),
      BigInt.asUintN(mode === 64 ? 64 : 32, machine.gpr[n] ?? 0n).toString(16),
    );
  }
  found.push(...extendedDifferences(toEngine(output.extended), machine.extended));
  check('flags', (output.flags & flagsMask).toString(16), (machine.rflags & flagsMask).toString(16));
  check('rip', output.rip.toString(16), machine.rip.toString(16));
  return [...found, ...memoryDifferences(vector, machine)];
}

/** In real-address mode exceptions have no error code. */
const exceptionText = (e: { vector: number; errorCode?: number | undefined } | undefined, mode: Mode): string =>
  e ? `${e.vector}(${mode === 16 ? '' : (e.errorCode ?? '')})` : 'none';

/** Every byte that the vector or the oracle wrote. */
function memoryDifferences(vector: Vector, machine: VectorMachine): string[] {
  const expected = new VectorMachine(vector);
  for (const { address, bytes } of vector.output.memory) expected.poke(address, bytes);
  const addresses = new Set([...expected.written.keys(), ...machine.written.keys()]);
  return [...addresses]
    .filter((address) => expected.peek(address) !== machine.peek(address))
    .map((address) => `@${address.toString(16)}: expected ${expected.peek(address)}, found ${machine.peek(address)}`);
}

/** What cpu/ executes, not an Operation. */
const SYSTEM =
  'Arpl Call Cli Clts Hlt In Insb Insd Int3 Into Invd Invlpg Iret Iretd Jmp Lds Les Lfs Lgdt Lgs Lidt Lldt Lmsw Lss Ltr ' +
  'Mov Out Outsb Outsd Pause Pop Popf Popfd Popfq Push Pushf Pushfd Pushfq Rdmsr Retf Sti Swapgs Ud0 Ud1 Ud2 Wbinvd Wrmsr';

/** All of the x87 FPU is such functions, and so is what accesses memory by a mask, and what saves state. */
const WITHOUT_OPERATIONS = /-x87-|-masked$|-state-saving$/;

describe('the oracle does what the CPU did', () => {
  const system = new Set<string>();
  it.each(vectorGroups())('%s', (group) => {
    const wrong: string[] = [];
    for (const vector of readVectors(group)) {
      const { verdict, mnemonic } = judge(vector);
      const { exception } = vector.output;
      if (verdict === 'undecoded') expect(exception?.vector, vector.id).toSatisfy((v) => v === 6 || v === 13);
      else if (verdict === 'system') {
        if (!WITHOUT_OPERATIONS.test(group)) system.add(mnemonic);
      } else if (verdict !== 'right') wrong.push(`${vector.id} ${vector.disassembly}: ${verdict}`);
    }
    expect(wrong.slice(0, 20)).toEqual([]);
  });

  it('all but system instructions took part', () => {
    expect([...system].sort()).toEqual(SYSTEM.split(' '));
  });
});
