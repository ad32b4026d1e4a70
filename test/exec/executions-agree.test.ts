/**
 * The compiler against the interpreter: random loops of recorded instruction forms, memory accesses and faults included,
 * run in random slices. Both must end in the same state after the same number of instructions.
 */
import { describe, expect, test } from 'vitest';
import { random } from '../support/random.ts';
import { VectorMachine, type VectorOutcome } from '../support/vector-machine.ts';
import { CODE_PAGE, DATA_ADDRESS, defaultRegisters } from '../vectors/layout.ts';
import { initialState, type MachineState, type Mode, readVectors } from '../vectors/read-vectors.ts';

const SUBJECTS = [
  'add-subtract',
  'logic',
  'shift-rotate',
  'double-shift',
  'bit',
  'conditional',
  'exchange',
  'lea',
  'data-movement',
];
const VECTOR_SUBJECTS = [
  'sse-move',
  'sse-logic',
  'sse-float',
  'sse-integer',
  'sse-shuffle',
  'sse-string',
  'mmx',
  'aes',
  'sha',
  'pclmulqdq',
  'avx-integer',
  'avx-shuffle',
  'avx-string',
  'avx-move',
  'avx-logic',
  'avx-float',
  'fma',
  'f16c',
  'mxcsr',
];
const SETS = [
  { name: '64-bit code', mode: 64, subjects: SUBJECTS },
  { name: '32-bit code', mode: 32, subjects: SUBJECTS },
  { name: '64-bit vector code', mode: 64, subjects: VECTOR_SUBJECTS },
] as const;
const LOOPS = 300;
const NEVER = { hotAfter: Number.POSITIVE_INFINITY, watchedBlocks: 1 };
const AT_ONCE = { hotAfter: 1, watchedBlocks: 2 };

/** DEC ECX; JNZ back over the body. */
const loopEnd = (bodyBytes: number): number[] => [0xff, 0xc9, 0x0f, 0x85, ...int32(-(bodyBytes + 8))];
const int32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >> shift) & 0xff);

interface Program {
  readonly code: Uint8Array;
  readonly gpr: bigint[];
  readonly extended: MachineState['extended'];
  readonly text: string[];
}

function programs(mode: Mode, subjects: readonly string[]): (next: (below: number) => number) => Program {
  const pool = subjects.flatMap((subject) => [...readVectors(`${mode}-${subject}`)]).filter((v) => !v.output.exception);
  return (next) => {
    const chosen = Array.from({ length: 1 + next(8) }, () => pool[next(pool.length)]).flatMap((v) => (v ? [v] : []));
    const body = chosen.flatMap((v) => [...v.bytes]);
    const gpr = defaultRegisters(mode).map((value, index) =>
      next(2) ? BigInt(DATA_ADDRESS + next(0x2000)) : (chosen[0]?.input.gpr[index] ?? value),
    );
    gpr[1] = BigInt(1 + next(200));
    gpr[4] = BigInt(0x30_0800);
    const extended = (chosen[0]?.input ?? initialState(mode)).extended;
    const code = Uint8Array.from([...body, ...loopEnd(body.length)]);
    return { code, gpr, extended, text: chosen.map((v) => v.disassembly) };
  };
}

const inputOf = (mode: Mode, gpr: bigint[], extended = initialState(mode).extended) => ({
  ...initialState(mode),
  gpr,
  extended,
  flags: 2,
});

/** Runs in slices of the given sizes and tells after how many instructions it ended. */
function runSlices(
  machine: VectorMachine,
  mode: Mode,
  { code, gpr, extended }: Program,
  slices: readonly number[],
): VectorOutcome & { executed: number } {
  let executed = 0;
  const outcome = machine.execute(inputOf(mode, gpr, extended), code, (executor) => {
    for (const slice of slices) {
      executor.run(slice);
      executed += executor.budget.takeExecuted();
      if (machine.faulted) break;
    }
  });
  return { ...outcome, executed };
}

