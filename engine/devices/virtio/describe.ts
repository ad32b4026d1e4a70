/** Views of virtqueues as plain data for the debugger, through peeks alone. They hold up against any guest. */
import { bitNames, type RegisterView } from '../device.ts';
import {
  type ChainMemory,
  chainLinks,
  DESCRIPTOR_BYTES,
  DESCRIPTOR_FLAG_NAMES,
  type Descriptor,
  parseChain,
  parseDescriptor,
} from './descriptor-chain.ts';
import { featureNames, featuresHex } from './features.ts';
import { STATUS_NAMES } from './mmio-registers.ts';
import { VirtioViolation } from './violation.ts';
import type { VirtioMmio } from './virtio-mmio.ts';
import { AVAIL_ENTRY_BYTES, RING_OFFSET, USED_ENTRY_BYTES, type Virtqueue } from './virtqueue.ts';

export interface DescriptorView extends Descriptor {
  readonly index: number;
  readonly flagNames: string;
}

export interface AvailableRingView {
  readonly address: number;
  readonly flags: number;
  readonly idx: number;
  /** Heads of chains, by slot. */
  readonly ring: readonly number[];
  /** Present if VIRTIO_F_EVENT_IDX was negotiated. */
  readonly usedEvent?: number;
}

export interface UsedRingView {
  readonly address: number;
  readonly flags: number;
  readonly idx: number;
  readonly ring: readonly { readonly id: number; readonly len: number }[];
  /** Present if VIRTIO_F_EVENT_IDX was negotiated. */
  readonly availEvent?: number;
}

export interface ChainView {
  readonly head: number;
  /** 'available' to the device, or 'taken' by it and not returned. */
  readonly state: 'available' | 'taken';
  /** The buffers, those of an indirect table in its place. */
  readonly descriptors: readonly (Descriptor & { readonly flagNames: string })[];
  /** The rule that the chain breaks, if any. */
  readonly error?: string;
}

export interface VirtqueueView {
  readonly index: number;
  readonly name: string;
  readonly size: number;
  readonly maxSize: number;
  readonly ready: boolean;
  readonly nextAvailable: number;
  readonly nextUsed: number;
  readonly descriptorTableAddress: number;
  /** The tables are absent while the queue is not ready or if they lie outside RAM. */
  readonly descriptorTable?: readonly DescriptorView[];
  readonly availableRing?: AvailableRingView;
  readonly usedRing?: UsedRingView;
  readonly chainsInFlight: readonly ChainView[];
  readonly error?: string;
}

export interface VirtioDeviceView {
  readonly device: string;
  readonly type: string;
  /** Names of the status bits that are set. */
  readonly status: string;
  readonly needsResetReason: string;
  readonly deviceFeatures: { readonly value: string; readonly names: readonly string[] };
  readonly driverFeatures: { readonly value: string; readonly names: readonly string[] };
  readonly properties: readonly { readonly name: string; readonly value: string }[];
  readonly registers: readonly RegisterView[];
  readonly queues: readonly VirtqueueView[];
}

const flagNamesOf = (flags: number) => bitNames(flags, DESCRIPTOR_FLAG_NAMES);

function peeking(queue: Virtqueue): ChainMemory {
  return {
    contains: (gpa, lengthBytes) => queue.memory.contains(gpa, lengthBytes),
    load: (gpa, lengthBytes) => queue.memory.peek(gpa, lengthBytes),
  };
}

/** The words of a violation; anything else is an internal error and goes on. */
function reasonOf(error: unknown): string {
  if (error instanceof VirtioViolation) return error.message;
  throw error;
}

