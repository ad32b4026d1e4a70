/** SIMD floating-point exceptions that are not masked: which exception is raised, and what it leaves. */
import { describe, expect, it } from 'vitest';
import { VectorMachine } from '../support/vector-machine.ts';
import { copyExtendedState } from '../vectors/extended-state.ts';
import { initialState } from '../vectors/read-vectors.ts';

const OSXMMEXCPT = 0x400;
/** DIVSS XMM0, XMM1. */
const DIVSS = [0xf3, 0x0f, 0x5e, 0xc1];
/** DEC ECX; JNZ to the DIVSS before. */
const LOOP = [0xff, 0xc9, 0x75, 0xf8];
const ONE = 0x3f80_0000n;
const THREE = 0x4040_0000n;
const [DIVIDE_BY_ZERO, INEXACT] = [0x04, 0x20];
const ALL_MASKED = 0x1f80;
const maskOf = (exception: number): number => exception << 7;

/** Divides 1 by `divisor`, over and over, with one exception not masked. */
function divide(machine: VectorMachine, divisor: bigint, unmasked: number) {
  const input = { ...initialState(64), extended: copyExtendedState(initialState(64).extended) };
  input.extended.xmm[0] = ONE;
  input.extended.xmm[1] = divisor;
  input.extended.mxcsr = ALL_MASKED & ~maskOf(unmasked);
  input.gpr = input.gpr.map((value, n) => (n === 1 ? 400n : value));
  const { exception, extended, rip } = machine.execute(input, Uint8Array.from([...DIVSS, ...LOOP]), (executor) => {
    for (let slice = 0; slice < 20 && !machine.faulted; slice++) executor.run(100);
  });
  return {
    vector: exception?.vector,
    flags: extended.mxcsr & 0x3f,
    quotient: BigInt.asUintN(32, extended.vectors[0] ?? 0n),
    instruction: Number(rip - input.rip),
  };
}

describe.each([
  { name: 'interpreted', hotSpots: { hotAfter: Number.POSITIVE_INFINITY, watchedBlocks: 1 } },
  { name: 'compiled', hotSpots: { hotAfter: 1, watchedBlocks: 2 } },
])('$name', ({ hotSpots }) => {
  it('#XM: the flag is set, the destination is not written, and the instruction would be executed again', () => {
    const machine = new VectorMachine(64, hotSpots);
    const expected = { vector: 19, flags: DIVIDE_BY_ZERO, quotient: ONE, instruction: 0 };
    expect(divide(machine, 0n, DIVIDE_BY_ZERO)).toEqual(expected);
    expect(divide(machine, THREE, INEXACT)).toEqual({ ...expected, flags: INEXACT });
  });
  it('#UD in its place if the operating system does not handle it (CR4.OSXMMEXCPT = 0)', () => {
    const machine = new VectorMachine(64, hotSpots);
    machine.host.state.cr4 &= ~OSXMMEXCPT;
    const expected = { vector: 6, flags: DIVIDE_BY_ZERO, quotient: ONE, instruction: 0 };
    expect(divide(machine, 0n, DIVIDE_BY_ZERO)).toEqual(expected);
  });
  it('another exception that is masked is only flagged', () => {
    const machine = new VectorMachine(64, hotSpots);
    // Behind the loop stands INT3.
    expect(divide(machine, 0n, INEXACT)).toMatchObject({ vector: 3, flags: DIVIDE_BY_ZERO, quotient: 0x7f80_0000n });
  });
});
