/** Access to a VMCB, or to an area in the format of one, by the offsets of its fields. */
import { type LinearAddress, readLinearAddress } from '../isa/linear-address.ts';
import type { PhysicalMemory } from '../mmu/physical-memory.ts';
import { VMCB_BYTES, type VmcbField } from './vmcb-fields.ts';

export class Vmcb {
  readonly #addressOf: () => number;
  readonly #physical: PhysicalMemory;
  readonly #view: DataView;

  /** `addressOf` tells the host-physical address of now, which must lie in RAM when a field is asked for. */
  constructor(physical: PhysicalMemory, addressOf: () => number) {
    this.#addressOf = addressOf;
    this.#physical = physical;
    this.#view = physical.view;
  }

  /** Host-physical address. */
  get address(): number {
    return this.#addressOf();
  }

  /** To be called once before the fields are written: snapshots and decoded code must notice. */
  touch(): void {
    this.#physical.touch(this.address, VMCB_BYTES);
  }

  u8(offset: number): number {
    return this.#view.getUint8(this.address + offset);
  }
  u16(offset: number): number {
    return this.#view.getUint16(this.address + offset, true);
  }
  u32(offset: number): number {
    return this.#view.getUint32(this.address + offset, true);
  }
  u64(offset: number): bigint {
    return this.#view.getBigUint64(this.address + offset, true);
  }
  /** 64 bits as a signed number: exact for physical addresses. */
  number(offset: number): number {
    return this.#view.getInt32(this.address + offset + 4, true) * 0x1_0000_0000 + this.u32(offset);
  }

  /** 64 bits as a linear address. */
  linear(offset: number): LinearAddress {
    return readLinearAddress(this.#view, this.address + offset);
  }

  /** A field of any width. */
  field({ offset, bytes }: VmcbField): bigint {
    if (bytes === 8) return this.u64(offset);
    return BigInt(bytes === 4 ? this.u32(offset) : bytes === 2 ? this.u16(offset) : this.u8(offset));
  }

  setU8(offset: number, value: number): void {
    this.#view.setUint8(this.address + offset, value);
  }
  setU16(offset: number, value: number): void {
    this.#view.setUint16(this.address + offset, value, true);
  }
  setU32(offset: number, value: number): void {
    this.#view.setUint32(this.address + offset, value, true);
  }
  setU64(offset: number, value: bigint): void {
    this.#view.setBigUint64(this.address + offset, BigInt.asUintN(64, value), true);
  }
  /** Stores an integer as 64 bits, two's complement. */
  setNumber(offset: number, value: LinearAddress): void {
    this.setU64(offset, BigInt(value));
  }
}
