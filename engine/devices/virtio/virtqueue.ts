/**
 * A split virtqueue, the device's side. Source: Virtio 1.2, 2.7 "Split Virtqueues".
 *
 * Everything in the rings is the driver's word and is checked when it is used; a broken rule throws `VirtioViolation`.
 */
import { hex } from '../../cpu/hexadecimal.ts';
import { clonePlain, type GuestMemory } from '../device.ts';
import {
  type ChainContext,
  type ChainMemory,
  type DescriptorChain,
  parseChain,
  type Segment,
} from './descriptor-chain.ts';
import { VirtioViolation } from './violation.ts';

export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1;
/** Offset of the ring within virtq_avail and virtq_used, behind flags and idx. */
export const RING_OFFSET = 4;
export const AVAIL_ENTRY_BYTES = 2;
export const USED_ENTRY_BYTES = 8;

export interface VirtqueueState {
  /** QueueNum: entries of each ring. */
  size: number;
  ready: boolean;
  /** Guest-physical addresses: descriptor table, driver area (available ring), device area (used ring). */
  descriptorArea: number;
  driverArea: number;
  deviceArea: number;
  /** Next entry of the available ring to take, modulo 2^16. */
  nextAvailable: number;
  /** Next entry of the used ring to fill, modulo 2^16. */
  nextUsed: number;
  /** `nextUsed` when the driver was last considered for an interrupt. */
  signalledUsed: number;
  /** VIRTIO_F_EVENT_IDX and VIRTIO_F_INDIRECT_DESC were negotiated. */
  eventIndex: boolean;
  indirect: boolean;
  /** Heads that the device has taken and not returned yet. */
  taken: number[];
}

export interface VirtqueueConfig {
  readonly index: number;
  /** 'requestq', 'receiveq(port0)': the specification's name. */
  readonly name: string;
  readonly maxSize: number;
  readonly maxChainBytes: number;
}

function disabled(size: number): VirtqueueState {
  return {
    size,
    ready: false,
    descriptorArea: 0,
    driverArea: 0,
    deviceArea: 0,
    nextAvailable: 0,
    nextUsed: 0,
    signalledUsed: 0,
    eventIndex: false,
    indirect: false,
    taken: [],
  };
}

export class Virtqueue {
  readonly config: VirtqueueConfig;
  readonly memory: GuestMemory;
  readonly #deviceMemory: ChainMemory;
  state: VirtqueueState;

