/**
 * Repeated string instructions: many iterations at once against one at a time, on random strings that overlap, end with
 * their page, wrap, exceed their segment or fault in the middle, in random slices. And that there are many at once.
 */
import { describe, expect, test } from 'vitest';
import { PAGE_BYTES, RAM_ADDRESS } from '../../engine/cpu/memory-map.ts';
import { refreshMode } from '../../engine/cpu/modes.ts';
import { CpuState, DS, ES, FS } from '../../engine/cpu/state.ts';
import { fieldAddress } from '../../engine/cpu/state-layout.ts';
import { sharedTypes } from '../../engine/exec/shared-functions.ts';
import { emitStringBulk } from '../../engine/exec/string-bulk.ts';
import { decodeInstructions } from '../../engine/isa/decode.ts';
import { formOf } from '../../engine/isa/form.ts';
import { FastTlb, fastSetAddress } from '../../engine/mmu/fast-tlb.ts';
import { encodeModule, FunctionBody, memoryOp } from '../../engine/wasm/encoder.ts';
import { type Random, random } from '../support/random.ts';
import { VectorMachine, type VectorOutcome } from '../support/vector-machine.ts';
import { DATA_ADDRESS, DATA_BYTES, defaultRegisters } from '../vectors/layout.ts';
import { initialState, type Mode } from '../vectors/read-vectors.ts';

const CASES = 400;
const RAX = 0;
const RCX = 1;
const RSI = 6;
const RDI = 7;
const DF = 0x400;
const REP = 0xf3;
const OPERAND_SIZE = 0x66;
const ADDRESS_SIZE = 0x67;
const ES_OVERRIDE = 0x26;
const FS_OVERRIDE = 0x64;
const REX_W = 0x48;
/** MOVS, CMPS, STOS, LODS, SCAS, each of bytes and of wider elements. */
const OPCODES = [0xa4, 0xa5, 0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf];

interface Segment {
  readonly base: number;
  readonly limit: number;
}

interface Case {
  readonly code: Uint8Array;
  readonly gpr: bigint[];
  readonly flags: number;
  /** DS, ES and FS where the mode lets them differ. */
  readonly segments: readonly Segment[];
  readonly slices: readonly number[];
}

function makeCase(mode: Mode, next: Random): Case {
  const overrides = next(4) === 0;
  const resizes = next(3) === 0;
  const prefixes = [
    ...(next(3) === 0 ? [OPERAND_SIZE] : []),
    ...(resizes ? [ADDRESS_SIZE] : []),
    // In 16-bit code, only strings in the same segment overlap.
    ...(overrides ? [mode === 16 ? ES_OVERRIDE : FS_OVERRIDE] : []),
    next(4) === 0 ? 0xf2 : REP,
    ...(mode === 64 && next(2) ? [REX_W] : []),
  ];
  const addressSize = resizes ? (mode === 32 ? 16 : 32) : mode;
  const segments = [0, 1, 2].map(() => segment(mode, addressSize, next));
  const source = address(mode, next);
  // Compared strings are often equal for a while: a string with itself, or with its neighbourhood.
  const destination = next(2) ? address(mode, next) : source + next(80) - 40;
  const gpr = defaultRegisters(mode);
  const set = (register: number, value: number): void => {
    const beyond = mode === 64 ? 0x5555_5555_5555_5555n : 0x5555_5555n;
    const bits = BigInt(addressSize);
    gpr[register] = BigInt.asUintN(addressSize, BigInt(value)) | ((beyond >> bits) << bits);
  };
  if (next(3) === 0) gpr[RAX] = 0n;
  set(RCX, next(4) ? next(3000) : next(10));
  set(RSI, source - (segments[mode === 16 ? 1 : overrides ? 2 : 0]?.base ?? 0));
  set(RDI, destination - (segments[1]?.base ?? 0));
  return {
    code: Uint8Array.from([...prefixes, OPCODES[next(OPCODES.length)] as number]),
    gpr,
    flags: 2 | (next(4) ? 0 : DF),
    segments,
    slices: Array.from({ length: 1 + next(5) }, () => 1 + next(next(2) ? 20 : 1500)),
  };
}

