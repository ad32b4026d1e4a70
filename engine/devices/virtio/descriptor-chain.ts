/**
 * Descriptor chains of a split virtqueue: parsing one out of hostile memory, and reading and writing what it describes.
 * Source: Virtio 1.2, 2.7.5 "The Virtqueue Descriptor Table", 2.7.5.3 "Indirect Descriptors".
 */
import { hex } from '../../cpu/hexadecimal.ts';
import { bitNames } from '../device.ts';
import { VirtioViolation } from './violation.ts';

export const DESCRIPTOR_BYTES = 16;
export const VIRTQ_DESC_F_NEXT = 1;
export const VIRTQ_DESC_F_WRITE = 2;
export const VIRTQ_DESC_F_INDIRECT = 4;
export const DESCRIPTOR_FLAG_NAMES = ['VIRTQ_DESC_F_NEXT', 'VIRTQ_DESC_F_WRITE', 'VIRTQ_DESC_F_INDIRECT'];

/** struct virtq_desc. An `addr` beyond 2^53 loses low bits, which no RAM has. */
export interface Descriptor {
  readonly addr: number;
  readonly len: number;
  readonly flags: number;
  readonly next: number;
}

export interface Segment {
  readonly gpa: number;
  readonly lengthBytes: number;
}

export interface DescriptorChain {
  /** Index of the first descriptor, by which the used ring returns the chain. */
  readonly head: number;
  /** In order; those that the device may only read come before those that it may only write. */
  readonly readable: readonly Segment[];
  readonly writable: readonly Segment[];
}

/** How a walk gets at memory: the device's own access, or a debugger's peek. */
export interface ChainMemory {
  contains(gpa: number, lengthBytes: number): boolean;
  /** undefined if outside RAM. */
  load(gpa: number, lengthBytes: number): Uint8Array | undefined;
}

/** The limits and the table of the queue that a chain belongs to. */
export interface ChainContext {
  readonly memory: ChainMemory;
  readonly descriptorTable: number;
  readonly queueSize: number;
  readonly indirect: boolean;
  /** Longest chain that the device takes, in bytes: what bounds the work of one request. */
  readonly maxChainBytes: number;
}

export function parseDescriptor(bytes: Uint8Array): Descriptor {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    addr: Number(view.getBigUint64(0, true)),
    len: view.getUint32(8, true),
    flags: view.getUint16(12, true),
    next: view.getUint16(14, true),
  };
}

interface Table {
  readonly base: number;
  readonly entries: number;
  readonly indirect: boolean;
}

interface Link {
  readonly descriptor: Descriptor;
  /** 'descriptor 5' or 'indirect descriptor 0', for messages. */
  readonly what: string;
}

function loadDescriptor(context: ChainContext, table: Table, index: number): Link {
  const what = `${table.indirect ? 'indirect descriptor' : 'descriptor'} ${index}`;
  if (index >= table.entries) {
    throw new VirtioViolation(`${what} is outside its table: expected an index below ${table.entries}`);
  }
  const gpa = table.base + index * DESCRIPTOR_BYTES;
  const bytes = context.memory.load(gpa, DESCRIPTOR_BYTES);
  if (!bytes) throw new VirtioViolation(`${what} at guest-physical ${hex(gpa)} is outside RAM`);
  return { descriptor: parseDescriptor(bytes), what };
}

function indirectTable(context: ChainContext, { descriptor, what }: Link, inside: Table): Table {
  if (!context.indirect) {
    throw new VirtioViolation(`${what} is indirect, but VIRTIO_F_INDIRECT_DESC was not negotiated`);
  }
  if (inside.indirect) throw new VirtioViolation(`${what} is indirect within an indirect table`);
  if (descriptor.flags & VIRTQ_DESC_F_NEXT) {
    throw new VirtioViolation(`${what} has both VIRTQ_DESC_F_INDIRECT and VIRTQ_DESC_F_NEXT`);
  }
  if (descriptor.len === 0 || descriptor.len % DESCRIPTOR_BYTES !== 0) {
    throw new VirtioViolation(`${what}: expected an indirect table of a multiple of 16 bytes, found ${descriptor.len}`);
  }
  return { base: descriptor.addr, entries: descriptor.len / DESCRIPTOR_BYTES, indirect: true };
}

/** The descriptors of a chain that describe buffers, in order. @throws VirtioViolation */
export function* chainLinks(context: ChainContext, head: number): Generator<Link> {
  let table: Table = { base: context.descriptorTable, entries: context.queueSize, indirect: false };
  let index = head;
  let buffers = 0;
  // One more step than buffers: the descriptor that points to the indirect table.
  for (let steps = 0; steps <= context.queueSize; steps++) {
    const link = loadDescriptor(context, table, index);
    const { flags } = link.descriptor;
    if (flags & VIRTQ_DESC_F_INDIRECT) {
      table = indirectTable(context, link, table);
      index = 0;
      continue;
    }
    if (++buffers > context.queueSize) break;
    yield link;
    if (!(flags & VIRTQ_DESC_F_NEXT)) return;
    index = link.descriptor.next;
  }
  throw new VirtioViolation(
    `the chain that begins at descriptor ${head} is a loop or longer than the queue size, ${context.queueSize}`,
  );
}

function checkBuffer(context: ChainContext, { descriptor, what }: Link): void {
  const { addr, len, flags } = descriptor;
  if (len === 0) throw new VirtioViolation(`${what} describes a buffer of zero bytes`);
  if (!context.memory.contains(addr, len)) {
    throw new VirtioViolation(`${what}: the buffer of ${len} bytes at guest-physical ${hex(addr)} is outside RAM`);
  }
  const unknown = flags & ~(VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_INDIRECT);
  if (unknown) throw new VirtioViolation(`${what} has unknown flags: ${bitNames(unknown, [])}`);
}

/** Walks and checks a whole chain. @throws VirtioViolation that names the descriptor and the rule */
export function parseChain(context: ChainContext, head: number): DescriptorChain {
  const readable: Segment[] = [];
  const writable: Segment[] = [];
  let total = 0;
  for (const link of chainLinks(context, head)) {
    checkBuffer(context, link);
    const { addr, len, flags } = link.descriptor;
    const writes = (flags & VIRTQ_DESC_F_WRITE) !== 0;
    if (!writes && writable.length > 0) {
      throw new VirtioViolation(`${link.what} is device-readable but follows a device-writable one`);
    }
    total += len;
    if (total > context.maxChainBytes) {
      throw new VirtioViolation(
        `the chain that begins at descriptor ${head} describes more than the ${context.maxChainBytes} bytes that this device takes`,
      );
    }
    (writes ? writable : readable).push({ gpa: addr, lengthBytes: len });
  }
  return { head, readable, writable };
}

export function segmentBytes(segments: readonly Segment[]): number {
  return segments.reduce((total, segment) => total + segment.lengthBytes, 0);
}

/** The part of `segments` from a byte offset on, of a length; clipped at their end. Message framing is the driver's. */
export function sliceSegments(segments: readonly Segment[], offset: number, lengthBytes: number): Segment[] {
  const slice: Segment[] = [];
  let position = 0;
  for (const { gpa, lengthBytes: length } of segments) {
    const from = Math.max(offset - position, 0);
    const to = Math.min(offset + lengthBytes - position, length);
    if (from < to) slice.push({ gpa: gpa + from, lengthBytes: to - from });
    position += length;
  }
  return slice;
}
