/**
 * The VMCS as a structure in host-physical memory. The manual leaves the layout of the region to the processor; this is
 * ours: revision identifier at 0, VMX-abort indicator at 4, launch state at 8, and from 64 on every field of the table,
 * in its order, 8 bytes each, little-endian, zero-extended.
 */

import { PAGE_BYTES, VMCS_ENCODINGS, VMCS_OFFSETS_ADDRESS, WRITABLE_VMCS_ADDRESS } from '../cpu/memory-map.ts';
import type { CpuState } from '../cpu/state.ts';
import { fieldAddress } from '../cpu/state-layout.ts';
import { joined, type LinearAddress, writeLinearAddress } from '../isa/linear-address.ts';
import type { PhysicalMemory } from '../mmu/physical-memory.ts';
import { isControlSupported } from './controls.ts';
import { type VmcsField, type VmcsFieldName, vmcsFields, widthOf } from './fields.ts';

/** IA32_VMX_BASIC bits 30:0, to be written to the first dword of VMXON regions and VMCSs. */
export const VMCS_REVISION = 0x5253_0001;
export const VMCS_BYTES = PAGE_BYTES;
/** Bit 31 beside the revision: a shadow VMCS. */
export const SHADOW_VMCS = 0x8000_0000;

export const REVISION_OFFSET = 0;
export const ABORT_OFFSET = 4;
export const LAUNCH_STATE_OFFSET = 8;
const FIELDS_OFFSET = 64;

export const LaunchState = { clear: 0, launched: 1 } as const;

/** Bytes from the start of the region to each field, by name. */
const offsets = Object.fromEntries(vmcsFields.map(({ name }, index) => [name, FIELDS_OFFSET + index * 8])) as Readonly<
  Record<VmcsFieldName, number>
>;

/** Bytes from the start of the VMCS region to a field. */
export const offsetOf = (name: VmcsFieldName): number => offsets[name];

/** Whether the CPU has the field: it exists if one of the controls that use it is supported. */
export const fieldExists = ({ requires }: VmcsField): boolean =>
  requires === undefined || requires.some(isControlSupported);

/** The fields that this CPU has. */
export const supportedFields: readonly VmcsField[] = vmcsFields.filter(fieldExists);

const byName = new Map<string, VmcsField>(vmcsFields.map((field) => [field.name, field]));
/** The encoding of a field. */
export const encodingOf = (name: VmcsFieldName): number => (byName.get(name) as VmcsField).encoding;
export const fieldByName = (name: string): VmcsField | undefined => byName.get(name);

/** Offset by encoding; 0 for an encoding that names no supported field. */
const offsetByEncoding = (() => {
  const all = new Uint16Array(VMCS_ENCODINGS);
  for (const field of supportedFields) {
    const offset = offsets[field.name as VmcsFieldName];
    all[field.encoding] = offset;
    // The access type "high" names the upper half of a 64-bit field.
    if (widthOf(field.encoding) === '64-bit') all[field.encoding | 1] = offset + 4;
  }
  return all;
})();

/** Puts the offsets where compiled code finds them. */
export function writeOffsets(buffer: ArrayBuffer): void {
  new Uint16Array(buffer, VMCS_OFFSETS_ADDRESS, VMCS_ENCODINGS).set(offsetByEncoding);
}

/** Bytes from the start of the region to the field or half that an encoding names; 0 if the CPU has none. */
export const offsetOfEncoding = (encoding: number): number => offsetByEncoding[encoding] ?? 0;

/** Bytes that an access by an encoding moves. */
export function bytesOfEncoding(encoding: number): 2 | 4 | 8 {
  const width = widthOf(encoding);
  if (width === '16-bit') return 2;
  return width === '32-bit' || encoding & 1 ? 4 : 8;
}

/** Highest index (bits 9:1) of the encodings of supported fields, for IA32_VMX_VMCS_ENUM. */
export const highestFieldIndex = Math.max(...supportedFields.map(({ encoding }) => (encoding >> 1) & 0x1ff));

const CURRENT_WORD = fieldAddress.currentVmcs / 4;

/** Access to the fields of the current VMCS by their offsets. There must be one; it lies in RAM. */
export class Vmcs {
  readonly #view: DataView;
  /** The whole memory that holds the state and RAM, in words. */
  readonly #words: Int32Array;
  readonly #ramWord: number;
  readonly #physical: PhysicalMemory;
  readonly #state: CpuState;

  constructor(state: CpuState, physical: PhysicalMemory) {
    this.#state = state;
    this.#physical = physical;
    this.#view = physical.view;
    this.#words = new Int32Array(state.view.buffer);
    this.#ramWord = physical.view.byteOffset >>> 2;
  }