/** An address (in 16-bit code, an offset) in or a little outside of the data, often close to the end of a page. */
function address(mode: Mode, next: Random): number {
  if (mode === 16) return next(2) ? next(0x1_0000) : 0x1_0000 - 300 + next(600);
  if (next(3) === 0) return DATA_ADDRESS + (1 + next(2)) * PAGE_BYTES - next(300);
  return DATA_ADDRESS - 4 + next(DATA_BYTES + 8);
}

/** Offsets of fewer bits than the mode's wrap somewhere in the data. */
function segment(mode: Mode, addressSize: number, next: Random): Segment {
  if (mode === 16) return { base: 0, limit: 0xffff };
  const wraps = addressSize < mode;
  const base = wraps ? DATA_ADDRESS + next(DATA_BYTES) - 2 ** addressSize : next(2) ? 0 : next(0x3000);
  return { base, limit: next(3) ? 0xffff_ffff : DATA_ADDRESS - base + next(DATA_BYTES) };
}

/** Bases and limits; 64-bit code takes only that of FS, 16-bit code those that its selectors say. */
function setSegments(machine: VectorMachine, mode: Mode, [ds, es, fs]: Case['segments']): void {
  if (mode === 16) return;
  const { state, processor } = machine.host;
  Object.assign(state.segment(DS), mode === 32 ? ds : {});
  Object.assign(state.segment(ES), mode === 32 ? es : {});
  Object.assign(state.segment(FS), fs);
  refreshMode(processor);
}

function run(machine: VectorMachine, mode: Mode, one: Case, slices: readonly number[]) {
  let executed = 0;
  const input = { ...initialState(mode), gpr: one.gpr, flags: one.flags };
  const outcome = machine.execute(input, one.code, (executor) => {
    setSegments(machine, mode, one.segments);
    for (const slice of slices) {
      executor.run(slice);
      executed += executor.budget.takeExecuted();
      if (machine.faulted) break;
    }
  });
  return { ...outcome, executed };
}

const describeCase = ({ code, gpr, flags, segments }: Case): string =>
  `${Buffer.from(code).toString('hex')} rcx=${gpr[RCX]} rsi=${gpr[RSI]?.toString(16)} rdi=${gpr[RDI]?.toString(16)} ` +
  `${flags & DF ? 'DF ' : ''}${JSON.stringify(segments)}`;

describe('many iterations at once leave what as many single ones leave', () => {
  test.each([16, 32, 64] as const)('%d-bit code', (mode) => {
    const [single, bulk] = [new VectorMachine(mode), new VectorMachine(mode)];
    const ends = { cut: 0, done: 0, faults: 0 };
    const note = ({ exception }: VectorOutcome): void => {
      if (!exception) ends.cut++;
      else if (exception.vector === 3) ends.done++;
      else ends.faults++;
    };
    for (let seed = 1; seed <= CASES; seed++) {
      const one = makeCase(mode, random(seed * 0x9e3779b1));
      const total = one.slices.reduce((sum, slice) => sum + slice, 0);
      const expected = run(single, mode, one, Array(total).fill(1));
      const got = run(bulk, mode, one, one.slices);
      note(expected);
      expect(got, `seed ${seed}: ${describeCase(one)}`).toEqual(expected);
    }
    for (const [how, count] of Object.entries(ends)) expect(count, how).toBeGreaterThan(CASES / 20);
  });
});