  constructor(config: VirtqueueConfig, memory: GuestMemory) {
    this.config = config;
    this.memory = memory;
    this.#deviceMemory = {
      contains: (gpa, lengthBytes) => memory.contains(gpa, lengthBytes),
      load: (gpa, lengthBytes) => memory.read(gpa, lengthBytes),
    };
    this.state = disabled(config.maxSize);
  }

  reset(): void {
    this.state = disabled(this.config.maxSize);
  }

  /** QueueReady := 1. Checks alignment and place of the three areas. @throws VirtioViolation */
  enable(features: { eventIndex: boolean; indirect: boolean }): void {
    const s = this.state;
    const eventBytes = features.eventIndex ? 2 : 0;
    this.#checkArea('descriptor area', s.descriptorArea, 16, s.size * 16);
    this.#checkArea('driver area', s.driverArea, 2, RING_OFFSET + s.size * AVAIL_ENTRY_BYTES + eventBytes);
    this.#checkArea('device area', s.deviceArea, 4, RING_OFFSET + s.size * USED_ENTRY_BYTES + eventBytes);
    s.eventIndex = features.eventIndex;
    s.indirect = features.indirect;
    s.ready = true;
  }

  /** What walking a chain of this queue needs; pass a memory of peeks for inspection. */
  context(memory: ChainMemory = this.#deviceMemory): ChainContext {
    return {
      memory,
      descriptorTable: this.state.descriptorArea,
      queueSize: this.state.size,
      indirect: this.state.indirect,
      maxChainBytes: this.config.maxChainBytes,
    };
  }

  /** Chains that the driver has made available and the device has not taken. @throws VirtioViolation */
  available(): number {
    const s = this.state;
    if (!s.ready) return 0;
    const count = (this.#load16(s.driverArea + 2) - s.nextAvailable) & 0xffff;
    if (count > s.size) {
      throw new VirtioViolation(
        `${this.#called}: the available ring's idx is ${count} entries ahead, expected at most the queue size, ${s.size}`,
      );
    }
    return count;
  }

  /** Takes the next chain, or undefined if there is none. @throws VirtioViolation */
  take(): DescriptorChain | undefined {
    const s = this.state;
    if (this.available() === 0) return undefined;
    const slot = s.nextAvailable % s.size;
    const head = this.#load16(s.driverArea + RING_OFFSET + AVAIL_ENTRY_BYTES * slot);
    if (head >= s.size) {
      throw new VirtioViolation(
        `${this.#called}: available ring entry ${slot} is ${head}, expected a descriptor index below ${s.size}`,
      );
    }
    if (s.taken.includes(head)) {
      throw new VirtioViolation(`${this.#called}: descriptor ${head} was made available while the device still has it`);
    }
    const chain = parseChain(this.context(), head);
    s.nextAvailable = (s.nextAvailable + 1) & 0xffff;
    s.taken.push(head);
    this.#publishAvailEvent();
    return chain;
  }

  /** Returns a chain to the driver with the number of bytes that were written into it. @throws VirtioViolation */
  giveBack(chain: DescriptorChain, writtenBytes: number): void {
    const s = this.state;
    s.taken = s.taken.filter((head) => head !== chain.head);
    const entry = new DataView(new ArrayBuffer(USED_ENTRY_BYTES));
    entry.setUint32(0, chain.head, true);
    entry.setUint32(4, writtenBytes, true);
    const slot = s.nextUsed % s.size;
    this.store(s.deviceArea + RING_OFFSET + USED_ENTRY_BYTES * slot, new Uint8Array(entry.buffer));
    s.nextUsed = (s.nextUsed + 1) & 0xffff;
    this.#store16(s.deviceArea + 2, s.nextUsed);
  }

  /**
   * Whether the driver wants an interrupt for what was returned since the last call; asks once for a batch.
   * Source: 2.7.7 "Used Buffer Notification Suppression". @throws VirtioViolation
   */
  wantsInterrupt(): boolean {
    const s = this.state;
    const before = s.signalledUsed;
    if (!s.ready || s.nextUsed === before) return false;
    s.signalledUsed = s.nextUsed;
    if (!s.eventIndex) return (this.#load16(s.driverArea) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0;
    const usedEvent = this.#load16(s.driverArea + RING_OFFSET + AVAIL_ENTRY_BYTES * s.size);
    // The index passed used_event within the batch, modulo 2^16.
    return ((s.nextUsed - usedEvent - 1) & 0xffff) < ((s.nextUsed - before) & 0xffff);
  }

  /** Bytes of segments, one after the other. @throws VirtioViolation */
  loadSegments(segments: readonly Segment[]): Uint8Array {
    const bytes = new Uint8Array(segments.reduce((total, segment) => total + segment.lengthBytes, 0));
    let position = 0;
    for (const { gpa, lengthBytes } of segments) {
      bytes.set(this.#load(gpa, lengthBytes), position);
      position += lengthBytes;
    }
    return bytes;
  }

  /** Spreads bytes over segments; returns how many of them found room. @throws VirtioViolation */
  storeSegments(segments: readonly Segment[], bytes: Uint8Array): number {
    let position = 0;
    for (const { gpa, lengthBytes } of segments) {
      const part = bytes.subarray(position, position + lengthBytes);
      if (part.length === 0) break;
      this.store(gpa, part);
      position += part.length;
    }
    return position;
  }

  /** @throws VirtioViolation */
  store(gpa: number, bytes: Uint8Array): void {
    if (!this.memory.write(gpa, bytes)) {
      throw new VirtioViolation(`${this.#called}: ${bytes.length} bytes at guest-physical ${hex(gpa)} are outside RAM`);
    }
  }

  saveState(): VirtqueueState {
    return clonePlain(this.state);
  }

  restoreState(state: VirtqueueState): void {
    this.state = clonePlain(state);
  }

  get #called(): string {
    return `queue ${this.config.index} (${this.config.name})`;
  }

  /** With event indices the device asks to be notified of the very next chain. Source: 2.7.10. */
  #publishAvailEvent(): void {
    const s = this.state;
    if (s.eventIndex) this.#store16(s.deviceArea + RING_OFFSET + USED_ENTRY_BYTES * s.size, s.nextAvailable);
  }

  #checkArea(what: string, gpa: number, alignment: number, lengthBytes: number): void {
    if (gpa % alignment !== 0) {
      throw new VirtioViolation(
        `${this.#called}: expected the ${what} aligned to ${alignment} bytes, found ${hex(gpa)}`,
      );
    }
    if (!this.memory.contains(gpa, lengthBytes)) {
      throw new VirtioViolation(
        `${this.#called}: the ${what} of ${lengthBytes} bytes at guest-physical ${hex(gpa)} is outside RAM`,
      );
    }
  }

  #load(gpa: number, lengthBytes: number): Uint8Array {
    const bytes = this.memory.read(gpa, lengthBytes);
    if (!bytes) {
      throw new VirtioViolation(`${this.#called}: ${lengthBytes} bytes at guest-physical ${hex(gpa)} are outside RAM`);
    }
    return bytes;
  }

  #load16(gpa: number): number {
    const [low = 0, high = 0] = this.#load(gpa, 2);
    return low | (high << 8);
  }

  #store16(gpa: number, value: number): void {
    this.store(gpa, Uint8Array.of(value & 0xff, value >> 8));
  }
}
