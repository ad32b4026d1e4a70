/** What vectors recorded from a CPU do not show: alignment, page boundaries, and extensions that are not enabled. */
import { describe, expect, test } from 'vitest';
import { Vector } from '../../engine/cpu/events.ts';
import { readExtendedState } from '../../engine/cpu/extended-state.ts';
import { refreshMode } from '../../engine/cpu/modes.ts';
import { CR0, CR4 } from '../../engine/cpu/register-bits.ts';
import { fromLanes, lanesOf } from '../../engine/expr/lanes.ts';
import { VectorMachine } from '../support/vector-machine.ts';
import { CODE_ADDRESS, DATA_ADDRESS, DATA_BYTES, HIGH_ADDRESS, patternByte } from '../vectors/layout.ts';
import { initialState, type MachineState } from '../vectors/read-vectors.ts';

const MOVAPS_LOAD = '0f281e'; // movaps xmm3, [rsi]
const MOVAPS_STORE = '0f291e'; // movaps [rsi], xmm3
const MOVUPS_STORE = '0f111e'; // movups [rsi], xmm3
const PADDD_LOAD = '660ffe0e'; // paddd xmm1, [rsi]
const VMOVDQA_LOAD = 'c5fd6f1e'; // vmovdqa ymm3, [rsi]
const VMOVDQU_STORE = 'c5fe7f1e'; // vmovdqu [rsi], ymm3
const VPADDW_LOAD = 'c5edfd0e'; // vpaddw ymm1, ymm2, [rsi]
const PXOR = '660fefc0'; // pxor xmm0, xmm0
const VPXOR = 'c5f9efc0'; // vpxor xmm0, xmm0, xmm0

const machine = new VectorMachine(64);

function run(hex: string, rsi: number, target = machine) {
  const state: MachineState = initialState(64);
  const gpr = [...state.gpr];
  gpr[6] = BigInt(rsi);
  const input = { ...state, gpr };
  const outcome = target.execute(input, Uint8Array.from(Buffer.from(hex, 'hex')), (executor) => executor.run(1));
  const { exception, memory } = outcome;
  const fault = exception && [exception.vector, exception.errorCode, exception.linear];
  return { fault, memory, done: outcome.rip !== BigInt(CODE_ADDRESS) };
}

const { xmm, ymmHigh } = initialState(64).extended;
const YMM3 = [xmm[3] as bigint, ymmHigh[3] as bigint].flatMap((half) => lanesOf(8, half).map(Number));
const END = DATA_ADDRESS + DATA_BYTES;

describe('memory operands', () => {
  test.each([
    ['MOVAPS load', MOVAPS_LOAD, 8],
    ['MOVAPS store', MOVAPS_STORE, 15],
    ['PADDD of memory', PADDD_LOAD, 1],
    ['VMOVDQA of 256 bits', VMOVDQA_LOAD, 16],
  ])('%s faults unless aligned', (_name, hex, offset) => {
    expect(run(hex, DATA_ADDRESS + offset)).toMatchObject({ fault: [Vector.GP, 0, undefined], done: false });
    expect(run(hex, DATA_ADDRESS + 32)).toMatchObject({ fault: undefined, done: true });
  });

  test('the misaligned address need not be mapped', () => {
    expect(run(MOVAPS_LOAD, END + 1).fault).toEqual([Vector.GP, 0, undefined]);
    expect(run(MOVAPS_LOAD, END).fault).toEqual([Vector.PF, 4, END]);
  });

  test('VEX forms and MOVUPS want no alignment', () => {
    expect(run(VPADDW_LOAD, DATA_ADDRESS + 3).fault).toBeUndefined();
    expect(run(MOVUPS_STORE, DATA_ADDRESS + 3).memory.size).toBe(16);
  });

  test.each([
    ['in the upper half', END - 16],
    ['inside the upper half', END - 24],
    ['inside the lower half', END - 8],
  ])('a store of 256 bits that faults %s stores nothing', (_where, rsi) => {
    expect(run(VMOVDQU_STORE, rsi)).toEqual({ fault: [Vector.PF, 6, END], memory: new Map(), done: false });
  });

  test('the lower half of a store faults first', () => {
    expect(run(VMOVDQU_STORE, HIGH_ADDRESS - 16).fault).toEqual([Vector.PF, 6, HIGH_ADDRESS - 16]);
  });

  test('accesses cross pages', () => {
    for (const at of [0xff1, 0xff8, 0xfe8, 0xff0]) {
      const { memory } = run(VMOVDQU_STORE, DATA_ADDRESS + at);
      const stored = Array.from(
        { length: 32 },
        (_, i) => memory.get(DATA_ADDRESS + at + i) ?? patternByte(DATA_ADDRESS + at + i),
      );
      expect(stored).toEqual(YMM3);
      expect(run(VPADDW_LOAD, DATA_ADDRESS + at).fault).toBeUndefined();
    }
  });

  test('a non-canonical address is #GP(0)', () => {
    expect(run(MOVUPS_STORE, 0x8000_0000_0000).fault?.slice(0, 2)).toEqual([Vector.GP, 0]);
  });
});

