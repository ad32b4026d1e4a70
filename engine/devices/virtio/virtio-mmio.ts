/**
 * The virtio-over-MMIO transport, version 2. Source: Virtio 1.2, 4.2 "Virtio Over MMIO".
 *
 * A write that the specification forbids in the present state has no effect and is told through `onDriverMistake`.
 */
import { hex } from '../../cpu/hexadecimal.ts';
import {
  bitNames,
  type Clock,
  clonePlain,
  type Device,
  type DeviceView,
  type DriverMistake,
  type GuestMemory,
  type InterruptLine,
  type MmioDevice,
  type TimedDevice,
  type VirtqueueNotification,
} from '../device.ts';
import {
  featureWords,
  TRANSPORT_FEATURES,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_RESET,
} from './features.ts';
import { INTERRUPT, INTERRUPT_NAMES, REGISTER, REGISTER_NAMES, STATUS, STATUS_NAMES } from './mmio-registers.ts';
import { Negotiation, type NegotiationState } from './negotiation.ts';
import { VirtioViolation } from './violation.ts';
import type { VirtioDevice, VirtioHost } from './virtio-device.ts';
import { Virtqueue, type VirtqueueState } from './virtqueue.ts';

export const VIRTIO_MMIO_BYTES = 0x200;

const MAGIC = 0x74726976;
const VERSION = 2;
/** 'RING' in ASCII, little-endian. */
const VENDOR_ID = 0x474e4952;
const NO_SHARED_MEMORY = 0xffff_ffff;
const WORD = 2 ** 32;

export interface VirtioMmioState {
  negotiation: NegotiationState;
  queueSel: number;
  interruptStatus: number;
  configGeneration: number;
  queues: VirtqueueState[];
  /** Queues with chains left over from a notification that was too much for once. */
  backlog: number[];
  device: unknown;
}

export interface VirtioMmioPorts {
  readonly clock: Clock;
  readonly memory: GuestMemory;
  readonly irq: InterruptLine;
  /** Called before the device looks at the queue. */
  readonly onNotify?: ((notification: VirtqueueNotification) => void) | undefined;
  readonly onDriverMistake?: ((mistake: DriverMistake) => void) | undefined;
}

type Registers = Omit<VirtioMmioState, 'negotiation' | 'queues' | 'device'>;

const initialRegisters = (configGeneration: number): Registers => ({
  queueSel: 0,
  interruptStatus: 0,
  configGeneration,
  backlog: [],
});

export class VirtioMmio implements Device<VirtioMmioState>, MmioDevice, TimedDevice, VirtioHost {
  readonly name: string;
  readonly device: VirtioDevice;
  readonly queues: readonly Virtqueue[];
  /** Status and features, for inspection beside `describe`. */
  readonly negotiation: Negotiation;
  readonly #ports: VirtioMmioPorts;
  #r = initialRegisters(0);

