/** The virtio console device with its port 0. Source: Virtio 1.2, 5.3 "Console Device". */
import { type ByteSink, clonePlain } from '../device.ts';
import { type FeatureWords, hasFeature } from './features.ts';
import type { VirtioDevice, VirtioHost } from './virtio-device.ts';
import type { Virtqueue } from './virtqueue.ts';

const VIRTIO_CONSOLE_F_SIZE = 0;
const VIRTIO_CONSOLE_F_EMERG_WRITE = 2;

const RECEIVEQ = 0;
const QUEUE_SIZE = 64;
const MAX_CHAIN_BYTES = 1024 * 1024;
/** Work of one notification; the rest waits for the next service. */
const BYTES_PER_RUN = 8 * 1024 * 1024;
const CONFIG_BYTES = 12;
const EMERG_WR_OFFSET = 8;

export interface VirtioConsoleState {
  columns: number;
  rows: number;
  sizeNegotiated: boolean;
  /** Input for which the driver has given no buffer yet. */
  waitingInput: Uint8Array;
}

export class VirtioConsole implements VirtioDevice<VirtioConsoleState> {
  readonly type = 'virtio-console';
  readonly deviceId = 3;
  readonly features = [
    { bit: VIRTIO_CONSOLE_F_SIZE, name: 'VIRTIO_CONSOLE_F_SIZE' },
    { bit: VIRTIO_CONSOLE_F_EMERG_WRITE, name: 'VIRTIO_CONSOLE_F_EMERG_WRITE' },
  ];
  readonly queues = [
    { name: 'receiveq(port0)', maxSize: QUEUE_SIZE, maxChainBytes: MAX_CHAIN_BYTES },
    { name: 'transmitq(port0)', maxSize: QUEUE_SIZE, maxChainBytes: MAX_CHAIN_BYTES },
  ];
  readonly #output: ByteSink;
  #host: VirtioHost | undefined;
  #s: VirtioConsoleState = { columns: 80, rows: 25, sizeNegotiated: false, waitingInput: new Uint8Array(0) };

  constructor(output: ByteSink) {
    this.#output = output;
  }

  attach(host: VirtioHost): void {
    this.#host = host;
  }

  /** Bytes from outside, in order; they wait until the driver has given buffers for them. */
  receive(bytes: Uint8Array): void {
    const { waitingInput } = this.#s;
    const joined = new Uint8Array(waitingInput.length + bytes.length);
    joined.set(waitingInput);
    joined.set(bytes, waitingInput.length);
    this.#s.waitingInput = joined;
    this.#host?.runQueue(RECEIVEQ);
  }

  /** The terminal has a new size. */
  resize(columns: number, rows: number): void {
    this.#s.columns = columns & 0xffff;
    this.#s.rows = rows & 0xffff;
    if (this.#s.sizeNegotiated) this.#host?.configChanged();
  }

  activate(features: FeatureWords): void {
    this.#s.sizeNegotiated = hasFeature(features, VIRTIO_CONSOLE_F_SIZE);
  }

  reset(): void {
    this.#s.sizeNegotiated = false;
  }

  /** struct virtio_console_config: cols, rows, max_nr_ports, emerg_wr. */
  configSpace(): Uint8Array {
    const bytes = new Uint8Array(CONFIG_BYTES);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, this.#s.columns, true);
    view.setUint16(2, this.#s.rows, true);
    view.setUint32(4, 1, true);
    return bytes;
  }

  /** emerg_wr takes one character at any time, before initialization as well. */
  writeConfig(offset: number, bytes: Uint8Array): boolean {
    if (offset !== EMERG_WR_OFFSET) return false;
    this.#output(bytes.slice(0, 1));
    return true;
  }

  processQueue(queue: Virtqueue): boolean {
    return queue.config.index === RECEIVEQ ? this.#deliverInput(queue) : this.#transmit(queue);
  }

  saveState(): VirtioConsoleState {
    return clonePlain(this.#s);
  }

  restoreState(state: VirtioConsoleState): void {
    this.#s = clonePlain(state);
  }

  describe() {
    const { columns, rows, waitingInput } = this.#s;
    return [
      { name: 'size', value: `${columns} columns, ${rows} rows` },
      { name: 'input waiting for buffers', value: `${waitingInput.length} bytes` },
    ];
  }

  #deliverInput(queue: Virtqueue): boolean {
    while (this.#s.waitingInput.length > 0) {
      const chain = queue.take();
      if (!chain) break;
      const written = queue.storeSegments(chain.writable, this.#s.waitingInput);
      this.#s.waitingInput = this.#s.waitingInput.slice(written);
      queue.giveBack(chain, written);
    }
    return true;
  }

  #transmit(queue: Virtqueue): boolean {
    let bytes = 0;
    while (queue.available() > 0) {
      if (bytes >= BYTES_PER_RUN) return false;
      const chain = queue.take();
      if (!chain) break;
      const text = queue.loadSegments(chain.readable);
      bytes += text.length;
      if (text.length > 0) this.#output(text);
      queue.giveBack(chain, 0);
    }
    return true;
  }
}
