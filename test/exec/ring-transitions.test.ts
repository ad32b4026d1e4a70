/**
 * The fast ring transitions against the functions they stand for: random tables, stacks and registers, legal and not.
 * Each instruction runs twice from the same state, the slow way first, which also fills the fast TLB.
 */
import { describe, expect, test } from 'vitest';
import { GuestFault } from '../../engine/cpu/events.ts';
import { WRITABLE_FLAGS, writeFlags } from '../../engine/cpu/flags.ts';
import { raiseFault } from '../../engine/cpu/interrupts.ts';
import { ALL_WATCHED, WATCHED } from '../../engine/cpu/memory-map.ts';
import { refreshMode } from '../../engine/cpu/modes.ts';
import { silentHooks } from '../../engine/cpu/processor.ts';
import { RFLAGS } from '../../engine/cpu/register-bits.ts';
import { enterLongMode, powerUp } from '../../engine/cpu/reset.ts';
import { CS, DS, ES, FS, GS, SS, TR } from '../../engine/cpu/state.ts';
import { KEYS_OF_GENERATION } from '../../engine/exec/code-world.ts';
import { fnv1a64 } from '../../engine/machine/hash.ts';
import { Host } from '../../engine/machine/host.ts';
import { architecturalState } from '../../engine/machine/platform.ts';
import { type Random, random } from '../support/random.ts';

const [GDT, IDT, TSS, TABLES, CODE] = [0x1000, 0x2000, 0x3050, 0x4000, 0x8000];
/** The stacks straddle a page where a frame is pushed near it. */
const [STACK, STACK0, IST1] = [0x11010, 0x14010, 0x17000];
const UNMAPPED = 0x4000_0000;
const SCENARIOS = 600;
/** Long mode, kernel code and data as SYSCALL wants them, then the user's. */
const [CODE0, DATA0, DATA3, CODE3, DATA3_READ_ONLY, CODE3_32, CODE0_CONFORMING] = [
  8, 0x10, 0x1b, 0x23, 0x2b, 0x33, 0x38,
];
const descriptors = [
  0n,
  0x00af_9b00_0000_ffffn,
  0x00cf_9300_0000_ffffn,
  0x00cf_f300_0000_ffffn,
  0x00af_fb00_0000_ffffn,
  0x00cf_f100_0000_ffffn,
  0x00cf_fb00_0000_ffffn,
  0x00af_9f00_0000_ffffn,
];
const selectors = [
  CODE0,
  DATA0,
  DATA3,
  CODE3,
  0,
  3,
  DATA3_READ_ONLY,
  CODE3_32,
  CODE0_CONFORMING,
  0x43,
  0x17,
  CODE0 | 3,
];

class Subject {
  /** Times that the slow way was taken. */
  slow = 0;
  /** Events that the run loop dealt with. */
  dealt = 0;
  readonly host: Host = new Host({
    ramBytes: 0x40_0000,
    cpus: 1,
    localApic: false,
    // Where it learns what is hot, the run loop goes block by block, and deals with every event itself.
    hotSpots: { hotAfter: Number.POSITIVE_INFINITY, watchedBlocks: 0 },
    ports: { read: () => 0, write: () => {} },
    hooks: silentHooks,
    owner: {
      handleEvent: (event) => this.#event(event),
      interrupted: () => this.host.state.activityState !== 0,
      takeInterruptions: () => 0,
      stopAtMark: () => true,
    },
  });

  constructor() {
    const { host } = this;
    powerUp(host.processor);
    for (const [index, at] of [0, 0x1000].entries())
      this.u64(TABLES + at, BigInt(TABLES + 0x1000 * (index + 1)) | 0x27n);
    this.u64(TABLES + 0x2000, 0xe7n);
    for (const [index, value] of descriptors.entries()) this.u64(GDT + index * 8, value);
    const gdt = { base: GDT, limit: descriptors.length * 8 - 1, codeSelector: CODE0, dataSelector: DATA0 };
    enterLongMode(host.processor, { rip: CODE, rsp: STACK, cr3: TABLES, gdt });
    // As a machine: the boundary after a system instruction is the run loop's.
    host.runtime.afterSystem = () => true;
    host.runtime.beforeSystem = () => void this.slow++;
  }