function peekView(queue: Virtqueue, gpa: number, lengthBytes: number): DataView | undefined {
  const bytes = queue.memory.peek(gpa, lengthBytes);
  return bytes && new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function descriptorTable(queue: Virtqueue): DescriptorView[] | undefined {
  const { descriptorArea, size } = queue.state;
  const bytes = queue.memory.peek(descriptorArea, size * DESCRIPTOR_BYTES);
  if (!bytes) return undefined;
  return Array.from({ length: size }, (_, index) => {
    const descriptor = parseDescriptor(bytes.subarray(index * DESCRIPTOR_BYTES, (index + 1) * DESCRIPTOR_BYTES));
    return { index, ...descriptor, flagNames: flagNamesOf(descriptor.flags) };
  });
}

function availableRing(queue: Virtqueue): AvailableRingView | undefined {
  const { driverArea: address, size, eventIndex } = queue.state;
  const end = RING_OFFSET + size * AVAIL_ENTRY_BYTES;
  const view = peekView(queue, address, end + (eventIndex ? 2 : 0));
  if (!view) return undefined;
  return {
    address,
    flags: view.getUint16(0, true),
    idx: view.getUint16(2, true),
    ring: Array.from({ length: size }, (_, slot) => view.getUint16(RING_OFFSET + slot * AVAIL_ENTRY_BYTES, true)),
    ...(eventIndex ? { usedEvent: view.getUint16(end, true) } : {}),
  };
}

function usedRing(queue: Virtqueue): UsedRingView | undefined {
  const { deviceArea: address, size, eventIndex } = queue.state;
  const end = RING_OFFSET + size * USED_ENTRY_BYTES;
  const view = peekView(queue, address, end + (eventIndex ? 2 : 0));
  if (!view) return undefined;
  return {
    address,
    flags: view.getUint16(0, true),
    idx: view.getUint16(2, true),
    ring: Array.from({ length: size }, (_, slot) => {
      const at = RING_OFFSET + slot * USED_ENTRY_BYTES;
      return { id: view.getUint32(at, true), len: view.getUint32(at + 4, true) };
    }),
    ...(eventIndex ? { availEvent: view.getUint16(end, true) } : {}),
  };
}

function describeChain(queue: Virtqueue, head: number, state: ChainView['state']): ChainView {
  const context = queue.context(peeking(queue));
  const descriptors: (Descriptor & { flagNames: string })[] = [];
  try {
    for (const { descriptor } of chainLinks(context, head)) {
      descriptors.push({ ...descriptor, flagNames: flagNamesOf(descriptor.flags) });
    }
    parseChain(context, head);
    return { head, state, descriptors };
  } catch (error) {
    return { head, state, descriptors, error: reasonOf(error) };
  }
}

function chainsInFlight(queue: Virtqueue, available: AvailableRingView | undefined): ChainView[] {
  const { nextAvailable, size, taken } = queue.state;
  const chains = taken.map((head) => describeChain(queue, head, 'taken'));
  if (!available) return chains;
  const waiting = Math.min((available.idx - nextAvailable) & 0xffff, size);
  for (let ahead = 0; ahead < waiting; ahead++) {
    const head = available.ring[((nextAvailable + ahead) & 0xffff) % size];
    if (head !== undefined) chains.push(describeChain(queue, head, 'available'));
  }
  return chains;
}

/** What a queue holds: descriptor table, available and used ring, chains in flight. No side effect on the guest. */
export function describeVirtqueue(queue: Virtqueue): VirtqueueView {
  const s = queue.state;
  const common = {
    index: queue.config.index,
    name: queue.config.name,
    size: s.size,
    maxSize: queue.config.maxSize,
    ready: s.ready,
    nextAvailable: s.nextAvailable,
    nextUsed: s.nextUsed,
    descriptorTableAddress: s.descriptorArea,
  };
  if (!s.ready) return { ...common, chainsInFlight: [] };
  const table = descriptorTable(queue);
  const available = availableRing(queue);
  const used = usedRing(queue);
  return {
    ...common,
    ...(table ? { descriptorTable: table } : {}),
    ...(available ? { availableRing: available } : {}),
    ...(used ? { usedRing: used } : {}),
    chainsInFlight: chainsInFlight(queue, available),
    ...(table && available && used ? {} : { error: 'a table or ring of the queue lies outside RAM' }),
  };
}

/** A virtio device with its queues, features and status by name. No side effect on the guest. */
export function describeVirtioDevice(transport: VirtioMmio): VirtioDeviceView {
  const { status, needsResetReason, deviceFeatures, driverFeatures } = transport.negotiation;
  const known = transport.device.features;
  return {
    device: transport.name,
    type: transport.device.type,
    status: bitNames(status, STATUS_NAMES),
    needsResetReason,
    deviceFeatures: { value: featuresHex(deviceFeatures), names: featureNames(deviceFeatures, known) },
    driverFeatures: { value: featuresHex(driverFeatures), names: featureNames(driverFeatures, known) },
    properties: transport.device.describe(),
    registers: transport.describe().registers,
    queues: transport.queues.map(describeVirtqueue),
  };
}
