/**
 * The refill of the fast TLB and the translation of fetches in WebAssembly against the functions that they stand for: two
 * machines with the same page tables, the same accesses and invalidations; one asks WebAssembly first. Both must have
 * translated and remembered the same.
 */

import { expect, test } from 'vitest';
import { silentHooks } from '../../engine/cpu/processor.ts';
import { CR0, CR4, EFER, RFLAGS } from '../../engine/cpu/register-bits.ts';
import { powerUp } from '../../engine/cpu/reset.ts';
import { SlowStatus } from '../../engine/exec/exits.ts';
import { NO_FETCH } from '../../engine/exec/fetch-translation.ts';
import type { RuntimeFunctions } from '../../engine/exec/runtime-functions.ts';
import { Host } from '../../engine/machine/host.ts';
import { Access } from '../../engine/mmu/access.ts';
import { type Random, random } from '../support/random.ts';

const ROOTS = [0x1000, 0x2000];
const [PDPT, PD, PT, END] = [0x3000, 0x5000, 0x9000, 0x1_1000];
const RAM_BYTES = 0x40_0000;
const STEPS = 12_000;

type SlowAccess = (linear: bigint | number, size: number, record: number) => number;
type TranslateFetch = (linear: bigint) => number;
class Subject {
  /** Accesses that the runtime's function saw. */
  slow = 0;
  /** Fetches that WebAssembly translated. */
  fetched = 0;
  readonly host = new Host({
    ramBytes: RAM_BYTES,
    cpus: 1,
    localApic: false,
    ports: { read: () => 0, write: () => {} },
    hooks: silentHooks,
    owner: { handleEvent: () => {}, interrupted: () => true, takeInterruptions: () => 0, stopAtMark: () => true },
  });
  readonly #functions: Partial<RuntimeFunctions>;
  readonly #refills: boolean;

  constructor(refills: boolean) {
    const { host } = this;
    powerUp(host.processor);
    this.#refills = refills;
    this.#functions = refills ? host.runtimeFunctions : host.runtime.functions();
    const { fillFor } = host.mmu;
    host.mmu.fillFor = (linear, access) => {
      this.slow++;
      return fillFor.call(host.mmu, linear, access);
    };
    // Only the faults of non-canonical addresses ask which instruction it was.
    host.codeCache.instructionOf = () => ({ codeSize: 32 }) as ReturnType<typeof host.codeCache.instructionOf>;
    const { state, mmu } = host;
    state.efer = EFER.LME | EFER.LMA | EFER.NXE;
    state.cr4 = CR4.PAE | CR4.PGE;
    state.cr0 = CR0.PE | CR0.PG | CR0.WP;
    state.cr3 = ROOTS[0] as number;
    mmu.contextChanged();
  }

  write(address: number, low: number, high: number): void {
    this.host.physical.writeU32(address, low);
    this.host.physical.writeU32(address + 4, high);
  }

  access(kind: 'slowRead' | 'slowWrite', linear: number, size: number): string {
    const { runtime } = this.host;
    // Compiled code has addresses of 64 bits, the runtime numbers.
    const reachable = this.#reachable(linear);
    const status = (this.#functions[kind] as SlowAccess)(this.#refills ? BigInt(reachable) : reachable, size, 0);
    return `${status} ${status === SlowStatus.Event ? JSON.stringify(runtime.takeEvent()) : ''}`;
  }

  /** Without paging linear addresses have 32 bits. */
  #reachable(linear: number): number {
    return this.host.state.cr0 & CR0.PG ? linear : linear >>> 0;
  }

  fetch(address: number): string {
    const linear = this.#reachable(address);
    const { mmu } = this.host;
    const translateFetch = this.#functions.translateFetch as TranslateFetch;
    const known = this.#refills ? translateFetch(BigInt(linear)) >>> 0 : NO_FETCH >>> 0;
    if (known !== NO_FETCH >>> 0) {
      this.fetched++;
      return `${known}`;
    }
    const physical = mmu.tryTranslate(linear, Access.Execute);
    return physical < 0 ? JSON.stringify(mmu.takeFailure()) : `${physical}`;
  }

  remembered() {
    const { mmu, physical } = this.host;
    return {
      linear: mmu.tlb.linear.entries(),
      fast: mmu.fast.entries(),
      dirty: Buffer.from(physical.dirtyPages).toString('hex'),
      tables: Buffer.from(physical.bytes.subarray(0, END)).toString('hex'),
      statistics: [mmu.statistics.hits, mmu.statistics.misses],
    };
  }
}

const pick = <T>(next: Random, values: readonly T[]): T => values[next(values.length)] as T;

