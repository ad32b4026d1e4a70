/** A near branch that may not go to its target faults itself and changes nothing: with #GP(0), as on a real CPU. */
import { describe, expect, test } from 'vitest';
import { decodeOne } from '../../engine/isa/decode.ts';
import { formOf } from '../../engine/isa/form.ts';
import { OracleException, runOracle } from '../../engine/isa/oracle.ts';
import { VectorMachine as OracleVectorMachine } from '../isa/vector-machine.ts';
import { VectorMachine } from '../support/vector-machine.ts';
import { REAL_MODE_IP } from '../vectors/layout.ts';
import { initialState, type MachineState } from '../vectors/read-vectors.ts';

const NEVER = { hotAfter: Number.POSITIVE_INFINITY, watchedBlocks: 1 };
const AT_ONCE = { hotAfter: 1, watchedBlocks: 2 };
const [GP, ZF, CX] = [13, 0x40, 1];
const little = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >> shift) & 0xff);

const withCx = (gpr: readonly bigint[], cx: bigint): bigint[] => Object.assign([...gpr], { [CX]: cx });

interface Branch {
  readonly name: string;
  readonly bytes: readonly number[];
  readonly cx?: bigint;
  readonly zf?: boolean;
}

const FAR = little(0x1_2345);
const BACK = [0x80];
const taken: readonly Branch[] = [
  { name: 'JMP rel32', bytes: [0x66, 0xe9, ...FAR] },
  { name: 'JMP rel8, to below 0, 32 bits', bytes: [0x66, 0xeb, ...BACK] },
  { name: 'CALL rel32', bytes: [0x66, 0xe8, ...FAR] },
  { name: 'JZ rel32', bytes: [0x66, 0x0f, 0x84, ...FAR], zf: true },
  { name: 'JNZ rel8', bytes: [0x66, 0x75, ...BACK] },
  { name: 'LOOP', bytes: [0x66, 0xe2, ...BACK], cx: 2n },
  { name: 'LOOPE', bytes: [0x66, 0xe1, ...BACK], cx: 2n, zf: true },
  { name: 'LOOPNE', bytes: [0x66, 0xe0, ...BACK], cx: 2n },
  { name: 'JCXZ', bytes: [0x66, 0xe3, ...BACK], cx: 0n },
];
const notTaken: readonly Branch[] = [
  { name: 'JZ rel32', bytes: [0x66, 0x0f, 0x84, ...FAR] },
  { name: 'JNZ rel8', bytes: [0x66, 0x75, ...BACK], zf: true },
  { name: 'LOOP', bytes: [0x66, 0xe2, ...BACK], cx: 1n },
  { name: 'LOOPE', bytes: [0x66, 0xe1, ...BACK], cx: 2n },
  { name: 'LOOPNE', bytes: [0x66, 0xe0, ...BACK], cx: 2n, zf: true },
  { name: 'JCXZ', bytes: [0x66, 0xe3, ...BACK], cx: 1n },
];

/** At IP 10H, from where an offset of one byte leads below 0. */
function inputOf({ cx = 7n, zf = false }: Branch): MachineState {
  const input = { ...initialState(16), rip: 0x10n, flags: 2 | (zf ? ZF : 0) };
  return { ...input, gpr: withCx(input.gpr, cx) };
}

function interpreted(branch: Branch) {
  const machine = new VectorMachine(16, NEVER);
  return machine.execute(inputOf(branch), Uint8Array.from(branch.bytes), (executor) => executor.run(1));
}

function byOracle(branch: Branch) {
  const input = inputOf(branch);
  const bytes = Uint8Array.from(branch.bytes);
  const instruction = decodeOne(bytes, 16, Number(input.rip));
  const form = instruction && formOf(instruction, 16);
  if (!instruction || !form) throw new Error(`expected an instruction with semantics, found ${branch.name}`);
  const vector = { name: '', id: '', mode: 16, bytes, disassembly: '', input, output: input, flagsMask: 0 } as const;
  const machine = new OracleVectorMachine(vector);
  try {
    runOracle(form.operation, instruction, machine);
  } catch (error) {
    if (error instanceof OracleException) return { vector: error.vector, machine };
    throw error;
  }
  return { vector: undefined, machine };
}

