/**
 * Copies between the CPU state and the VMCS that need no thought: registers and segments. As VM entries and exits are
 * frequent and this is most of their work, they are WebAssembly functions without a loop, made once from lists of places.
 */
import { ACCESS } from '../cpu/register-bits.ts';
import { type CpuState, CS, DS, ES, FS, GS, LDTR, SS, TR } from '../cpu/state.ts';
import {
  fieldAddress,
  gprAddress,
  type FieldName as StateField,
  segmentAddress,
  segmentLayout,
  segmentNames,
} from '../cpu/state-layout.ts';
import type { PhysicalMemory } from '../mmu/physical-memory.ts';
import { encodeModule, FunctionBody, I32, memoryOp, op } from '../wasm/encoder.ts';
import type { VmcsFieldName } from './fields.ts';
import { BUSY_TSS_RIGHTS, codeRights, DATA_RIGHTS, FLAT_LIMIT, TABLE_LIMIT, TSS_LIMIT } from './host-segments.ts';
import { offsetOf } from './vmcs.ts';

/** A place of the CPU state and one of the VMCS region that hold the same. */
type Pair = readonly [stateAddress: number, vmcsOffset: number];

interface Places {
  /** By bytes that are copied. Of 16-bit fields, what software may have stored beyond them does not count. */
  readonly 8: readonly Pair[];
  readonly 4: readonly Pair[];
  /** To the state they are zero-extended; saved they are 32 bits of the region. */
  readonly 2: readonly Pair[];
}

const fields = (...pairs: readonly (readonly [StateField, VmcsFieldName])[]): Pair[] =>
  pairs.map(([field, name]) => [fieldAddress[field], offsetOf(name)]);

const part = (index: number, name: keyof typeof segmentLayout): number => segmentAddress(index) + segmentLayout[name];

const segments = (
  name: keyof typeof segmentLayout,
  suffix: 'base' | 'limit' | 'access rights' | 'selector',
): readonly Pair[] => segmentNames.map((segment, index) => [part(index, name), offsetOf(`Guest ${segment} ${suffix}`)]);

const RSP_ADDRESS = gprAddress(4);

/** Guest registers that VM entries load and VM exits save as they are. */
const guest: Places = {
  8: [
    ...fields(
      ['cr3', 'Guest CR3'],
      ['rip', 'Guest RIP'],
      ['gdtrBase', 'Guest GDTR base'],
      ['idtrBase', 'Guest IDTR base'],
      ['sysenterEsp', 'Guest IA32_SYSENTER_ESP'],
      ['sysenterEip', 'Guest IA32_SYSENTER_EIP'],
    ),
    [RSP_ADDRESS, offsetOf('Guest RSP')],
    ...segments('base', 'base'),
  ],
  4: [
    ...fields(
      ['gdtrLimit', 'Guest GDTR limit'],
      ['idtrLimit', 'Guest IDTR limit'],
      ['sysenterCs', 'Guest IA32_SYSENTER_CS'],
      ['activityState', 'Guest activity state'],
      ['interruptibility', 'Guest interruptibility state'],
    ),
    ...segments('limit', 'limit'),
    ...segments('attributes', 'access rights'),
  ],
  2: segments('selector', 'selector'),
};

/** Host registers that VM exits load as they are. */
const host: Places = {
  8: [
    ...fields(
      ['cr3', 'Host CR3'],
      ['rip', 'Host RIP'],
      ['gdtrBase', 'Host GDTR base'],
      ['idtrBase', 'Host IDTR base'],
      ['sysenterEsp', 'Host IA32_SYSENTER_ESP'],
      ['sysenterEip', 'Host IA32_SYSENTER_EIP'],
    ),
    [RSP_ADDRESS, offsetOf('Host RSP')],
    [part(FS, 'base'), offsetOf('Host FS base')],
    [part(GS, 'base'), offsetOf('Host GS base')],
    [part(TR, 'base'), offsetOf('Host TR base')],
  ],
  4: fields(['sysenterCs', 'Host IA32_SYSENTER_CS']),
  2: [
    [part(ES, 'selector'), offsetOf('Host ES selector')],
    [part(CS, 'selector'), offsetOf('Host CS selector')],
    [part(SS, 'selector'), offsetOf('Host SS selector')],
    [part(DS, 'selector'), offsetOf('Host DS selector')],
    [part(FS, 'selector'), offsetOf('Host FS selector')],
    [part(GS, 'selector'), offsetOf('Host GS selector')],
    [part(TR, 'selector'), offsetOf('Host TR selector')],
  ],
};

/** What VM exits load whatever the VMCS holds: 32 bits at addresses of the state. */
const hostConstants: readonly (readonly [stateAddress: number, value: number])[] = [
  ...[ES, SS, DS, FS, GS, CS].map((index) => [part(index, 'limit'), FLAT_LIMIT] as const),
  [part(TR, 'limit'), TSS_LIMIT],
  [part(TR, 'attributes'), BUSY_TSS_RIGHTS],
  [part(LDTR, 'selector'), 0],
  [part(LDTR, 'attributes'), ACCESS.UNUSABLE],
  [fieldAddress.gdtrLimit, TABLE_LIMIT],
  [fieldAddress.idtrLimit, TABLE_LIMIT],
];
const FLAT_SEGMENTS = [ES, CS, SS, DS, LDTR];
const DATA_SEGMENTS = [ES, SS, DS, FS, GS];

