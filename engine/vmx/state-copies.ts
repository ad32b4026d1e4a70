/** Copies between the CPU state and the VMCS that need no thought, by precomputed places: registers and segments. */
import type { CpuState } from '../cpu/state.ts';
import {
  fieldAddress,
  gprAddress,
  type FieldName as StateField,
  segmentAddress,
  segmentLayout,
  segmentNames,
} from '../cpu/state-layout.ts';
import type { PhysicalMemory } from '../mmu/physical-memory.ts';
import type { VmcsFieldName } from './fields.ts';
import { offsetOf } from './vmcs.ts';

/** Pairs of places, flat: index of a 32-bit word of the wasm memory, and of one of the VMCS region. */
type Words = Uint32Array;
type Pair = readonly [stateAddress: number, vmcsOffset: number];

const fields = (...pairs: readonly (readonly [StateField, VmcsFieldName])[]): Pair[] =>
  pairs.map(([field, name]) => [fieldAddress[field], offsetOf(name)]);

const segments = (part: number, suffix: 'base' | 'limit' | 'access rights' | 'selector'): Pair[] =>
  segmentNames.map((name, index) => [segmentAddress(index) + part, offsetOf(`Guest ${name} ${suffix}`)]);

/** Both words of 64-bit registers, and the one of 32-bit registers. */
function wordsOf(pairs64: readonly Pair[], pairs32: readonly Pair[]): Words {
  const upper = pairs64.map(([at, offset]): Pair => [at + 4, offset + 4]);
  return Uint32Array.from([...pairs64, ...upper, ...pairs32].flat().map((address) => address / 4));
}

const RSP_ADDRESS = gprAddress(4);

/** Guest registers that VM entries load and VM exits save as they are. */
const guest = wordsOf(
  [
    ...fields(
      ['cr3', 'Guest CR3'],
      ['rip', 'Guest RIP'],
      ['gdtrBase', 'Guest GDTR base'],
      ['idtrBase', 'Guest IDTR base'],
      ['sysenterEsp', 'Guest IA32_SYSENTER_ESP'],
      ['sysenterEip', 'Guest IA32_SYSENTER_EIP'],
    ),
    [RSP_ADDRESS, offsetOf('Guest RSP')],
    ...segments(segmentLayout.base, 'base'),
  ],
  [
    ...fields(
      ['gdtrLimit', 'Guest GDTR limit'],
      ['idtrLimit', 'Guest IDTR limit'],
      ['sysenterCs', 'Guest IA32_SYSENTER_CS'],
      ['activityState', 'Guest activity state'],
      ['interruptibility', 'Guest interruptibility state'],
    ),
    ...segments(segmentLayout.limit, 'limit'),
    ...segments(segmentLayout.attributes, 'access rights'),
    ...segments(segmentLayout.selector, 'selector'),
  ],
);

/** Host registers that VM exits load as they are. */
const host = wordsOf(
  [
    ...fields(
      ['cr3', 'Host CR3'],
      ['rip', 'Host RIP'],
      ['gdtrBase', 'Host GDTR base'],
      ['idtrBase', 'Host IDTR base'],
      ['sysenterEsp', 'Host IA32_SYSENTER_ESP'],
      ['sysenterEip', 'Host IA32_SYSENTER_EIP'],
    ),
    [RSP_ADDRESS, offsetOf('Host RSP')],
  ],
  fields(['sysenterCs', 'Host IA32_SYSENTER_CS']),
);

const selectorAddresses = segmentNames.map((_, index) => (segmentAddress(index) + segmentLayout.selector) / 4);

export class StateCopies {
  /** The whole wasm memory, which holds the state and RAM. */
  readonly #words: Uint32Array;
  readonly #ram: number;
  readonly #state: CpuState;

  constructor(state: CpuState, physical: PhysicalMemory) {
    if (physical.view.buffer !== state.view.buffer) throw new Error('internal: state and RAM are not in one memory');
    this.#words = new Uint32Array(state.view.buffer);
    this.#ram = physical.view.byteOffset;
    this.#state = state;
  }

  /** Word index of the current VMCS. */
  #region(): number {
    return (this.#ram + this.#state.currentVmcs) / 4;
  }

  #load(pairs: Words): void {
    const words = this.#words;
    const region = this.#region();
    for (let i = 0; i < pairs.length; i += 2) {
      words[pairs[i] as number] = words[region + (pairs[i + 1] as number)] as number;
    }
  }

  /** VM entry: registers and segments that are loaded without further ado. */
  loadGuest(): void {
    this.#load(guest);
    // Fields of 16 bits; what software may have stored beyond them does not count.
    for (const at of selectorAddresses) this.#words[at] = (this.#words[at] as number) & 0xffff;
  }

  /** VM exit: the same registers, of the host. */
  loadHost(): void {
    this.#load(host);
  }

  /** VM exit: the guest's registers and segments go to the VMCS. */
  saveGuest(): void {
    const words = this.#words;
    const region = this.#region();
    for (let i = 0; i < guest.length; i += 2) {
      words[region + (guest[i + 1] as number)] = words[guest[i] as number] as number;
    }
  }
}