describe('compiled loops end as interpreted ones do', () => {
  for (const { name, mode, subjects } of SETS) {
    test(name, () => {
      const [interpreter, compiler] = [new VectorMachine(mode, NEVER), new VectorMachine(mode, AT_ONCE)];
      const make = programs(mode, subjects);
      let faults = 0;
      for (let seed = 1; seed <= LOOPS; seed++) {
        const next = random(seed * 0x9e3779b1);
        const program = make(next);
        const slices = Array.from({ length: 6 }, () => 1 + next(300));
        const expected = runSlices(interpreter, mode, program, slices);
        const got = runSlices(compiler, mode, program, slices);
        if (expected.exception) faults++;
        expect(got, `seed ${seed}: ${program.text.join(' | ')}`).toEqual(expected);
      }
      expect(faults, 'some of the programs fault').toBeGreaterThan(5);
      expect(faults, 'some of the programs do not fault').toBeLessThan(LOOPS - 5);
      expect(compiler.host.executor.regions.compiledSoFar, 'loops were compiled').toBeGreaterThan(50);
      expect(interpreter.host.executor.regions.compiledSoFar, 'none was compiled').toBe(0);
    });
  }
});

test('a block cut to the end of a slice is not taken for the head of a loop', () => {
  // Nineteen times LEA EAX, [RAX + RAX + number], and back.
  const body = Array.from({ length: 19 }, (_, number) => [0x8d, 0x44, 0x00, number]).flat();
  const code = Uint8Array.from([...body, 0xeb, -(body.length + 2) & 0xff]);
  const registers = [NEVER, AT_ONCE].map((options) => {
    const machine = new VectorMachine(64, options);
    const atStops: bigint[] = [];
    machine.execute(inputOf(64, defaultRegisters(64)), code, (executor) => {
      for (const slice of [20, ...new Array<number>(100).fill(5)]) {
        executor.run(slice);
        atStops.push(machine.host.state.gpr(0));
      }
    });
    return atStops;
  });
  expect(registers[1]).toEqual(registers[0]);
});

test('a loop that leaves compiled code at each turn is counted exactly, over many stretches', () => {
  // MOV [RDI], AL to the page of the code, which regions do not write to; DEC ECX; JNZ back.
  const code = Uint8Array.from([0x88, 0x07, 0xff, 0xc9, 0x75, 0xfa]);
  const gpr = Object.assign(defaultRegisters(64), { 1: 0xffff_ffffn, 7: BigInt(CODE_PAGE + 0x10) });
  const program = { code, gpr, extended: initialState(64).extended, text: [] };
  // More than a stretch that is interpreted without a look.
  const many = 40_000;
  const slices = [3 * many + 1, many, 1, many + 4];
  const [expected, got] = [NEVER, AT_ONCE].map((options) => {
    const machine = new VectorMachine(64, options);
    return { ...runSlices(machine, 64, program, slices), compiled: machine.host.executor.regions.compiledSoFar > 0 };
  });
  expect(expected).toMatchObject({ executed: slices.reduce((sum, slice) => sum + slice), compiled: false });
  expect(got).toEqual({ ...expected, compiled: true });
});

test('a region too many takes the place of the oldest', () => {
  // Five times: MOV CL, 100; DEC CL; JNZ back.
  const code = Uint8Array.from(Array.from({ length: 5 }, () => [0xb1, 100, 0xfe, 0xc9, 0x75, 0xfc]).flat());
  const [expected, got] = [NEVER, { ...AT_ONCE, maxRegions: 2 }].map((options) => {
    const machine = new VectorMachine(64, options);
    const { regions } = machine.host.executor;
    const input = inputOf(64, defaultRegisters(64), initialState(64).extended);
    let count = 0;
    const outcome = machine.execute(input, code, (executor) => {
      while (!machine.faulted) executor.run(15);
      count = regions.count;
    });
    return { outcome, compiled: regions.compiledSoFar, count };
  });
  expect(got?.outcome).toEqual(expected?.outcome);
  expect(got).toMatchObject({ compiled: 5, count: 2 });
});