  #event(event: unknown): void {
    this.dealt++;
    if (!(event instanceof GuestFault)) throw event;
    if (this.host.deliverFast(event)) return;
    this.slow++;
    raiseFault(this.host.processor, event);
  }

  u64(address: number, value: bigint): void {
    this.host.physical.view.setBigUint64(address, BigInt.asUintN(64, value), true);
  }

  /** What a run of so many instructions leaves behind, with WATCHED bits. */
  outcome(before: { state: Uint8Array; ram: Uint8Array }, watched: number, instructions: number) {
    const { host } = this;
    const { state, physical } = host;
    state.bytes.set(before.state);
    physical.bytes.set(before.ram);
    host.processor.delivering = undefined;
    host.mmu.privilegeChanged();
    host.watch(watched);
    host.executor.translationsChanged();
    this.slow = 0;
    this.dealt = 0;
    host.executor.run(instructions);
    const { tlbBase, jumpKey, rip, cpl } = state;
    return {
      executed: host.executor.budget.takeExecuted(),
      rip: rip.toString(16),
      cpl,
      tlbBase,
      key: jumpKey % KEYS_OF_GENERATION,
      fields: fieldsOf(architecturalState(state.bytes)),
      ram: fnv1a64([physical.bytes.subarray(0, 0x2_0000)]),
    };
  }
}

/** The state as 64-bit words by offset, those that are not 0. */
const fieldsOf = (state: Uint8Array): Record<string, string> => {
  const words = new BigUint64Array(state.slice().buffer);
  return Object.fromEntries([...words].flatMap((word, at) => (word ? [[at * 8, word.toString(16)]] : [])));
};

const pick = <T>(next: Random, values: readonly T[]): T => values[next(values.length)] as T;
/** Mostly the first, which is legal. */
const mostly = <T>(next: Random, usual: T, ...others: T[]): T => (next(12) ? usual : pick(next, others));

function setTables(subject: Subject, next: Random): void {
  const { state } = subject.host;
  state.idtrBase = IDT;
  state.idtrLimit = mostly(next, 0xfff, 0x80f, 0x806);
  for (const vector of [0, 13, 14, 0x80]) {
    const type = mostly(next, pick(next, [0xee, 0x8e, 0xef]), 0x6e, 0xec, 0xe5);
    const selector = BigInt(mostly(next, CODE0, CODE3, DATA0, CODE0_CONFORMING, 0));
    const target = BigInt(CODE + 0x100 * pick(next, [1, 2]));
    const ist = BigInt(next(4) ? 0 : 1);
    subject.u64(IDT + vector * 16, (BigInt(type) << 40n) | (ist << 32n) | (selector << 16n) | target);
    subject.u64(IDT + vector * 16 + 8, mostly(next, 0n, 0xffffn, 0xffff_ffffn));
  }
  const tr = state.segment(TR);
  tr.base = TSS;
  tr.limit = mostly(next, 0x67, 4);
  tr.attributes = mostly(next, 0x8b, 0x1_0000);
  subject.u64(TSS + 4, BigInt(mostly(next, STACK0 + 8 * next(4), UNMAPPED, 2 ** 47)));
  subject.u64(TSS + 36, BigInt(mostly(next, IST1, UNMAPPED)));
}

function setRegisters(subject: Subject, next: Random): void {
  const { state, processor } = subject.host;
  const cpl = pick(next, [0, 3]);
  const attributes: Readonly<Record<number, number>> = { [CS]: cpl ? 0xa0fb : 0xa09b, [SS]: cpl ? 0xc0f3 : 0xc093 };
  for (const index of [ES, CS, SS, DS, FS, GS]) {
    const segment = state.segment(index);
    segment.selector = index === CS ? (cpl ? CODE3 : CODE0) : cpl ? DATA3 : DATA0;
    segment.base = index >= FS ? next(0x1_0000) : 0;
    segment.limit = 0xffff_ffff;
    segment.attributes = attributes[index] ?? pick(next, [0xc0f3, 0xc093, 0x1_0000, 0xc09f, 0xc0ff]);
  }
  state.cpl = cpl;
  state.cr4 = (state.cr4 & ~(1 << 21)) | (next(3) ? 0 : 1 << 21);
  state.efer = (state.efer & ~1) | mostly(next, 1, 0);
  writeFlags(state, randomFlags(next));
  if (next(2)) {
    state.flagsResult = BigInt(next(0xffff_ffff)) - 0x7fff_ffffn;
    state.flagsAux = (BigInt(next(4)) << 62n) | BigInt(next(0x1_0000));
  }
  state.fmask = pick(next, [0, 0x300, 0x700, 0xffff, 0x4_0000]);
  state.lstar = BigInt(CODE + 0x100);
  state.star = mostly(next, 0x0013_0008_0000_0000n, 0xffff_fffb_0000_0000n);
  state.interruptibility = mostly(next, 0, 1, 8);
  state.pendingDebug = 0;
  state.setGprLinear(1, mostly(next, CODE + 0x200, 2 ** 47, 2 ** 46));
  state.setGprLinear(11, randomFlags(next));
  state.setGprLinear(7, UNMAPPED);
  state.setGprLinear(4, mostly(next, STACK - 8 * next(12), STACK - 3, UNMAPPED, 2 ** 47));
  refreshMode(processor);
}

