/**
 * Data watches of all kinds. Accesses are noted while an instruction, event or device is at work, and judged at the next
 * boundary, where the run stops if some count. While nothing is watched, nobody calls here.
 */
import type { DecodedInstruction } from '../../isa/decode.ts';
import type { Host } from '../host.ts';
import type { Stop, Watch } from '../machine-api.ts';
import type { MachinePlatform } from '../platform.ts';
import { MemoryWatches } from './memory-watches.ts';
import { RegisterWatches } from './register-watches.ts';
import { type Cause, WatchCauses } from './watch-causes.ts';
import { WatchNotes } from './watch-notes.ts';

export class Watches {
  readonly #host: Host;
  readonly #notes: WatchNotes;
  readonly #causes: WatchCauses;
  readonly #memory: MemoryWatches;
  readonly #registers: RegisterWatches;
  readonly #request: (stop: Stop) => void;
  #ports: readonly Watch[] = [];
  #ranges: readonly Watch[] = [];
  #isArmed = false;
  #inInstruction = false;
  readonly #isQuiet: () => boolean;

  /** While `isQuiet`, nothing stops, and nobody need tell of anything. */
  constructor(host: Host, request: (stop: Stop) => void, isQuiet: () => boolean) {
    this.#host = host;
    this.#request = request;
    this.#isQuiet = isQuiet;
    this.#notes = new WatchNotes(() => {
      host.runtime.stopRequested = true;
    }, isQuiet);
    this.#causes = new WatchCauses(host);
    this.#memory = new MemoryWatches(host, this.#notes, this.#causes);
    this.#registers = new RegisterWatches(host, this.#notes, this.#causes);
  }

  set(watches: readonly Watch[], platform: MachinePlatform): void {
    const ports = platform.pc.portBus;
    this.#isArmed = watches.length > 0;
    this.#ports = watches.filter(({ target }) => target.kind === 'port');
    ports.onAccess = this.#ports.length > 0 ? (...access) => this.#portAccessed(...access) : undefined;
    this.#ranges = watches.filter(({ target }) => target.kind === 'memory');
    platform.onMemoryAccess = this.#ranges.length > 0 ? (...access) => this.#deviceAccessed(...access) : undefined;
    this.#registers.set(watches);
    this.#memory.set(watches);
  }

  /** Whether anything is watched now. */
  get isArmed(): boolean {
    return this.#isArmed && !this.#isQuiet();
  }
  /** WATCHED bits: what has to be told of. */
  get watched(): number {
    return this.isArmed ? this.#registers.watched : 0;
  }

  /** Something was noted that the next boundary judges. */
  get isUnsettled(): boolean {
    return !this.#notes.isEmpty;
  }
  /** At a boundary: asks for a stop if something that was noted counts. */
  settle(): void {
    const hits = this.#notes.take();
    if (hits.length > 0) this.#request({ kind: 'watch', vcpu: this.#host.loaded, hits });
  }
  /** What was noted came from outside. */
  discard(): void {
    this.#notes.discard();
  }

  /** Who accesses what just now. */
  get cause(): Cause {
    return this.#causes.current;
  }

  /** Another vCPU may be loaded. */
  follow(): void {
    this.#memory.follow();
  }

  // ---- what happens ------------------------------------------------------------------------------------------------

  beforeSystem(instruction: DecodedInstruction): void {
    this.#causes.begin(instruction.mnemonic.toUpperCase());
    this.#inInstruction = true;
    this.#registers.begin();
    this.#registers.intend(instruction);
  }
  /** The instruction completed, or led to a VM exit that was taken in its place. */
  afterSystem(): void {
    if (!this.#inInstruction) return;
    this.#registers.completed();
    this.#endOfInstruction();
  }
  #endOfInstruction(): void {
    this.#inInstruction = false;
    this.#registers.end();
    this.#causes.end();
    this.#memory.follow();
  }

  /** Deals with what ended an instruction. */
  duringEvent(event: unknown, work: () => void): void {
    // What the instruction did before, as a task switch, is its own.
    this.#registers.forget();
    if (this.#inInstruction) this.#endOfInstruction();
    this.during(this.#causes.describeEvent(event), work);
  }

  /** Work of the processor between instructions. */
  during<T>(by: string, work: () => T): T {
    if (!this.isArmed) return work();
    this.#memory.follow();
    const outer = this.#causes.begin(by);
    this.#registers.begin();
    try {
      return work();
    } finally {
      this.#registers.end();
      this.#causes.end(outer);
    }
  }

  controlRegisterWritten(name: string, before: number | bigint, after: number | bigint): void {
    if (this.isArmed) this.#registers.controlRegisterWritten(name, BigInt(before), BigInt(after));
  }
  msrAccessed(index: number, access: 'read' | 'write', value: bigint): void {
    if (this.isArmed) this.#registers.msrAccessed(index, access, value);
  }

  #portAccessed(port: number, lengthBytes: number, access: 'read' | 'write', value: number): void {
    for (const watch of this.#ports) {
      const { target } = watch;
      if (target.kind !== 'port' || !watch[access]) continue;
      if (port >= target.port + target.lengthBytes || port + lengthBytes <= target.port) continue;
      this.#noteDevice(watch, port, access, value);
    }
  }
  /** Where there is a device in place of RAM. */
  #deviceAccessed(address: number, lengthBytes: number, access: 'read' | 'write', value: number): void {
    for (const watch of this.#ranges) {
      const { target } = watch;
      if (target.kind !== 'memory' || !watch[access]) continue;
      const first = Number(target.address);
      if (address >= first + target.lengthBytes || address + lengthBytes <= first) continue;
      this.#noteDevice(watch, address, access, value);
    }
  }
  /** What a register held before nobody may ask: reading it may change it. */
  #noteDevice(watch: Watch, address: number, access: 'read' | 'write', value: number): void {
    const after = () => BigInt(value >>> 0);
    const cause = this.#causes.current;
    this.#notes.add({ watch, access, address, before: undefined, after, isExplicit: true, cause });
  }
}
