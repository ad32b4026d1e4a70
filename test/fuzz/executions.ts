/** A case by the other executions: in whole blocks, compiled, and by the oracle; each has to do as single steps do. */
import { isDeepStrictEqual } from 'node:util';
import { CS } from '../../engine/cpu/state.ts';
import { decodeOne } from '../../engine/isa/decode.ts';
import { formOf } from '../../engine/isa/form.ts';
import { OracleException, runOracle } from '../../engine/isa/oracle.ts';
import { VectorMachine as OracleMachine } from '../isa/vector-machine.ts';
import { extendedDifferences } from '../support/extended-state.ts';
import type { Attempts, VectorOutcome } from '../support/vector-machine.ts';
import { STATUS_FLAGS } from '../vectors/layout.ts';
import { codeOf, type FuzzCase } from './fuzz-case.ts';

/** How the case ends in blocks, and compiled, where that is not as after `steps` single ones. In words. */
export function otherExecutions(attempts: Attempts, expected: VectorOutcome, steps: number): string[] {
  const blocks = attempts.run((executor) => void executor.run(steps));
  const compiled = attempts.run((executor) => {
    executor.compileAtRip();
    executor.run(steps);
  });
  return [
    ...differing('in blocks', told(expected), told(blocks)),
    ...differing('compiled', told(expected), told(compiled)),
  ];
}

const told = ({ exception, ...outcome }: VectorOutcome) => ({
  ...outcome,
  exception: exception && { vector: exception.vector, errorCode: exception.errorCode, linear: exception.linear },
});

function differing<T extends object>(name: string, expected: T, found: T): string[] {
  return (Object.keys(expected) as (keyof T & string)[])
    .filter((part) => !isDeepStrictEqual(expected[part], found[part]))
    .map((part) => `${name}, ${part}: ${text(found[part])}, step by step ${text(expected[part])}`);
}

const text = (value: unknown): string =>
  JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'bigint' ? part.toString(16) : part instanceof Map ? [...part] : part,
  ) ?? 'none';

/** How the oracle differs from one step of a case's only instruction, if that has semantics written once. */
export function oracleDifferences(fuzzCase: FuzzCase, expected: VectorOutcome): string[] {
  const { mode, input } = fuzzCase;
  const bytes = codeOf(fuzzCase);
  const instruction = decodeOne(bytes, mode, Number(input.rip));
  const form = instruction && formOf(instruction, mode);
  if (!instruction || !form || form.sizes.repeat !== 'none') return [];
  // The oracle's machine knows no access rights of segments.
  if (mode === 32 && instruction.memory?.segment === CS) return [];
  // Nor whether VEX may be used.
  if (mode === 16 && instruction.vex) return [];
  const vector = { name: '', id: '', mode, bytes, disassembly: '', input, output: input, flagsMask: 0 };
  const machine = new OracleMachine(vector);
  let exception: OracleException | undefined;
  try {
    runOracle(form.operation, instruction, machine);
  } catch (error) {
    if (!(error instanceof OracleException)) throw error;
    exception = error;
  }
  const found = {
    gpr: machine.gpr,
    flags: machine.rflags & STATUS_FLAGS,
    rip: exception ? input.rip : machine.rip,
    exception: exception?.vector,
    memory: new Map(changesOf(machine, vector)),
  };
  return [
    ...differing('the oracle', partOf(expected), found),
    ...extendedDifferences(expected.extended, machine.extended).map((line) => `the oracle, ${line}`),
  ];
}

const partOf = ({ gpr, flags, rip, exception, memory }: VectorOutcome) => ({
  gpr,
  flags: flags & STATUS_FLAGS,
  rip,
  exception: exception?.vector,
  memory,
});

function* changesOf(machine: OracleMachine, vector: ConstructorParameters<typeof OracleMachine>[0]) {
  const before = new OracleMachine(vector);
  for (const [address, byte] of machine.written) if (before.peek(address) !== byte) yield [address, byte] as const;
}
