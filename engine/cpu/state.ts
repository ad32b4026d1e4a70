/** Typed access to the CPU state in wasm memory, derived from the layout table. */
import { type LinearAddress, readLinearAddress, writeLinearAddress } from '../isa/linear-address.ts';
import { STATE_ADDRESS, STATE_BYTES } from './memory-map.ts';
import {
  type FieldName,
  type FieldType,
  fieldAddress,
  fieldTable,
  gprAddress,
  type SegmentName,
  segmentAddress,
  segmentLayout,
  segmentNames,
  x87Address,
} from './state-layout.ts';

type ValueOf<T extends FieldType> = T extends 'u64' ? bigint : T extends 'linear' ? LinearAddress : number;
type FieldAccessors = { -readonly [K in FieldName]: ValueOf<(typeof fieldTable)[K]['type']> };

/** Indices of the segment registers in `CpuState.segments`. */
export const ES = 0;
export const CS = 1;
export const SS = 2;
export const DS = 3;
export const FS = 4;
export const GS = 5;
export const LDTR = 6;
export const TR = 7;

/** A segment register with its hidden part. */
export class SegmentRegister {
  readonly name: SegmentName;
  readonly #view: DataView;
  readonly #at: number;

  constructor(view: DataView, index: number) {
    this.name = segmentNames[index] as SegmentName;
    this.#view = view;
    this.#at = segmentAddress(index);
  }

  /** Base address. */
  get base(): LinearAddress {
    return readLinearAddress(this.#view, this.#at + segmentLayout.base);
  }
  set base(value: LinearAddress) {
    writeLinearAddress(this.#view, this.#at + segmentLayout.base, value);
  }
  get limit(): number {
    return this.#view.getUint32(this.#at + segmentLayout.limit, true);
  }
  set limit(value: number) {
    this.#view.setUint32(this.#at + segmentLayout.limit, value, true);
  }
  /** Access rights in the format of the VMCS (SDM volume 3, "Guest Register State"); bit 16 means unusable. */
  get attributes(): number {
    return this.#view.getUint32(this.#at + segmentLayout.attributes, true);
  }
  set attributes(value: number) {
    this.#view.setUint32(this.#at + segmentLayout.attributes, value, true);
  }
  get selector(): number {
    return this.#view.getUint32(this.#at + segmentLayout.selector, true);
  }
  set selector(value: number) {
    this.#view.setUint32(this.#at + segmentLayout.selector, value, true);
  }
  /** Largest offset reads and writes may touch without the slow check; -1 forces the check. */
  setFastLimits(read: number, write: number): void {
    writeInteger(this.#view, this.#at + segmentLayout.fastReadLimit, read);
    writeInteger(this.#view, this.#at + segmentLayout.fastWriteLimit, write);
  }
}

/** A 64-bit field as a signed number; exact when its magnitude is below 2^53. */
export function readSigned(view: DataView, address: number): number {
  return view.getInt32(address + 4, true) * 0x1_0000_0000 + view.getUint32(address, true);
}

/** Stores a signed or unsigned integer number as 64 bits, two's complement. */
export function writeInteger(view: DataView, address: number, value: number): void {
  const high = Math.floor(value / 0x1_0000_0000);
  view.setUint32(address, value - high * 0x1_0000_0000, true);
  view.setInt32(address + 4, high | 0, true);
}

/**
 * The state of the vCPU that is loaded. Every scalar field of the layout table is a property: numbers for `u32` and
 * `physical`, bigints for `u64`, addresses for `linear`.
 */
class CpuStateBase {
  readonly view: DataView;
  readonly bytes: Uint8Array;
  readonly segments: readonly SegmentRegister[];
  readonly #gprs: BigUint64Array;

  constructor(buffer: ArrayBuffer) {
    this.view = new DataView(buffer);
    this.bytes = new Uint8Array(buffer, STATE_ADDRESS, STATE_BYTES);
    this.#gprs = new BigUint64Array(buffer, gprAddress(0), 16);
    this.segments = segmentNames.map((_, index) => new SegmentRegister(this.view, index));
  }

  /** Value of a general-purpose register, 64 bits unsigned. */
  gpr(index: number): bigint {
    return this.#gprs[index] as bigint;
  }
  setGpr(index: number, value: bigint): void {
    this.#gprs[index] = value;
  }
  /** Low 32 bits of a general-purpose register, unsigned. */
  gpr32(index: number): number {
    return this.view.getUint32(gprAddress(index), true);
  }
  /** High 32 bits of a general-purpose register, unsigned. */
  gprHigh32(index: number): number {
    return this.view.getUint32(gprAddress(index) + 4, true);
  }
  /** Writes both halves of a general-purpose register. */
  setGprHalves(index: number, low: number, high: number): void {
    this.view.setUint32(gprAddress(index), low, true);
    this.view.setUint32(gprAddress(index) + 4, high, true);
  }
  /** Writes a 32-bit result, which zeroes the upper half. */
  setGpr32(index: number, value: number): void {
    writeInteger(this.view, gprAddress(index), value >>> 0);
  }
  /** A register that holds an address. */
  gprLinear(index: number): LinearAddress {
    return readLinearAddress(this.view, gprAddress(index));
  }
  setGprLinear(index: number, value: LinearAddress): void {
    writeLinearAddress(this.view, gprAddress(index), value);
  }
  /** Register Rn of the x87 register file, 80 bits. */
  x87Register(n: number): bigint {
    const at = x87Address(n);
    return (BigInt(this.view.getUint16(at + 8, true)) << 64n) | this.view.getBigUint64(at, true);
  }
  setX87Register(n: number, value: bigint): void {
    const at = x87Address(n);
    this.view.setBigUint64(at, BigInt.asUintN(64, value), true);
    this.view.setUint16(at + 8, Number(value >> 64n), true);
  }
  segment(index: number): SegmentRegister {
    return this.segments[index] as SegmentRegister;
  }
}

type Accessor = { get(this: CpuStateBase): unknown; set(this: CpuStateBase, value: never): void };

function accessor(type: FieldType, at: number): Accessor {
  switch (type) {
    case 'u32':
      return {
        get() {
          return this.view.getUint32(at, true);
        },
        set(value: number) {
          this.view.setUint32(at, value, true);
        },
      };
    case 'u64':
      return {
        get() {
          return this.view.getBigUint64(at, true);
        },
        set(value: bigint) {
          this.view.setBigUint64(at, value, true);
        },
      };
    case 'linear':
      return {
        get() {
          return readLinearAddress(this.view, at);
        },
        set(value: LinearAddress) {
          writeLinearAddress(this.view, at, value);
        },
      };
    default:
      return {
        get() {
          return readSigned(this.view, at);
        },
        set(value: number) {
          writeInteger(this.view, at, value);
        },
      };
  }
}

for (const [name, spec] of Object.entries(fieldTable)) {
  Object.defineProperty(CpuStateBase.prototype, name, accessor(spec.type, fieldAddress[name as FieldName]));
}

export type CpuState = CpuStateBase & FieldAccessors;
export const CpuState = CpuStateBase as unknown as { new (buffer: ArrayBuffer): CpuState };