describe('accesses by a mask', () => {
  const VPGATHERDD = 'c4e261900c16'; // vpgatherdd xmm1, [rsi+xmm2], xmm3
  const VMASKMOVPS_STORE = 'c4e2652e0e'; // vmaskmovps [rsi], ymm3, ymm1
  const lane = (...lanes: number[]): bigint => fromLanes(32, lanes.map(BigInt));
  const ALL = 0xffff_ffff;

  /** With the lower halves of XMM1 to XMM3. */
  function runWith(hex: string, rsi: number, [xmm1, xmm2, xmm3]: readonly [bigint, bigint, bigint]) {
    const { state, executor } = machine.host;
    const input = initialState(64);
    const xmm = [...input.extended.xmm];
    [xmm[1], xmm[2], xmm[3]] = [xmm1, xmm2, xmm3];
    const ymmHigh = input.extended.ymmHigh.map(() => 0n);
    const gpr = [...input.gpr];
    gpr[6] = BigInt(rsi);
    const extended = { ...input.extended, xmm, ymmHigh };
    const bytes = Uint8Array.from(Buffer.from(hex, 'hex'));
    const outcome = machine.execute({ ...input, gpr, extended }, bytes, () => executor.run(1));
    return { ...outcome, xmm1: readExtendedState(state).vectors[1], mask: readExtendedState(state).vectors[3] };
  }

  test('a gather that faults keeps what it has', () => {
    const indices = lane(0, 0x1_0000, 4, 8);
    const { exception, xmm1, mask } = runWith(VPGATHERDD, DATA_ADDRESS, [
      lane(1, 2, 3, 4),
      indices,
      lane(ALL, ALL, 0, ALL),
    ]);
    expect(exception).toMatchObject({ vector: Vector.PF, linear: DATA_ADDRESS + 0x1_0000 });
    const first = [0, 1, 2, 3].reduce((word, i) => word + patternByte(DATA_ADDRESS + i) * 2 ** (8 * i), 0);
    expect(xmm1).toBe(lane(first, 2, 3, 4));
    expect(mask).toBe(lane(0, ALL, 0, ALL));
  });

  test('a gather whose registers are not three is undefined', () => {
    expect(run('c4e261900c1e', DATA_ADDRESS).fault?.[0]).toBe(Vector.UD); // index = mask
  });

  test('a masked store makes no store if one of them faults, and looks at chosen lanes only', () => {
    const values = lane(5, 6, 7, 8);
    const faulting = runWith(VMASKMOVPS_STORE, END - 4, [values, 0n, lane(ALL, ALL, 0, 0)]);
    expect(faulting.exception).toMatchObject({ vector: Vector.PF, linear: END });
    expect(faulting.memory).toEqual(new Map());
    const fine = runWith(VMASKMOVPS_STORE, END - 4, [values, 0n, lane(ALL, 0, 0, 0)]);
    expect(fine.exception).toBeUndefined();
    expect([...fine.memory.keys()]).toContain(END - 4);
  });
});

describe('extensions that are not enabled', () => {
  const rows: readonly (readonly [string, number, number, number, sse: number | undefined, avx: number | undefined])[] =
    [
      ['all enabled', 0, 0, 7, undefined, undefined],
      ['CR0.TS', CR0.TS, 0, 7, Vector.NM, Vector.NM],
      ['CR0.EM', CR0.EM, 0, 7, Vector.UD, undefined],
      ['CR0.EM and TS', CR0.EM | CR0.TS, 0, 7, Vector.UD, Vector.NM],
      ['no CR4.OSFXSR', 0, CR4.OSFXSR, 7, Vector.UD, undefined],
      ['no CR4.OSXSAVE', 0, CR4.OSXSAVE, 7, undefined, Vector.UD],
      ['XCR0 without AVX', 0, 0, 3, undefined, Vector.UD],
      ['XCR0 without AVX, CR0.TS', CR0.TS, 0, 3, Vector.NM, Vector.UD],
    ];
  /** The same machine throughout: what was decoded for one setting must not serve another. */
  const shared = new VectorMachine(64);
  test.each([...rows, ...rows])('%s', (_name, cr0, withoutCr4, xcr0, sse, avx) => {
    const { state, processor } = shared.host;
    const before = { cr0: state.cr0, cr4: state.cr4, xcr0: state.xcr0 };
    Object.assign(state, { cr0: state.cr0 | cr0, cr4: state.cr4 & ~withoutCr4, xcr0 });
    refreshMode(processor);
    expect(run(PXOR, 0, shared).fault?.[0]).toBe(sse);
    expect(run(VPXOR, 0, shared).fault?.[0]).toBe(avx);
    Object.assign(state, before);
  });
});