function emitLoads(f: FunctionBody, places: Places, region: number): void {
  for (const [at, offset] of places[8]) {
    f.i32(at).get(region).memory(memoryOp.i64Load, offset).memory(memoryOp.i64Store);
  }
  for (const [at, offset] of places[4]) {
    f.i32(at).get(region).memory(memoryOp.i32Load, offset).memory(memoryOp.i32Store);
  }
  for (const [at, offset] of places[2]) {
    f.i32(at).get(region).memory(memoryOp.i32Load16U, offset).memory(memoryOp.i32Store);
  }
}

/** VM entry: registers and segments that are loaded without further ado. `region`: local with the VMCS's wasm address. */
export const emitLoadGuest = (f: FunctionBody, region: number): void => emitLoads(f, guest, region);

/** VM exit: the guest's registers and segments go to the VMCS. */
export function emitSaveGuest(f: FunctionBody, region: number): void {
  for (const [at, offset] of guest[8]) {
    f.get(region).i32(at).memory(memoryOp.i64Load).memory(memoryOp.i64Store, offset);
  }
  for (const [at, offset] of [...guest[4], ...guest[2]]) {
    f.get(region).i32(at).memory(memoryOp.i32Load).memory(memoryOp.i32Store, offset);
  }
}

/** VM exit: the same registers, of a host whose access rights of CS are pushed by `codeRights`. */
export function emitLoadHost(f: FunctionBody, region: number, codeRights: () => void): void {
  emitLoads(f, host, region);
  for (const [at, value] of hostConstants) f.i32(at).i32(value).memory(memoryOp.i32Store);
  for (const index of FLAT_SEGMENTS) f.i32(part(index, 'base')).i64(0n).memory(memoryOp.i64Store);
  f.i32(part(CS, 'attributes'));
  codeRights();
  f.memory(memoryOp.i32Store);
  for (const index of DATA_SEGMENTS) {
    // A null selector makes the register unusable.
    f.i32(part(index, 'attributes'))
      .i32(DATA_RIGHTS)
      .i32(DATA_RIGHTS | ACCESS.UNUSABLE);
    f.i32(part(index, 'selector')).memory(memoryOp.i32Load).emit(op.select).memory(memoryOp.i32Store);
  }
}

/** A function of the wasm address of the VMCS region, and for the last of the host's access rights of CS. */
function functionOf(parameters: number, emit: (f: FunctionBody, region: number) => void): Uint8Array {
  const f = new FunctionBody(parameters);
  emit(f, 0);
  return f.bytes();
}

interface Functions {
  loadGuest(region: number): void;
  saveGuest(region: number): void;
  loadHost(region: number, codeRights: number): void;
}

let compiled: WebAssembly.Module | undefined;

function instantiate(memory: WebAssembly.Memory): Functions {
  compiled ??= new WebAssembly.Module(
    encodeModule({
      types: [
        { parameters: [I32], results: [] },
        { parameters: [I32, I32], results: [] },
      ],
      functions: [
        { type: 0, body: functionOf(1, emitLoadGuest), export: 'loadGuest' },
        { type: 0, body: functionOf(1, emitSaveGuest), export: 'saveGuest' },
        { type: 1, body: functionOf(2, (f, region) => emitLoadHost(f, region, () => f.get(1))), export: 'loadHost' },
      ],
    }),
  );
  return new WebAssembly.Instance(compiled, { env: { memory } }).exports as unknown as Functions;
}

export class StateCopies {
  readonly #ram: number;
  readonly #state: CpuState;
  readonly #functions: Functions;
  readonly #bytes: Uint8Array;

  /** `memory` is the one that holds the state and RAM. */
  constructor(state: CpuState, physical: PhysicalMemory, memory: WebAssembly.Memory) {
    if (physical.view.buffer !== memory.buffer || state.view.buffer !== memory.buffer) {
      throw new Error('internal: state and RAM are not in the memory given');
    }
    this.#ram = physical.view.byteOffset;
    this.#state = state;
    this.#functions = instantiate(memory);
    this.#bytes = new Uint8Array(memory.buffer);
  }

  /** Wasm address of the current VMCS. */
  #region(): number {
    return this.#ram + this.#state.currentVmcs;
  }

  /** Copies the first bytes of the VMCS region to a wasm address. */
  copyRegion(to: number, lengthBytes: number): void {
    this.#bytes.copyWithin(to, this.#region(), this.#region() + lengthBytes);
  }

  /** VM entry: registers and segments that are loaded without further ado. */
  loadGuest(): void {
    this.#functions.loadGuest(this.#region());
  }
  /** VM exit: the same registers, of a host that is 64-bit or not. */
  loadHost(long: boolean): void {
    this.#functions.loadHost(this.#region(), codeRights(long));
  }
  /** VM exit: the guest's registers and segments go to the VMCS. */
  saveGuest(): void {
    this.#functions.saveGuest(this.#region());
  }
}