describe('beyond the limit of CS, 16-bit code with 32-bit operands', () => {
  test.each(taken)('$name', (branch) => {
    const { exception, rip, gpr, memory } = interpreted(branch);
    expect(exception).toMatchObject({ vector: GP, errorCode: 0 });
    expect({ rip, gpr, changes: memory.size }).toEqual({ rip: 0x10n, gpr: inputOf(branch).gpr, changes: 0 });
    expect(byOracle(branch).vector).toBe(GP);
  });
  test.each(notTaken)('$name goes on if it is not taken', (branch) => {
    const { exception, rip } = interpreted(branch);
    expect({ exception, rip }).toEqual({ exception: undefined, rip: 0x10n + BigInt(branch.bytes.length) });
    expect(byOracle(branch).machine.rip).toBe(rip);
  });
});

test('an operand size of 16 bits cuts the target before it is held against a limit', () => {
  const machine = new VectorMachine(16, NEVER);
  const jumpBack = { name: 'JMP rel8', bytes: [0xeb, 0x80] };
  const run = (limit: number) =>
    machine.execute(inputOf(jumpBack), Uint8Array.from(jumpBack.bytes), (executor) => {
      machine.host.state.segment(1).limit = limit;
      executor.translationsChanged();
      executor.run(1);
    });
  expect(run(0xff92)).toMatchObject({ exception: undefined, rip: 0xff92n });
  expect(run(0xff91)).toMatchObject({ exception: { vector: GP, errorCode: 0 }, rip: 0x10n });
});

test('a loop that is compiled leaves by such a branch as an interpreted one does', () => {
  // DEC CX; JZ far (32-bit operand size); JMP back.
  const code = Uint8Array.from([0x49, 0x66, 0x0f, 0x84, ...FAR, 0xeb, 0xf6]);
  const outcomes = [NEVER, AT_ONCE].map((options) => {
    const machine = new VectorMachine(16, options);
    const input = { ...initialState(16), gpr: withCx(initialState(16).gpr, 200n) };
    return machine.execute(input, code, (executor) => {
      for (let n = 0; n < 100 && !machine.faulted; n++) executor.run(7);
    });
  });
  expect(outcomes[0]).toMatchObject({ exception: { vector: GP, errorCode: 0 }, rip: BigInt(REAL_MODE_IP + 1) });
  expect(outcomes[1]).toEqual(outcomes[0]);
});

describe('to an address that is not canonical', () => {
  const PAGE = 0x7fff_ffff_f000;
  const [TABLES, FRAME, PRESENT_USER] = [0x60_0000, 0x40_0000, 7];

  /** Code in the last page of the lower half; it may go on past the end of this. */
  function run(options: { hotAfter: number; watchedBlocks: number }, code: readonly number[], cx: bigint) {
    const machine = new VectorMachine(64, options);
    const { physical } = machine.host;
    for (const [n, table] of [TABLES + 255 * 8, FRAME + 0xff8, FRAME + 0x1ff8, FRAME + 0x2ff8].entries())
      physical.writeU64(table, BigInt((FRAME + n * 0x1000) | PRESENT_USER));
    physical.poke(FRAME + 0x3000, Uint8Array.from(code));
    const input = { ...initialState(64), gpr: withCx(initialState(64).gpr, cx) };
    return machine.execute(input, Uint8Array.of(), (executor) => {
      machine.host.state.rip = PAGE;
      for (let n = 0; n < 100 && !machine.faulted; n++) executor.run(7);
    });
  }

  test.each([
    { name: 'JMP', code: [0xe9, ...little(0x2000)], rip: PAGE },
    { name: 'CALL, which pushes nothing', code: [0xe8, ...little(0x2000)], rip: PAGE },
    { name: 'JZ, taken', code: [0x31, 0xc0, 0x0f, 0x84, ...little(0x2000)], rip: PAGE + 2 },
    { name: 'JNZ, not taken; HLT follows', code: [0x31, 0xc0, 0x0f, 0x85, ...little(0x2000), 0xf4], rip: PAGE + 8 },
    {
      name: 'LOOP at the end of some turns',
      code: [0xff, 0xc9, 0x0f, 0x84, ...little(0x2000), 0xeb, 0xf6],
      rip: PAGE + 2,
    },
  ])('$name', ({ code, rip }) => {
    const outcome = run(NEVER, code, 200n);
    expect(outcome).toMatchObject({ exception: { vector: GP, errorCode: 0 }, rip: BigInt(rip) });
    expect(outcome.memory.size).toBe(0);
    expect(outcome.gpr[4]).toBe(initialState(64).gpr[4]);
    expect(run(AT_ONCE, code, 200n)).toEqual(outcome);
  });
});