describe('iterations done at once', () => {
  const DATA = 0x8000;
  /** Two pages that may be written, and the last byte of the second. */
  const MORE = 0xb000;
  const LAST = MORE + 2 * PAGE_BYTES - 1;
  const memory = new WebAssembly.Memory({ initial: RAM_ADDRESS / 0x1_0000 + 1 });
  const state = new CpuState(memory.buffer);
  const ram = new Uint8Array(memory.buffer, RAM_ADDRESS, 0x1_0000);
  const tlb = new FastTlb(memory.buffer);
  tlb.fill(0, DATA, DATA, true, true);
  tlb.fill(0, DATA + PAGE_BYTES, DATA + PAGE_BYTES, true, false);
  tlb.fill(0, MORE, MORE, true, true);
  tlb.fill(0, MORE + PAGE_BYTES, MORE + PAGE_BYTES, true, true);

  /** A function of nothing but the bulk iterations of the instruction. */
  function bulkOf(...bytes: number[]): () => void {
    const [instruction] = decodeInstructions(Uint8Array.from(bytes), 64, 0);
    const form = instruction && formOf(instruction, 64);
    if (!form) throw new Error('no string instruction');
    const body = new FunctionBody(1);
    emitStringBulk(
      body,
      form,
      { segmentation: 'long', addressSize: 64 },
      {
        emitBase: () => body.i32(fieldAddress.zero).memory(memoryOp.i64Load),
        emitAddress: () => body.i32(fieldAddress.zero),
      },
    );
    const functions = [{ type: 0, body: body.i32(0).bytes(), export: 'run' }];
    const encoded = encodeModule({ types: sharedTypes, functions });
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(Uint8Array.from(encoded)), { env: { memory } });
    return exports.run as () => void;
  }

  test.each([
    { what: 'all but one of the count', code: [REP, 0xaa], rcx: 100, rdi: DATA, budget: 1000, done: 99 },
    { what: 'none of a single one', code: [REP, 0xaa], rcx: 1, rdi: DATA, budget: 1000, done: 0 },
    { what: 'none of none', code: [REP, 0xaa], rcx: 0, rdi: DATA, budget: 1000, done: 0 },
    { what: 'as many as the budget has', code: [REP, 0xaa], rcx: 100, rdi: DATA, budget: 7, done: 7 },
    { what: 'none without budget', code: [REP, 0xaa], rcx: 100, rdi: DATA, budget: 0, done: 0 },
    { what: 'to the end of the page', code: [REP, REX_W, 0xab], rcx: -1, rdi: DATA + 0xf00, budget: 1e9, done: 32 },
    {
      what: 'but the last of the page, if they leave flags',
      code: [REP, 0xae],
      rcx: -1,
      rdi: LAST - 9,
      budget: 1e9,
      done: 9,
    },
    { what: 'on several pages', code: [REP, 0xaa], rcx: 9000, rdi: MORE, budget: 1e9, done: 8192 },
    {
      what: 'on several pages, to the end of the count',
      code: [REP, 0xaa],
      rcx: 8000,
      rdi: MORE + 9,
      budget: 1e9,
      done: 7999,
    },
    {
      what: 'on several pages, as the budget has',
      code: [REP, 0xaa],
      rcx: 8000,
      rdi: MORE + 9,
      budget: 5000,
      done: 5000,
    },
    {
      what: 'as long as REPE goes on, no page further',
      code: [REP, 0xae],
      rcx: -1,
      rdi: DATA + 0x1000,
      budget: 1e9,
      done: 30,
    },
    { what: 'none on a page without the right', code: [REP, 0xaa], rcx: 100, rdi: DATA + 0x1000, budget: 99, done: 0 },
    {
      what: 'reads from such a page',
      code: [REP, 0xa4],
      rcx: 100,
      rsi: DATA + 0x1000,
      rdi: DATA,
      budget: 99,
      done: 99,
    },
    { what: 'none on a page not known', code: [REP, 0xaa], rcx: 100, rdi: DATA + 0x2000, budget: 99, done: 0 },
    {
      what: 'down to the start of the page',
      code: [REP, 0xaa],
      rcx: 99,
      rdi: DATA + 9,
      budget: 99,
      done: 10,
      df: true,
    },
    { what: 'as long as REPE goes on', code: [REP, 0xae], rcx: 100, rdi: DATA + 0x1000, budget: 99, done: 30 },
    { what: 'as long as REPNE goes on', code: [0xf2, 0xae], rcx: 100, rdi: DATA + 0x101e, budget: 99, done: 12 },
  ])('$what', ({ code, rcx, rsi = DATA, rdi, budget, done, df }) => {
    ram.fill(0);
    ram.fill(1, DATA + 0x101e, DATA + 0x102a);
    state.tlbBase = fastSetAddress(0);
    state.flagsOther = df ? DF | 2 : 2;
    for (const [register, value] of [
      [0, 0],
      [RCX, rcx],
      [RSI, rsi],
      [RDI, rdi],
    ] as const) {
      state.setGpr(register, BigInt(value));
    }
    state.budget = BigInt(budget);
    bulkOf(...code)();
    const step = (df ? -1n : 1n) * (code.includes(REX_W) ? 8n : 1n);
    expect(state.gpr(RDI)).toBe(BigInt(rdi) + BigInt(done) * step);
    expect(state.gpr(RCX)).toBe(BigInt.asUintN(64, BigInt(rcx - done)));
    expect(state.budget).toBe(BigInt(budget - done));
  });
});
