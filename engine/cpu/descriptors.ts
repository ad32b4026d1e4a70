/** Segment descriptors and the tables that hold them (SDM volume 3, "Segment Descriptors"). */

import { type LinearAddress, low32, plus } from '../isa/linear-address.ts';
import { GP, type GuestFault } from './events.ts';
import { isIa32e } from './modes.ts';
import { Privilege, type Processor } from './processor.ts';
import { ACCESS } from './register-bits.ts';
import { LDTR } from './state.ts';

/** Makes the fault a check throws from its selector error code; which exception it is depends on who loads. */
export type FaultOf = (errorCode: number) => GuestFault;

/** A segment descriptor as read from a table. */
export interface Descriptor {
  /** Selector it was read with. */
  readonly selector: number;
  /** Linear address of its first byte. */
  readonly address: LinearAddress;
  readonly low: number;
  readonly high: number;
  /** Access rights in the VMCS format. */
  readonly attributes: number;
  readonly dpl: number;
}

/** System-descriptor types; gates of IA-32e mode reuse the 32-bit numbers. */
export const SystemType = {
  tss16Available: 1,
  ldt: 2,
  tss16Busy: 3,
  callGate16: 4,
  taskGate: 5,
  interruptGate16: 6,
  trapGate16: 7,
  tssAvailable: 9,
  tssBusy: 11,
  callGate: 12,
  interruptGate: 14,
  trapGate: 15,
} as const;

export const rplOf = (selector: number): number => selector & 3;
export const isNullSelector = (selector: number): boolean => (selector & 0xfffc) === 0;
/** Error code that names a selector: its RPL replaced by EXT and IDT. */
export const selectorCode = (selector: number): number => selector & 0xfffc;

export const isSystem = (d: Descriptor): boolean => (d.attributes & ACCESS.S) === 0;
export const isPresent = (d: Descriptor): boolean => (d.attributes & ACCESS.P) !== 0;
export const isCode = (d: Descriptor): boolean => hasAll(d.attributes, ACCESS.S | ACCESS.CODE);
export const isConforming = (d: Descriptor): boolean =>
  hasAll(d.attributes, ACCESS.S | ACCESS.CODE | ACCESS.CONFORMING);
export const isWritableData = (d: Descriptor): boolean =>
  (d.attributes & (ACCESS.S | ACCESS.CODE | ACCESS.WRITABLE)) === (ACCESS.S | ACCESS.WRITABLE);
/** Data or readable code. */
export const isReadable = (d: Descriptor): boolean =>
  !isSystem(d) && (!isCode(d) || (d.attributes & ACCESS.READABLE) !== 0);
export const systemType = (d: Descriptor): number => d.attributes & ACCESS.TYPE;

const hasAll = (value: number, bits: number): boolean => (value & bits) === bits;

export function descriptorBase(d: Descriptor): number {
  return ((d.low >>> 16) | ((d.high & 0xff) << 16) | (d.high & 0xff00_0000)) >>> 0;
}

/** Limit in bytes, granularity applied. */
export function descriptorLimit(d: Descriptor): number {
  const raw = (d.low & 0xffff) | (d.high & 0xf_0000);
  return d.attributes & ACCESS.G ? ((raw << 12) | 0xfff) >>> 0 : raw;
}

/** Linear address of the descriptor a selector refers to, or undefined where it lies outside its table. */
export function descriptorAddress(processor: Processor, selector: number, lengthBytes = 8): LinearAddress | undefined {
  const { state } = processor;
  const offset = selector & 0xfff8;
  const ldtr = state.segment(LDTR);
  const local = (selector & 4) !== 0;
  if (local && ldtr.attributes & ACCESS.UNUSABLE) return undefined;
  const limit = local ? ldtr.limit : state.gdtrLimit;
  if (offset + lengthBytes - 1 > limit) return undefined;
  const base = local ? ldtr.base : state.gdtrBase;
  return tableAddress(processor, base, offset);
}

/** An address in a table of the system: 32 bits wide outside IA-32e mode. */
export function tableAddress(processor: Processor, base: LinearAddress, offset: number): LinearAddress {
  const linear = plus(base, offset);
  return isIa32e(processor.state) ? linear : low32(linear);
}

/** Reads the descriptor of a non-null selector; throws `fault(selector)` outside the table's limit. */
export function readDescriptor(processor: Processor, selector: number, fault: FaultOf = GP): Descriptor {
  const address = descriptorAddress(processor, selector);
  if (address === undefined) throw fault(selectorCode(selector));
  return descriptorAt(processor, selector, address);
}

export function descriptorAt(processor: Processor, selector: number, address: LinearAddress): Descriptor {
  const { memory } = processor;
  const low = memory.readU32(address, Privilege.Supervisor);
  const high = memory.readU32(plus(address, 4), Privilege.Supervisor);
  const attributes = (high >>> 8) & 0xf0ff;
  return { selector, address, low, high, attributes, dpl: (attributes >>> 5) & 3 };
}

/** Bits 63:32 of the base of a 16-byte system descriptor; throws `fault` if its type bits in the last dword are set. */
export function upperBase(processor: Processor, d: Descriptor, fault: FaultOf): number {
  if (descriptorAddress(processor, d.selector, 16) === undefined) throw fault(selectorCode(d.selector));
  if (processor.memory.readU32(plus(d.address, 12), Privilege.Supervisor) & 0x1f00)
    throw fault(selectorCode(d.selector));
  return processor.memory.readU32(plus(d.address, 8), Privilege.Supervisor);
}

/**
 * Sets the accessed bit of a code or data segment's descriptor in memory, if it is clear, and returns the access
 * rights with the bit set. The last thing that may fault before a segment register is loaded.
 */
export function markAccessed(processor: Processor, d: Descriptor): number {
  if ((d.attributes & ACCESS.ACCESSED) === 0) {
    processor.memory.writeU8(plus(d.address, 5), ((d.high >>> 8) & 0xff) | ACCESS.ACCESSED, Privilege.Supervisor);
  }
  return d.attributes | ACCESS.ACCESSED;
}