/** An entry: most are present, accessed, writable and the user's. */
function entry(next: Random, target: number, bits: number): readonly [low: number, high: number] {
  const odd = next(10) ? 0 : 1 << next(9);
  const high = next(30) ? 0 : pick(next, [0x8000_0000, 0x80, 1]);
  return [((target | bits) ^ odd) >>> 0, high];
}

/** Some entry of the tables: where, and what it is from now on. */
function someEntry(next: Random): readonly [address: number, low: number, high: number] {
  const level = next(16);
  const bits = 0x27 | (next(3) ? 0x40 : 0) | (next(4) ? 0 : 0x100);
  if (level === 0) return [pick(next, ROOTS) + pick(next, [0, 511]) * 8, ...entry(next, PDPT, 0x27)];
  const large = next(8) === 0 ? 0x80 : 0;
  if (level === 1) return [PDPT + next(2) * 8, ...entry(next, large ? 0 : PD + next(2) * 0x1000, bits | large)];
  if (level < 5)
    return [PD + next(16) * 256, ...entry(next, large ? next(3) << 21 : PT + next(8) * 0x1000, bits | large)];
  return [PT + next(0x8000 / 8) * 8, ...entry(next, pick(next, [0x12, 0x13, 0x200, 0x3ff, 0x400]) << 12, bits)];
}

function someLinear(next: Random): number {
  const page = next(2) * 2 ** 30 + next(8) * 32 * 2 ** 21 + next(64) * 4096;
  const linear = page + pick(next, [0, 8, 0xffc, 0xfff]);
  return next(40) ? (next(4) ? linear : linear - 2 ** 39) : pick(next, [2 ** 47, -(2 ** 47) - 4096, 2 ** 63]);
}

/** What both subjects do in a step; the same outcome is expected of both. */
function step(next: Random): (subject: Subject) => unknown {
  const kind = next(20);
  if (kind === 0) {
    const isPaged = next(5) > 0;
    const registers = {
      cpl: pick(next, [0, 3]),
      cr0: CR0.PE | (isPaged ? CR0.PG : 0) | (next(4) ? CR0.WP : 0),
      cr4: [CR4.PGE, CR4.SMAP, CR4.SMEP, CR4.PCIDE].reduce((cr4, bit) => cr4 | (next(3) ? 0 : bit), CR4.PAE),
      efer: EFER.LME | (isPaged ? EFER.LMA : 0) | (next(4) ? EFER.NXE : 0),
      flagsOther: RFLAGS.FIXED | (next(2) ? RFLAGS.AC : 0),
    };
    return ({ host }) => {
      Object.assign(host.state, registers);
      host.mmu.contextChanged();
    };
  }
  if (kind === 1) {
    const [root, pcid, keep] = [pick(next, ROOTS), next(3), next(2) === 1];
    return ({ host }) => host.mmu.writeCr3(root + (host.state.cr4 & CR4.PCIDE ? pcid : 0), keep);
  }
  if (kind === 2) {
    const page = next(RAM_BYTES / 4096);
    const on = next(3) === 0;
    return ({ host }) => host.mmu.watch(page * 4096, on, on);
  }
  const linear = someLinear(next);
  if (kind === 3) return ({ host }) => (Math.abs(linear) < 2 ** 47 ? host.mmu.invlpg(linear) : undefined);
  if (kind < 9) {
    const entries = Array.from({ length: 8 }, () => someEntry(next));
    return (subject) => {
      for (const [address, low, high] of entries) subject.write(address, low, high);
    };
  }
  if (kind < 12 && Math.abs(linear) < 2 ** 47) return (subject) => subject.fetch(linear);
  const size = pick(next, [1, 2, 4, 8]) + (next(4) ? 0 : 16);
  return next(3)
    ? (subject) => subject.access('slowRead', linear, size)
    : (subject) => subject.access('slowWrite', linear, size & 15);
}

test('the refill and the runtime remember the same translations', () => {
  const [plain, refilled] = [new Subject(false), new Subject(true)];
  const next = random(0x2545_f491);
  for (let i = 0; i < 3000; i++) {
    const [address, low, high] = someEntry(next);
    for (const subject of [plain, refilled]) subject.write(address, low, high);
  }
  let accesses = 0;
  for (let i = 0; i < STEPS; i++) {
    const action = step(next);
    const before = plain.slow;
    const expected = action(plain);
    accesses += plain.slow - before;
    expect(action(refilled), `step ${i}`).toEqual(expected);
    if (i % 50 === 0) expect(refilled.remembered(), `step ${i}`).toEqual(plain.remembered());
  }
  // Most accesses in a run of such steps are illegal, or need a flag to be set.
  expect(accesses - refilled.slow).toBeGreaterThan(accesses / 10);
  expect(refilled.fetched).toBeGreaterThan(100);
});
