/** What the device tests share: a clock to turn, wires to watch, RAM for virtio, and a driver of split virtqueues. */
import type { GuestMemory, InterruptLine } from '../../engine/devices/device.ts';
import { REGISTER, STATUS } from '../../engine/devices/virtio/mmio-registers.ts';
import type { VirtioMmio } from '../../engine/devices/virtio/virtio-mmio.ts';

export class TestClock {
  ns = 0;
  readonly now = () => this.ns;
}

/** Remembers its level and how often it rose. */
export class Wire implements InterruptLine {
  level = false;
  rises = 0;

  set(level: boolean): void {
    if (level && !this.level) this.rises++;
    this.level = level;
  }
}

export const RAM_BASE = 0x10_0000;

/** 256 KiB of RAM at 1 MiB; counts what was done other than by peeks. */
export class TestMemory implements GuestMemory {
  readonly bytes = new Uint8Array(0x4_0000);
  accesses = 0;

  contains(gpa: number, lengthBytes: number): boolean {
    return gpa >= RAM_BASE && gpa + lengthBytes <= RAM_BASE + this.bytes.length;
  }

  peek(gpa: number, lengthBytes: number): Uint8Array | undefined {
    if (!this.contains(gpa, lengthBytes)) return undefined;
    return this.bytes.slice(gpa - RAM_BASE, gpa - RAM_BASE + lengthBytes);
  }

  read(gpa: number, lengthBytes: number): Uint8Array | undefined {
    this.accesses++;
    return this.peek(gpa, lengthBytes);
  }

  write(gpa: number, bytes: Uint8Array): boolean {
    this.accesses++;
    if (!this.contains(gpa, bytes.length)) return false;
    this.bytes.set(bytes, gpa - RAM_BASE);
    return true;
  }

  view(gpa: number): DataView {
    return new DataView(this.bytes.buffer, gpa - RAM_BASE);
  }

  text(gpa: number, lengthBytes: number): string {
    return new TextDecoder().decode(this.peek(gpa, lengthBytes));
  }
}

/** For large arrays, which vitest compares slowly. */
export const sameBytes = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

export const ascii = (text: string) => new TextEncoder().encode(text);

export interface GuestBuffer {
  gpa: number;
  length: number;
  writable?: boolean;
}

const NEXT = 1;
const WRITE = 2;

/** The driver's half of one queue, with its three areas at fixed places in `TestMemory`. */
export class TestQueue {
  readonly memory: TestMemory;
  readonly index: number;
  readonly size: number;
  readonly table: number;
  readonly avail: number;
  readonly used: number;
  #freeDescriptor = 0;

  constructor(memory: TestMemory, index: number, size = 8) {
    this.memory = memory;
    this.index = index;
    this.size = size;
    this.table = RAM_BASE + 0x1000 + index * 0x4000;
    this.avail = this.table + 0x1000;
    this.used = this.table + 0x2000;
  }

  descriptor(index: number, addr: number, len: number, flags: number, next = 0, table = this.table): void {
    const view = this.memory.view(table + 16 * index);
    view.setBigUint64(0, BigInt(addr), true);
    view.setUint32(8, len, true);
    view.setUint16(12, flags, true);
    view.setUint16(14, next, true);
  }

  get availIdx(): number {
    return this.memory.view(this.avail).getUint16(2, true);
  }

  get usedIdx(): number {
    return this.memory.view(this.used).getUint16(2, true);
  }

  usedEntry(slot: number): { id: number; len: number } {
    const view = this.memory.view(this.used + 4 + 8 * slot);
    return { id: view.getUint32(0, true), len: view.getUint32(4, true) };
  }

  setAvailFlags(flags: number): void {
    this.memory.view(this.avail).setUint16(0, flags, true);
  }

  setUsedEvent(value: number): void {
    this.memory.view(this.avail + 4 + 2 * this.size).setUint16(0, value, true);
  }

  get availEvent(): number {
    return this.memory.view(this.used + 4 + 8 * this.size).getUint16(0, true);
  }

  /** Writes a head into the available ring and moves its idx on. */
  offer(head: number): void {
    const idx = this.availIdx;
    this.memory.view(this.avail + 4 + 2 * (idx % this.size)).setUint16(0, head, true);
    this.memory.view(this.avail).setUint16(2, (idx + 1) & 0xffff, true);
  }

  /** Chains buffers from the next free descriptors (taken in turn) and offers them; returns the head. */
  offerBuffers(...buffers: GuestBuffer[]): number {
    const slots = buffers.map((_, i) => (this.#freeDescriptor + i) % this.size);
    this.#freeDescriptor += buffers.length;
    for (const [i, { gpa, length, writable }] of buffers.entries()) {
      const next = slots[i + 1];
      const flags = (writable ? WRITE : 0) | (next === undefined ? 0 : NEXT);
      this.descriptor(slots[i] ?? 0, gpa, length, flags, next ?? 0);
    }
    const head = slots[0] ?? 0;
    this.offer(head);
    return head;
  }
}

export const F = { INDIRECT: 1n << 28n, EVENT_IDX: 1n << 29n, VERSION_1: 1n << 32n, RING_RESET: 1n << 40n };

/** Virtio 1.2, 3.1.1 "Driver Requirements: Device Initialization", with queues where `TestQueue` has them. */
export function initialize(transport: VirtioMmio, queues: readonly TestQueue[], features: bigint = F.VERSION_1): void {
  const write = (offset: number, value: number) => transport.write(offset, 4, value);
  write(REGISTER.Status, 0);
  write(REGISTER.Status, STATUS.ACKNOWLEDGE);
  write(REGISTER.Status, STATUS.ACKNOWLEDGE | STATUS.DRIVER);
  for (const word of [0, 1]) {
    write(REGISTER.DriverFeaturesSel, word);
    write(REGISTER.DriverFeatures, Number((features >> BigInt(32 * word)) & 0xffff_ffffn));
  }
  const negotiated = STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK;
  write(REGISTER.Status, negotiated);
  for (const queue of queues) enableQueue(transport, queue);
  write(REGISTER.Status, negotiated | STATUS.DRIVER_OK);
}

export function enableQueue(transport: VirtioMmio, queue: TestQueue): void {
  const write = (offset: number, value: number) => transport.write(offset, 4, value);
  write(REGISTER.QueueSel, queue.index);
  write(REGISTER.QueueNum, queue.size);
  write(REGISTER.QueueDescLow, queue.table);
  write(REGISTER.QueueDescHigh, 0);
  write(REGISTER.QueueDriverLow, queue.avail);
  write(REGISTER.QueueDriverHigh, 0);
  write(REGISTER.QueueDeviceLow, queue.used);
  write(REGISTER.QueueDeviceHigh, 0);
  write(REGISTER.QueueReady, 1);
}

/** Notifies, and lets the device work once, as it does when the notifying instruction has ended. */
export const notify = (transport: VirtioMmio, queue: number): void => {
  transport.write(REGISTER.QueueNotify, 4, queue);
  if (transport.deadlineNs() !== undefined) transport.service(0);
};
