/** RCPPS and RSQRTPS: within the manual's bound of the exact values; beyond numbers, what the manual's tables say. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { binary32 } from '../../engine/float/format.ts';
import { encodings, singleBits, singleValue } from '../float/reference.ts';
import { VectorMachine } from '../support/vector-machine.ts';
import { copyExtendedState } from '../vectors/extended-state.ts';
import { initialState } from '../vectors/read-vectors.ts';

const RELATIVE_ERROR = 1.5 * 2 ** -12;
const SMALLEST_NORMAL = 2 ** -126;
const machine = new VectorMachine(64);

/** Executes `opcode` xmm0, xmm1 with all exceptions unmasked; gives the lowest lane and MXCSR. */
function execute(bytes: number[], operand: bigint): { lane: bigint; mxcsr: number } {
  const extended = copyExtendedState(initialState(64).extended);
  extended.xmm[1] = operand;
  extended.mxcsr = 0;
  const { extended: after } = machine.execute({ ...initialState(64), extended }, Uint8Array.from(bytes), (executor) =>
    executor.run(1),
  );
  return { lane: BigInt.asUintN(32, after.vectors[0] ?? 0n), mxcsr: after.mxcsr };
}

const rows = [
  { name: 'RCPPS', bytes: [0x0f, 0x53, 0xc1], exact: (x: number) => 1 / x },
  { name: 'RCPSS', bytes: [0xf3, 0x0f, 0x53, 0xc1], exact: (x: number) => 1 / x },
  { name: 'RSQRTPS', bytes: [0x0f, 0x52, 0xc1], exact: (x: number) => 1 / Math.sqrt(x) },
  { name: 'RSQRTSS', bytes: [0xf3, 0x0f, 0x52, 0xc1], exact: (x: number) => 1 / Math.sqrt(x) },
];
/** VRCPPS, VRCPSS, VRSQRTPS, VRSQRTSS: as those, with XMM0 as second source of those of one lane. */
const forms = rows.flatMap((row) => {
  const [opcode = 0, modRm = 0] = row.bytes.slice(-2);
  const vex = [0xc5, row.bytes.length === 4 ? 0xfa : 0xf8, opcode, modRm];
  return [row, { ...row, name: `V${row.name}`, bytes: vex }];
});

describe.each(forms)('$name', ({ name, bytes, exact }) => {
  it('is as near as the manual asks, and meets no exceptions', () => {
    fc.assert(
      fc.property(encodings(binary32), (bits) => {
        const x = singleValue(bits);
        const { lane, mxcsr } = execute(bytes, bits);
        expect(mxcsr).toBe(0);
        const expected = exact(x);
        if (Math.abs(x) < SMALLEST_NORMAL || !Number.isFinite(expected) || Math.abs(expected) < SMALLEST_NORMAL) return;
        expect(Math.abs(singleValue(lane) / expected - 1)).toBeLessThan(RELATIVE_ERROR);
      }),
    );
  });
  const isRoot = name.includes('RSQRT');
  it.each([
    { operand: 0n, result: singleBits(Infinity) },
    { operand: singleBits(-0), result: singleBits(-Infinity) },
    { operand: 1n, result: singleBits(Infinity) },
    { operand: 0x8000_0001n, result: singleBits(-Infinity) },
    { operand: singleBits(Infinity), result: 0n },
    { operand: singleBits(-Infinity), result: isRoot ? 0xffc0_0000n : singleBits(-0) },
    { operand: singleBits(-1), result: isRoot ? 0xffc0_0000n : 0xbf80_0000n },
    { operand: 0xff80_0001n, result: 0xffc0_0001n },
    { operand: 0x7fc1_2345n, result: 0x7fc1_2345n },
    ...(isRoot ? [] : [{ operand: singleBits(-(2 ** 127)), result: singleBits(-0) }]),
  ])('of $operand: $result', ({ operand, result }) => {
    expect(execute(bytes, operand).lane).toBe(result);
  });
});