  constructor(name: string, device: VirtioDevice, ports: VirtioMmioPorts) {
    this.name = name;
    this.device = device;
    this.#ports = ports;
    const features = featureWords([...device.features, ...TRANSPORT_FEATURES]);
    this.negotiation = new Negotiation(features, (message) => this.#mistake(message));
    this.queues = device.queues.map((queue, index) => new Virtqueue({ ...queue, index }, ports.memory));
    device.attach(this);
  }

  get live(): boolean {
    return this.negotiation.live;
  }

  read(offset: number, sizeBytes: number): number {
    if (offset < REGISTER.Config && (sizeBytes !== 4 || offset % 4 !== 0)) this.#mistakenAccess(offset, sizeBytes);
    else if (REGISTER_NAMES.get(offset)?.access === 'W') {
      this.#mistake(`read of the write-only register ${REGISTER_NAMES.get(offset)?.name}; it reads as 0`);
    }
    return this.peek(offset, sizeBytes);
  }

  peek(offset: number, sizeBytes: number): number {
    if (offset >= REGISTER.Config) return this.#peekConfig(offset - REGISTER.Config, sizeBytes);
    return sizeBytes === 4 ? this.#register(offset) >>> 0 : 0;
  }

  write(offset: number, sizeBytes: number, value: number): void {
    if (offset >= REGISTER.Config) this.#writeConfig(offset - REGISTER.Config, sizeBytes, value);
    else if (sizeBytes !== 4 || offset % 4 !== 0) this.#mistakenAccess(offset, sizeBytes);
    else this.#writeRegister(offset, value >>> 0);
  }

  runQueue(index: number): void {
    const queue = this.queues[index];
    if (!queue?.state.ready || !this.live) return;
    this.#guarded(() => {
      this.#r.backlog = this.#r.backlog.filter((waiting) => waiting !== index);
      if (!this.device.processQueue(queue)) this.#r.backlog.push(index);
      if (queue.wantsInterrupt()) this.#raise(INTERRUPT.USED_BUFFER);
    });
  }

  configChanged(): void {
    this.#r.configGeneration = (this.#r.configGeneration + 1) >>> 0;
    if (this.negotiation.status & STATUS.DRIVER_OK) this.#raise(INTERRUPT.CONFIGURATION_CHANGE);
  }

  deadlineNs(): number | undefined {
    return this.#r.backlog.length > 0 ? this.#ports.clock() : undefined;
  }

  service(_nowNs: number): void {
    for (const index of [...this.#r.backlog]) this.runQueue(index);
  }

  reset(): void {
    this.#r = initialRegisters(this.#r.configGeneration);
    this.negotiation.reset();
    for (const queue of this.queues) queue.reset();
    this.device.reset();
    this.#ports.irq.set(false);
  }

  saveState(): VirtioMmioState {
    return {
      ...clonePlain(this.#r),
      negotiation: this.negotiation.saveState(),
      queues: this.queues.map((queue) => queue.saveState()),
      device: this.device.saveState(),
    };
  }

  restoreState(state: VirtioMmioState): void {
    const { negotiation, queues, device, ...registers } = state;
    this.#r = clonePlain(registers);
    this.negotiation.restoreState(negotiation);
    for (const [index, queue] of this.queues.entries()) {
      const saved = queues[index];
      if (saved) queue.restoreState(saved);
    }
    this.device.restoreState(device);
    this.#ports.irq.set(this.#r.interruptStatus !== 0);
  }

  describe(): DeviceView {
    const meanings = new Map<number, string>([
      [REGISTER.Status, bitNames(this.negotiation.status, STATUS_NAMES)],
      [REGISTER.InterruptStatus, bitNames(this.#r.interruptStatus, INTERRUPT_NAMES)],
      [REGISTER.DeviceID, this.device.type],
    ]);
    const registers = [...REGISTER_NAMES].flatMap(([offset, { name, access }]) => {
      if (access === 'W') return [];
      const meaning = meanings.get(offset);
      return [{ name, value: this.peek(offset, 4), widthBits: 32, ...(meaning === undefined ? {} : { meaning }) }];
    });
    return { device: this.name, registers };
  }

  get #queue(): Virtqueue | undefined {
    return this.queues[this.#r.queueSel];
  }

  #register(offset: number): number {
    const r = this.#r;
    switch (offset) {
      case REGISTER.MagicValue:
        return MAGIC;
      case REGISTER.Version:
        return VERSION;
      case REGISTER.DeviceID:
        return this.device.deviceId;
      case REGISTER.VendorID:
        return VENDOR_ID;
      case REGISTER.DeviceFeatures:
        return this.negotiation.selectedDeviceFeatures;
      case REGISTER.QueueNumMax:
        return this.#queue?.config.maxSize ?? 0;
      case REGISTER.QueueReady:
        return this.#queue?.state.ready ? 1 : 0;
      case REGISTER.InterruptStatus:
        return r.interruptStatus;
      case REGISTER.Status:
        return this.negotiation.status;
      case REGISTER.SHMLenLow:
      case REGISTER.SHMLenHigh:
      case REGISTER.SHMBaseLow:
      case REGISTER.SHMBaseHigh:
        return NO_SHARED_MEMORY;
      case REGISTER.ConfigGeneration:
        return r.configGeneration;
      default:
        return 0;
    }
  }

  #writeRegister(offset: number, value: number): void {
    const r = this.#r;
    switch (offset) {
      case REGISTER.DeviceFeaturesSel:
        this.negotiation.selectDeviceFeatures(value);
        break;
      case REGISTER.DriverFeatures:
        this.negotiation.writeDriverFeatures(value);
        break;
      case REGISTER.DriverFeaturesSel:
        this.negotiation.selectDriverFeatures(value);
        break;
      case REGISTER.QueueSel:
        r.queueSel = value;
        break;
      case REGISTER.QueueNotify:
        this.#notify(value);
        break;
      case REGISTER.InterruptACK:
        r.interruptStatus &= ~value;
        this.#ports.irq.set(r.interruptStatus !== 0);
        break;
      case REGISTER.Status:
        this.#writeStatus(value);
        break;
      case REGISTER.SHMSel:
        break;
      default:
        this.#writeQueueRegister(offset, value);
    }
  }

  /** QueueNum, QueueReady, the queue's addresses and QueueReset. */
  #writeQueueRegister(offset: number, value: number): void {
    const register = REGISTER_NAMES.get(offset);
    const queue = this.#queue;
    if (!register || register.access === 'R') {
      this.#mistake(
        `write of ${hex(value)} to ${register?.name ?? `the reserved offset ${hex(offset, 3)}`}, which is read-only`,
      );
    } else if (!queue) {
      this.#mistake(
        `${register.name} written with QueueSel ${this.#r.queueSel}; the device has ${this.queues.length} queues`,
      );
    } else if (!(this.negotiation.status & STATUS.FEATURES_OK)) {
      this.#mistake(`${register.name} written before FEATURES_OK`);
    } else if (offset === REGISTER.QueueReady) {
      this.#writeQueueReady(queue, value);
    } else if (offset === REGISTER.QueueReset) {
      this.#writeQueueReset(queue, value);
    } else if (queue.state.ready) {
      this.#mistake(`${register.name} written while QueueReady is 1; write 0 to QueueReady or reset first`);
    } else if (offset === REGISTER.QueueNum) {
      this.#writeQueueNum(queue, value);
    } else {
      this.#writeQueueAddress(queue.state, offset, value);
    }
  }

  #writeQueueNum(queue: Virtqueue, value: number): void {
    const powerOf2 = value > 0 && (value & (value - 1)) === 0;
    if (powerOf2 && value <= queue.config.maxSize) queue.state.size = value;
    else this.#mistake(`QueueNum: expected a power of 2 up to QueueNumMax, ${queue.config.maxSize}, found ${value}`);
  }

  #writeQueueAddress(state: VirtqueueState, offset: number, value: number): void {
    const withLow = (address: number) => Math.floor(address / WORD) * WORD + value;
    const withHigh = (address: number) => value * WORD + (address % WORD);
    if (offset === REGISTER.QueueDescLow) state.descriptorArea = withLow(state.descriptorArea);
    else if (offset === REGISTER.QueueDescHigh) state.descriptorArea = withHigh(state.descriptorArea);
    else if (offset === REGISTER.QueueDriverLow) state.driverArea = withLow(state.driverArea);
    else if (offset === REGISTER.QueueDriverHigh) state.driverArea = withHigh(state.driverArea);
    else if (offset === REGISTER.QueueDeviceLow) state.deviceArea = withLow(state.deviceArea);
    else state.deviceArea = withHigh(state.deviceArea);
  }

  #writeQueueReady(queue: Virtqueue, value: number): void {
    if (value & 1) {
      if (queue.state.ready) return;
      const eventIndex = this.negotiation.has(VIRTIO_F_EVENT_IDX);
      const indirect = this.negotiation.has(VIRTIO_F_INDIRECT_DESC);
      this.#guarded(() => queue.enable({ eventIndex, indirect }));
    } else {
      queue.state.ready = false;
    }
  }

  /** Source: Virtio 1.2, 2.6.1 "Virtqueue Reset". It is done at once, so QueueReset reads as 0. */
  #writeQueueReset(queue: Virtqueue, value: number): void {
    if (!this.negotiation.has(VIRTIO_F_RING_RESET)) {
      this.#mistake('QueueReset written, but VIRTIO_F_RING_RESET was not negotiated');
    } else if (value === 1) {
      queue.reset();
      this.#r.backlog = this.#r.backlog.filter((index) => index !== queue.config.index);
    }
  }

  #writeStatus(value: number): void {
    if (value === 0) this.reset();
    else if (this.negotiation.writeStatus(value)) this.#start();
  }

  /** Chains made available before DRIVER_OK need no notification anew, so the queues are looked at. */
  #start(): void {
    this.device.activate(this.negotiation.driverFeatures);
    for (const queue of this.queues) this.runQueue(queue.config.index);
  }

  #notify(index: number): void {
    this.#ports.onNotify?.({ device: this.name, queue: index });
    if (!this.queues[index]) {
      this.#mistake(`QueueNotify of queue ${index}; the device has ${this.queues.length} queues`);
    } else if (!(this.negotiation.status & STATUS.DRIVER_OK)) {
      this.#mistake(`QueueNotify of queue ${index} before DRIVER_OK`);
    } else if (!this.queues[index]?.state.ready) {
      this.#mistake(`QueueNotify of queue ${index} while its QueueReady is 0`);
    } else if (!this.#r.backlog.includes(index)) {
      // The device works once the instruction has ended: at a stop here, the chains are still in flight.
      this.#r.backlog.push(index);
    }
  }

  #peekConfig(offset: number, sizeBytes: number): number {
    const space = this.device.configSpace();
    let value = 0;
    for (let i = sizeBytes - 1; i >= 0; i--) value = value * 256 + (space[offset + i] ?? 0);
    return value;
  }

  #writeConfig(offset: number, sizeBytes: number, value: number): void {
    const bytes = Uint8Array.from({ length: sizeBytes }, (_, i) => (value >>> (8 * i)) & 0xff);
    if (!this.device.writeConfig(offset, bytes)) {
      this.#mistake(
        `write of ${hex(value)} to offset ${hex(offset, 2)} of the configuration space, which is read-only`,
      );
    }
  }

  #raise(cause: number): void {
    this.#r.interruptStatus |= cause;
    this.#ports.irq.set(true);
  }

  /** A violation makes the device stop until it is reset and tells the driver so, as 2.1.2 requires. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof VirtioViolation)) throw error;
      this.negotiation.setNeedsReset(error.message);
      this.#r.backlog = [];
      this.#mistake(`${error.message}; DEVICE_NEEDS_RESET set`);
      if (this.negotiation.status & STATUS.DRIVER_OK) this.#raise(INTERRUPT.CONFIGURATION_CHANGE);
    }
  }

  #mistakenAccess(offset: number, sizeBytes: number): void {
    this.#mistake(
      `access of ${sizeBytes} bytes to offset ${hex(offset, 3)}; registers take aligned accesses of 4 bytes`,
    );
  }

  #mistake(message: string): void {
    this.#ports.onDriverMistake?.({ device: this.name, message });
  }
}