  /** Host-physical address of the current VMCS. */
  get address(): number {
    return this.#at;
  }
  /** The same; as it lies in RAM, 32 bits are enough. */
  get #at(): number {
    return (this.#words[CURRENT_WORD] as number) >>> 0;
  }
  /** Index of the word at an offset. */
  #word(offset: number): number {
    return this.#ramWord + (((this.#words[CURRENT_WORD] as number) + offset) >>> 2);
  }

  /** To be called once before the fields are written: snapshots and decoded code must notice. */
  touch(): void {
    this.#physical.touch(this.#at, VMCS_BYTES);
  }

  /** Low 32 bits, unsigned. */
  u32(offset: number): number {
    return (this.#words[this.#word(offset)] as number) >>> 0;
  }
  /** Some of the low 32 bits; checks of VM entry depend on no others then. */
  bits(offset: number, mask: number): number {
    return (this.#words[this.#word(offset)] as number) & mask;
  }
  /** High 32 bits, unsigned. */
  high(offset: number): number {
    return (this.#words[this.#word(offset + 4)] as number) >>> 0;
  }
  /** 64 bits as a signed number: exact for physical addresses. */
  number(offset: number): number {
    const word = this.#word(offset);
    return (this.#words[word + 1] as number) * 0x1_0000_0000 + ((this.#words[word] as number) >>> 0);
  }
  /** 64 bits as a linear address. */
  linear(offset: number): LinearAddress {
    const word = this.#word(offset);
    return joined(this.#words[word + 1] as number, this.#words[word] as number);
  }
  u64(offset: number): bigint {
    return this.#view.getBigUint64(this.#at + offset, true);
  }
  /** Stores 32 bits and clears the upper half. */
  setU32(offset: number, value: number): void {
    const word = this.#word(offset);
    this.#words[word] = value;
    this.#words[word + 1] = 0;
  }
  /** Stores an integer or a linear address as 64 bits, two's complement. */
  setNumber(offset: number, value: LinearAddress): void {
    writeLinearAddress(this.#view, this.#at + offset, value);
  }
  setU64(offset: number, value: bigint): void {
    this.#view.setBigUint64(this.#at + offset, value, true);
  }

  /** What VMREAD gives for an encoding, which must name a supported field; of the current VMCS, or of one in RAM. */
  readEncoding(encoding: number, address = this.#at): bigint {
    const at = address + offsetOfEncoding(encoding);
    switch (bytesOfEncoding(encoding)) {
      case 2:
        return BigInt(this.#view.getUint16(at, true));
      case 4:
        return BigInt(this.#view.getUint32(at, true));
      default:
        return this.#view.getBigUint64(at, true);
    }
  }
  /** The same, to a 64-bit register. */
  loadRegister(encoding: number, register: number): void {
    const at = this.#at + offsetOfEncoding(encoding);
    const bytes = bytesOfEncoding(encoding);
    const low = bytes === 2 ? this.#view.getUint16(at, true) : this.#view.getUint32(at, true);
    this.#state.setGprHalves(register, low, bytes === 8 ? this.#view.getUint32(at + 4, true) : 0);
  }
  /** Stores what VMWRITE writes from a 64-bit register. */
  storeRegister(encoding: number, register: number): void {
    const at = this.#at + offsetOfEncoding(encoding);
    const bytes = bytesOfEncoding(encoding);
    const low = this.#state.gpr32(register);
    this.#physical.touch(at, bytes);
    if (bytes === 2) this.#view.setUint16(at, low & 0xffff, true);
    else this.#view.setUint32(at, low, true);
    if (bytes === 8) this.#view.setUint32(at + 4, this.#state.gprHigh32(register), true);
    this.noteWritable();
  }
  /** To be called once the region counts as written: from now on compiled code may write there, if nobody is to be told. */
  noteWritable(): void {
    const { codePages, watchedPages } = this.#physical;
    const page = this.#at >>> 12;
    const isTold = codePages[page] !== 0 || watchedPages[page] !== 0;
    this.#state.view.setUint32(WRITABLE_VMCS_ADDRESS, isTold ? 0 : this.#at + 1, true);
  }
  /** Stores what VMWRITE writes: as many low bits as the field has; to the current VMCS, or to one in RAM. */
  writeEncoding(encoding: number, value: bigint, address = this.#at): void {
    const at = address + offsetOfEncoding(encoding);
    const bytes = bytesOfEncoding(encoding);
    this.#physical.touch(at, bytes);
    if (bytes === 2) this.#view.setUint16(at, Number(value & 0xffffn), true);
    else if (bytes === 4) this.#view.setUint32(at, Number(value & 0xffff_ffffn), true);
    else this.#view.setBigUint64(at, BigInt.asUintN(64, value), true);
  }
}