const randomFlags = (next: Random): number =>
  (next(2 ** 22) & WRITABLE_FLAGS & ~RFLAGS.VM & ~(next(10) ? RFLAGS.TF | RFLAGS.NT : 0)) | RFLAGS.FIXED;

/** A frame for IRETQ at RSP. */
function setFrame(subject: Subject, next: Random): void {
  const rsp = subject.host.state.gprLinear(4);
  if (rsp > 0x2_0000) return;
  const user = next(2) === 1;
  const frame = [
    BigInt(mostly(next, CODE + 0x100, 2 ** 47, UNMAPPED)),
    BigInt(mostly(next, user ? CODE3 : CODE0, ...selectors)),
    BigInt(randomFlags(next)),
    BigInt(mostly(next, STACK - 0x100, 2 ** 47, UNMAPPED)),
    BigInt(mostly(next, user ? DATA3 : pick(next, [DATA0, 0]), ...selectors)),
  ];
  for (const [index, value] of frame.entries()) subject.u64(Number(rsp) + 8 * index, value);
}

const instructions: Readonly<Record<string, readonly number[]>> = {
  SYSCALL: [0x0f, 0x05],
  SYSRETQ: [0x48, 0x0f, 0x07],
  'INT 80H': [0xcd, 0x80],
  IRETQ: [0x48, 0xcf],
  'a page fault': [0x8a, 0x07],
  'a division by zero': [0xf7, 0xf5],
};

/** Behind the instruction a jump, so that its block is short and leaves something of the budget. */
function subjectWith(bytes: readonly number[]): Subject {
  const subject = new Subject();
  const { physical } = subject.host;
  physical.bytes.fill(0x90, CODE, CODE + 0x300);
  physical.bytes.set([...bytes, 0xeb, 0x40], CODE);
  return subject;
}

/** Random scenarios, each from where the one before it began. */
function forEachScenario(
  subject: Subject,
  { seed, count }: { readonly seed: number; readonly count: number },
  work: (before: { state: Uint8Array; ram: Uint8Array }, next: Random, label: string) => void,
): void {
  const { physical, state } = subject.host;
  const next = random(seed);
  for (let scenario = 0; scenario < count; scenario++) {
    setTables(subject, next);
    setRegisters(subject, next);
    setFrame(subject, next);
    state.rip = CODE;
    const before = { state: state.bytes.slice(), ram: physical.bytes.slice(0, 0x2_0000) };
    work(before, next, `scenario ${scenario}`);
    state.bytes.set(before.state);
    physical.bytes.set(before.ram);
    state.activityState = 0;
  }
}

describe.each(Object.entries(instructions))('%s', (name, bytes) => {
  test('does the same the fast and the slow way', () => {
    const subject = subjectWith(bytes);
    let fast = 0;
    let inPlace = 0;
    forEachScenario(subject, { seed: 0x1234_5678, count: SCENARIOS }, (before, next, label) => {
      const count = pick(next, [1, 2, 3, 40]);
      const slowly = subject.outcome(before, ALL_WATCHED, count);
      const { dealt } = subject;
      const quickly = subject.outcome(before, 0, count);
      if (subject.slow === 0) fast++;
      if (subject.dealt < dealt) inPlace++;
      expect(quickly, label).toEqual(slowly);
    });
    // Most scenarios are legal in one of the rings only.
    expect(fast).toBeGreaterThan(SCENARIOS / 8);
    if (name === 'a page fault') expect(inPlace).toBeGreaterThan(SCENARIOS / 20);
  });

  test('goes the slow way for those only who are told of it', () => {
    const subject = subjectWith(bytes);
    let changes = 0;
    forEachScenario(subject, { seed: 0x8765_4321, count: SCENARIOS / 2 }, (before, _, label) => {
      const { cpl } = subject.host.state;
      const run = (watched: number) => {
        const outcome = subject.outcome(before, watched, 1);
        const { slow, dealt } = subject;
        return { outcome, slow, dealt };
      };
      // The slow way fills the fast TLB.
      run(ALL_WATCHED);
      const unwatched = run(0);
      expect(run(WATCHED.registers), label).toEqual(unwatched);
      const excepting = run(WATCHED.exceptions);
      if (name === 'a page fault') expect(excepting.dealt, label).toBe(1);
      else expect(excepting, label).toEqual(unwatched);
      const changing = run(WATCHED.ringChanges);
      expect(changing.outcome, label).toEqual(unwatched.outcome);
      if (unwatched.outcome.cpl !== cpl) {
        changes++;
        expect(changing.slow, label).toBeGreaterThan(0);
      } else if (!/^SYS/.test(name)) expect(changing.slow, label).toBe(unwatched.slow);
    });
    expect(changes).toBeGreaterThan(SCENARIOS / 20);
  });
});
