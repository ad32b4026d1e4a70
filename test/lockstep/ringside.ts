/** Ringside's machine without devices, one step at a time: an instruction, or the delivery of an event. */
import { GuestFault } from '../../engine/cpu/events.ts';
import { readFlags, writeFlags } from '../../engine/cpu/flags.ts';
import { raiseFault } from '../../engine/cpu/interrupts.ts';
import { ALL_WATCHED } from '../../engine/cpu/memory-map.ts';
import { refreshMode } from '../../engine/cpu/modes.ts';
import { BLOCKING } from '../../engine/cpu/register-bits.ts';
import { powerUp } from '../../engine/cpu/reset.ts';
import type { CpuState } from '../../engine/cpu/state.ts';
import { vectorAddress } from '../../engine/cpu/state-layout.ts';
import type { Host } from '../../engine/machine/host.ts';
import { bareHost } from '../support/bare-host.ts';
import { type Change, type End, GPRS, type Guest, registerOf, SEGMENTS, type State, type Step } from './state.ts';
import { changesOf } from './steps.ts';

const TF = 0x100;

/** Fields of the engine's state that bear the same name here. */
const WORDS = ['cr0', 'cr4', 'cr8', 'efer', 'fcw', 'fsw', 'ftw', 'mxcsr'] as const;

export class LockstepMachine {
  readonly host: Host;
  readonly #shadow: Uint8Array;
  readonly #before: Uint8Array;
  #end: End | undefined;

  /** `watched`: every event goes through the engine's functions; otherwise the ordinary ones take their fast ways. */
  constructor(guest: Guest, watched: boolean) {
    this.host = bareHost({
      ramBytes: guest.ram.length,
      handleEvent: (event) => this.#deliver(event),
      interrupted: () => this.#end !== undefined,
      tripleFault: () => {
        this.#end = 'shut down';
      },
    });
    this.host.watch(watched ? ALL_WATCHED : 0);
    powerUp(this.host.processor);
    this.host.physical.poke(0, guest.ram);
    this.#shadow = guest.ram.slice();
    this.#before = guest.ram.slice();
    this.#enter(guest.start);
  }

  get isInMovSsShadow(): boolean {
    return (this.host.state.interruptibility & BLOCKING.MOV_SS) !== 0;
  }

  /** One instruction (of a repeated one, one iteration) or the delivery of one event. */
  step(): Step {
    this.host.executor.run(1);
    if (this.host.state.activityState === 1) this.#end ??= 'halted';
    return { state: this.state(), changes: this.#changes(), ...(this.#end ? { end: this.#end } : {}) };
  }

  state(): State {
    const { state } = this.host;
    const values: Record<string, bigint> = {};
    for (const [n, name] of GPRS.entries()) values[name] = state.gpr(n);
    values.rip = BigInt.asUintN(64, BigInt(state.rip));
    values.rflags = BigInt(readFlags(state));
    for (const [n, name] of SEGMENTS.entries()) {
      const { base, limit, attributes, selector } = state.segment(n);
      values[`${name}.base`] = BigInt.asUintN(64, BigInt(base));
      values[`${name}.limit`] = BigInt(limit);
      values[`${name}.attributes`] = BigInt(attributes);
      values[name] = BigInt(selector);
    }
    for (const name of ['gdtr', 'idtr'] as const) {
      values[`${name}.base`] = BigInt.asUintN(64, BigInt(state[`${name}Base`]));
      values[`${name}.limit`] = BigInt(state[`${name}Limit`]);
    }
    for (const name of WORDS) values[name] = BigInt(state[name]);
    values.cr2 = state.cr2;
    values.cr3 = BigInt(state.cr3);
    readExtended(state, values);
    return values;
  }

  /** Goes on from what another machine holds where both may differ. */
  adopt(values: State, names: readonly string[]): void {
    const { state } = this.host;
    for (const name of names) {
      const gpr = (GPRS as readonly string[]).indexOf(name);
      if (gpr >= 0) state.setGpr(gpr, registerOf(values, name));
      else if (name === 'rflags') writeFlags(state, Number(registerOf(values, name)) & ~TF);
      else throw new Error(`no way to adopt ${name}`);
    }
  }

  #enter(start: State): void {
    const { state, processor, mmu } = this.host;
    const number = (name: string) => Number(BigInt.asIntN(64, registerOf(start, name)));
    for (const [n, name] of GPRS.entries()) state.setGpr(n, registerOf(start, name));
    for (const [n, name] of SEGMENTS.entries()) {
      Object.assign(state.segment(n), {
        base: number(`${name}.base`),
        limit: number(`${name}.limit`),
        attributes: number(`${name}.attributes`),
        selector: number(name),
      });
    }
    for (const name of ['gdtr', 'idtr'] as const) {
      state[`${name}Base`] = number(`${name}.base`);
      state[`${name}Limit`] = number(`${name}.limit`);
    }
    for (const name of WORDS) state[name] = number(name);
    state.cr2 = registerOf(start, 'cr2');
    state.cr3 = number('cr3');
    writeExtended(state, start);
    writeFlags(state, number('rflags'));
    state.rip = number('rip');
    state.cpl = (number('ss.attributes') >> 5) & 3;
    mmu.contextChanged();
    refreshMode(processor);
    mmu.privilegeChanged();
  }

  #deliver(event: unknown): void {
    if (!(event instanceof GuestFault)) throw event;
    if (!this.host.deliverFast(event)) raiseFault(this.host.processor, event);
  }

  /** What a byte held before the last step. */
  byteBefore(address: number): number {
    return this.#before[address] ?? 0;
  }
  /** Goes on from what another machine holds at an address. */
  adoptByte(address: number, byte: number): void {
    this.host.physical.poke(address, Uint8Array.of(byte));
    this.#shadow[address] = byte;
  }

  /** What differs from the step before. */
  #changes(): Change[] {
    this.#before.set(this.#shadow);
    return changesOf(this.host.physical.bytes.subarray(0, this.#shadow.length), this.#shadow);
  }
}

function readExtended(state: CpuState, values: Record<string, bigint>): void {
  const top = (state.fsw >> 11) & 7;
  for (let n = 0; n < 8; n++) values[`fpr${n}`] = state.x87Register((top + n) & 7);
  for (let n = 0; n < 16; n++) {
    const at = vectorAddress(n);
    values[`xmm${n}`] = state.view.getBigUint64(at, true) | (state.view.getBigUint64(at + 8, true) << 64n);
  }
}

function writeExtended(state: CpuState, start: State): void {
  const top = (state.fsw >> 11) & 7;
  for (let n = 0; n < 8; n++) state.setX87Register((top + n) & 7, registerOf(start, `fpr${n}`));
  for (let n = 0; n < 16; n++) {
    const [at, value] = [vectorAddress(n), registerOf(start, `xmm${n}`)];
    state.view.setBigUint64(at, BigInt.asUintN(64, value), true);
    state.view.setBigUint64(at + 8, value >> 64n, true);
  }
}
