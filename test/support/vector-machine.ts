/** A bare processor in the setting in which the vectors were recorded: user code, its regions and nothing else. */
import type { CpuConfig } from '../../engine/cpu/cpu-models.ts';
import { GuestFault } from '../../engine/cpu/events.ts';
import { readExtendedState, writeExtendedState } from '../../engine/cpu/extended-state.ts';
import { readFlags, writeFlags } from '../../engine/cpu/flags.ts';
import { refreshMode } from '../../engine/cpu/modes.ts';
import { powerUp } from '../../engine/cpu/reset.ts';
import { CS, GS, SS, TR } from '../../engine/cpu/state.ts';
import type { HotSpotOptions } from '../../engine/exec/compiler/hot-spots.ts';
import type { Executor } from '../../engine/exec/executor.ts';
import type { ExtendedState } from '../../engine/isa/oracle.ts';
import type { Host } from '../../engine/machine/host.ts';
import { HIGH_ADDRESS, type Mode, patternByte, regionContents, regionsOf } from '../vectors/layout.ts';
import type { MachineState, MemoryBytes, Vector } from '../vectors/read-vectors.ts';
import { bareHost } from './bare-host.ts';
import { extendedDifferences, toEngine } from './extended-state.ts';
import { forgiving, readX87Words, writeX87Words, type X87Words, x87Differences } from './x87-state.ts';

const RAM_BYTES = 0x80_0000;
const TABLES = 0x60_0000;
/** Where the region above 4 GiB lies in RAM. */
const HIGH_PHYSICAL = 0x50_0000;
const PAGE = 4096;
const USER = 7n;
/** Access rights: present, DPL 3, accessed; data and code, 4 GiB. */
const DATA3 = 0xc0f3;
const CODE3_32 = 0xc0fb;
const CODE3_64 = 0xa0fb;
const DATA_REAL = 0xf3;

export interface VectorOutcome {
  readonly gpr: bigint[];
  readonly flags: number;
  readonly rip: bigint;
  readonly segments: number[];
  readonly exception: GuestFault | undefined;
  readonly x87: X87Words;
  readonly extended: ExtendedState;
  /** Changed bytes by linear address. */
  readonly memory: Map<number, number>;
}

/** Runs of the same code from the same input, which `end` takes out of memory. */
export interface Attempts {
  readonly run: (work: (executor: Executor) => void) => VectorOutcome;
  readonly end: () => void;
}

export class VectorMachine {
  readonly host: Host;
  readonly #mode: Mode;
  #fault: GuestFault | undefined;
  readonly #pristine: { address: number; physical: number; bytes: Uint8Array }[];

  constructor(mode: Mode, hotSpots?: HotSpotOptions, cpu?: CpuConfig) {
    this.#mode = mode;
    this.host = bareHost({
      ...(cpu === undefined ? {} : { cpu }),
      ...(hotSpots === undefined ? {} : { hotSpots }),
      ramBytes: RAM_BYTES,
      handleEvent: (event) => this.#event(event),
      interrupted: () => this.#fault !== undefined,
    });
    powerUp(this.host.processor);
    // A TSS without an I/O permission bitmap, as user code has it.
    this.host.state.segment(TR).limit = 0x50;
    const intercept = (fault: GuestFault): never => {
      throw fault;
    };
    this.host.processor.intercepts = { onException: intercept };
    this.#pristine = regionsOf(mode).map((region) => ({
      address: region.address,
      physical: this.#physical(region.address),
      bytes: regionContents(region),
    }));
    for (const { address, bytes } of this.#pristine) this.#poke(address, bytes);
    if (mode === 64) this.#mapLong();
    else if (mode === 32) this.#map32();
    this.#enter();
  }

  /** Executes one instruction (a REP to its end) from the vector's input. */
  run(vector: Vector): VectorOutcome {
    const start = Number(vector.input.rip);
    return this.execute(vector.input, vector.bytes, (executor) => {
      let rounds = 0;
      do executor.run(1);
      while (!this.#fault && this.host.state.rip === start && isRepeated(vector) && ++rounds < 100_000);
    });
  }

  get faulted(): boolean {
    return this.#fault !== undefined;
  }

  /** Puts code at the input's RIP, the rest of the input in place, and lets `work` run it. */
  execute(input: MachineState, code: Uint8Array, work: (executor: Executor) => void): VectorOutcome {
    const attempts = this.start(input, code);
    try {
      return attempts.run(work);
    } finally {
      attempts.end();
    }
  }

  /** As `execute`, any number of times from the same input. Code that did not change stays decoded from one to the next. */
  start(input: MachineState, code: Uint8Array): Attempts {
    const start = Number(input.rip);
    const linear = this.#mode === 16 ? (input.segments[1] as number) * 16 + start : start;
    const patches = [...input.memory, { address: linear, bytes: code }];
    for (const { address, bytes } of patches) this.#poke(address, bytes);
    return {
      run: (work) => {
        this.#begin(input);
        work(this.host.executor);
        return this.#outcome(patches);
      },
      end: () => {
        for (const { address, bytes } of patches)
          this.#poke(
            address,
            bytes.map((_, n) => this.#pristineByte(address + n)),
          );
      },
    };
  }

  #begin(input: MachineState): void {
    const { state } = this.host;
    this.#setSegments(input.segments);
    for (const [index, value] of input.gpr.entries()) state.setGpr(index, value);
    writeX87Words(state, input.extended);
    writeExtendedState(state, toEngine(input.extended));
    writeFlags(state, input.flags | 2);
    state.rip = Number(input.rip);
    state.interruptibility = 0;
    state.cpl = this.#mode === 16 ? 0 : 3;
    this.host.mmu.privilegeChanged();
    this.#fault = undefined;
  }

  #outcome(patches: readonly MemoryBytes[]): VectorOutcome {
    const { state } = this.host;
    return {
      gpr: Array.from({ length: 16 }, (_, index) => state.gpr(index)),
      flags: readFlags(state),
      rip: BigInt.asUintN(64, BigInt(state.rip)),
      segments: [0, 1, 2, 3, 4, 5].map((index) => state.segment(index).selector),
      exception: this.#fault,
      x87: readX87Words(state),
      extended: readExtendedState(state),
      memory: this.#takeChanges(patches),
    };
  }

  #poke(address: number, bytes: Uint8Array): void {
    this.host.physical.poke(this.#physical(address), bytes);
  }

  /** What differs from the regions' contents and the patches; that is as it was afterwards. */
  #takeChanges(patches: readonly MemoryBytes[]): Map<number, number> {
    const changes = new Map<number, number>();
    for (const { address, physical, bytes } of this.#pristine) {
      for (let at = 0; at < bytes.length; at += PAGE) {
        const now = this.host.physical.bytes.subarray(physical + at, physical + at + PAGE);
        const before = patched(address + at, bytes.subarray(at, at + PAGE), patches);
        if (Buffer.compare(now, before) === 0) continue;
        for (const [i, byte] of before.entries()) {
          if (now[i] === byte) continue;
          changes.set(address + at + i, now[i] as number);
          this.host.physical.poke(physical + at + i, Uint8Array.of(byte));
        }
      }
    }
    return changes;
  }

  #pristineByte(address: number): number {
    const region = this.#pristine.find((r) => address >= r.address && address < r.address + r.bytes.length);
    return region?.bytes[address - region.address] ?? 0;
  }

  #event(event: unknown): void {
    if (!(event instanceof GuestFault)) throw event;
    this.#fault = event;
  }

  #physical(address: number): number {
    return address >= HIGH_ADDRESS ? address - HIGH_ADDRESS + HIGH_PHYSICAL : address;
  }

  #enter(): void {
    const { state, processor, mmu } = this.host;
    state.cr0 = this.#mode === 16 ? 0x30 : 0x8001_0031;
    // OSFXSR, OSXMMEXCPT and OSXSAVE, and PAE in 64-bit mode.
    state.cr4 = 0x4_0600 | (this.#mode === 64 ? 0x20 : 0);
    state.xcr0 = 7;
    state.efer = this.#mode === 64 ? 0x500 : 0;
    state.cr3 = TABLES;
    for (let index = 0; index <= GS; index++) {
      Object.assign(state.segment(index), { base: 0, limit: 0xffff_ffff, attributes: DATA3 });
    }
    state.segment(CS).attributes = this.#mode === 64 ? CODE3_64 : CODE3_32;
    mmu.contextChanged();
    refreshMode(processor);
    mmu.privilegeChanged();
  }

  #setSegments(selectors: readonly number[]): void {
    const { state, processor } = this.host;
    selectors.forEach((selector, index) => {
      state.segment(index).selector = selector;
      if (this.#mode === 16) {
        Object.assign(state.segment(index), {
          base: selector * 16,
          limit: 0xffff,
          attributes: index === CS ? 0xfb : DATA_REAL,
        });
      }
    });
    if (this.#mode === 16) state.segment(SS).attributes = DATA_REAL;
    refreshMode(processor);
    this.host.executor.translationsChanged();
  }

  #mapLong(): void {
    let next = TABLES + PAGE;
    const { physical } = this.host;
    const descend = (table: number, index: number): number => {
      const at = table + index * 8;
      if (!physical.readU64(at)) {
        physical.writeU64(at, BigInt(next) | USER);
        next += PAGE;
      }
      return Number(physical.readU64(at) & ~0xfffn);
    };
    this.#eachPage((linear, page) => {
      const part = (shift: number) => Math.floor(linear / 2 ** shift) % 512;
      const table = descend(descend(descend(TABLES, part(39)), part(30)), part(21));
      physical.writeU64(table + part(12) * 8, BigInt(page) | USER);
    });
  }

  #map32(): void {
    const { physical } = this.host;
    physical.writeU32(TABLES, (TABLES + PAGE) | Number(USER));
    this.#eachPage((linear, page) => physical.writeU32(TABLES + PAGE + (linear >> 12) * 4, page | Number(USER)));
  }

  #eachPage(map: (linear: number, physical: number) => void): void {
    for (const { address, lengthBytes } of regionsOf(this.#mode)) {
      for (let offset = 0; offset < lengthBytes; offset += PAGE)
        map(address + offset, this.#physical(address) + offset);
    }
  }
}

/** A page with what patches put into it. */
function patched(address: number, page: Uint8Array, patches: readonly MemoryBytes[]): Uint8Array {
  const inside = patches.filter(
    (patch) => patch.address < address + PAGE && patch.address + patch.bytes.length > address,
  );
  if (inside.length === 0) return page;
  const copy = page.slice();
  for (const patch of inside) {
    for (const [n, byte] of patch.bytes.entries()) {
      const at = patch.address + n - address;
      if (at >= 0 && at < PAGE) copy[at] = byte;
    }
  }
  return copy;
}

const isRepeated = (vector: Vector): boolean => /\brep/.test(vector.disassembly);

/** What differs from the vector's output, in words; empty if nothing. */
export function differences(vector: Vector, outcome: VectorOutcome): string[] {
  const { output, flagsMask } = vector;
  const found: string[] = [];
  const expect = (what: string, expected: bigint | number | undefined, got: bigint | number | undefined): void => {
    if (expected !== got) found.push(`${what}: expected ${expected?.toString(16)}, got ${got?.toString(16)}`);
  };
  expect('exception', output.exception?.vector, outcome.exception?.vector);
  if (vector.mode !== 16) expect('error code', output.exception?.errorCode, outcome.exception?.errorCode);
  for (const [index, value] of output.gpr.entries()) expect(`gpr ${index}`, value, outcome.gpr[index]);
  expect('flags', output.flags & flagsMask, outcome.flags & flagsMask);
  if (!output.exception) expect('rip', output.rip, outcome.rip);
  const extended = forgiving(vector.name, output.extended, { fpr: outcome.extended.x87, fsw: outcome.x87.fsw });
  found.push(...x87Differences(extended, outcome.x87));
  found.push(...extendedDifferences(toEngine(extended), outcome.extended));
  for (const [index, value] of output.segments.entries()) expect(`segment ${index}`, value, outcome.segments[index]);
  const expected = new Map<number, number>();
  for (const { address, bytes } of output.memory)
    for (const [i, byte] of bytes.entries()) expected.set(address + i, byte);
  for (const [address, byte] of outcome.memory) {
    if (expected.get(address) !== byte)
      found.push(
        `byte at ${address.toString(16)}: got ${byte.toString(16)}, expected ${expected.get(address)?.toString(16) ?? 'no change'}`,
      );
  }
  for (const [address, byte] of expected) {
    if (!outcome.memory.has(address) && initialByte(vector, address) !== byte)
      found.push(`byte at ${address.toString(16)}: expected ${byte.toString(16)}, got no change`);
  }
  return found;
}

function initialByte(vector: Vector, address: number): number {
  for (const { address: start, bytes } of vector.input.memory) {
    const byte = bytes[address - start];
    if (byte !== undefined) return byte;
  }
  return patternByte(address % 0x1_0000_0000);
}
