/** The virtio block device. Source: Virtio 1.2, 5.2 "Block Device". Requests are completed when they are notified. */
import { clonePlain } from '../device.ts';
import { type BlockBackend, SECTOR_BYTES } from './block-backend.ts';
import {
  type BlockRequest,
  parseBlockRequest,
  parseRanges,
  RANGE_BYTES,
  REQUEST_TYPE,
  type SectorRange,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
} from './block-request.ts';
import { segmentBytes } from './descriptor-chain.ts';
import type { VirtioDevice } from './virtio-device.ts';
import type { Virtqueue } from './virtqueue.ts';

const FEATURES = [
  { bit: 1, name: 'VIRTIO_BLK_F_SIZE_MAX' },
  { bit: 2, name: 'VIRTIO_BLK_F_SEG_MAX' },
  { bit: 6, name: 'VIRTIO_BLK_F_BLK_SIZE' },
  { bit: 9, name: 'VIRTIO_BLK_F_FLUSH' },
  { bit: 13, name: 'VIRTIO_BLK_F_DISCARD' },
  { bit: 14, name: 'VIRTIO_BLK_F_WRITE_ZEROES' },
];
const READ_ONLY_FEATURE = { bit: 5, name: 'VIRTIO_BLK_F_RO' };

const QUEUE_SIZE = 128;
/** A chain has a descriptor for the header and one for the status as well. */
const SEG_MAX = QUEUE_SIZE - 2;
const MAX_CHAIN_BYTES = 16 * 1024 * 1024;
const SIZE_MAX = 1024 * 1024;
/** Work of one notification; the rest waits for the next service, so that no guest holds the machine. */
const BYTES_PER_RUN = 32 * 1024 * 1024;
const MAX_RANGE_SECTORS = 32_768;
const MAX_RANGES = 16;
const ID_BYTES = 20;
const CONFIG_BYTES = 60;

export interface VirtioBlockState {
  requests: number;
  failedRequests: number;
  backend: unknown;
}

export class VirtioBlock implements VirtioDevice<VirtioBlockState> {
  readonly type = 'virtio-block';
  readonly deviceId = 2;
  readonly features;
  readonly queues = [{ name: 'requestq', maxSize: QUEUE_SIZE, maxChainBytes: MAX_CHAIN_BYTES }];
  readonly #backend: BlockBackend;
  readonly #id: Uint8Array;
  #counters = { requests: 0, failedRequests: 0 };

  /** @param id what GET_ID tells: up to 20 ASCII characters */
  constructor(backend: BlockBackend, id = 'ringside-disk') {
    this.#backend = backend;
    this.features = backend.readOnly ? [...FEATURES, READ_ONLY_FEATURE] : FEATURES;
    this.#id = new Uint8Array(ID_BYTES);
    this.#id.set(new TextEncoder().encode(id).subarray(0, ID_BYTES));
  }

  attach(): void {
    // A block device does nothing of itself.
  }

  activate(): void {
    // What was negotiated changes nothing: unknown request types are refused either way.
  }

  reset(): void {
    this.#counters = { requests: 0, failedRequests: 0 };
  }

  /** struct virtio_blk_config. */
  configSpace(): Uint8Array {
    const bytes = new Uint8Array(CONFIG_BYTES);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, BigInt(this.#backend.capacitySectors), true);
    view.setUint32(8, SIZE_MAX, true);
    view.setUint32(12, SEG_MAX, true);
    view.setUint32(20, SECTOR_BYTES, true); // blk_size
    view.setUint32(36, MAX_RANGE_SECTORS, true); // max_discard_sectors
    view.setUint32(40, MAX_RANGES, true); // max_discard_seg
    view.setUint32(44, 1, true); // discard_sector_alignment
    view.setUint32(48, MAX_RANGE_SECTORS, true); // max_write_zeroes_sectors
    view.setUint32(52, MAX_RANGES, true); // max_write_zeroes_seg
    view.setUint8(56, 1); // write_zeroes_may_unmap
    return bytes;
  }

  writeConfig(): boolean {
    return false;
  }

  processQueue(queue: Virtqueue): boolean {
    let bytes = 0;
    while (queue.available() > 0) {
      if (bytes >= BYTES_PER_RUN) return false;
      const chain = queue.take();
      if (!chain) break;
      const request = parseBlockRequest(queue, chain);
      bytes += segmentBytes(chain.readable) + segmentBytes(chain.writable);
      queue.giveBack(chain, this.#execute(queue, request));
    }
    return true;
  }

  saveState(): VirtioBlockState {
    return { ...this.#counters, backend: this.#backend.saveState() };
  }

  restoreState(state: VirtioBlockState): void {
    const { backend, ...counters } = state;
    this.#counters = clonePlain(counters);
    this.#backend.restoreState(backend);
  }

  describe() {
    return [
      { name: 'capacity', value: `${this.#backend.capacitySectors} sectors of ${SECTOR_BYTES} bytes` },
      { name: 'requests', value: `${this.#counters.requests}, ${this.#counters.failedRequests} of them failed` },
    ];
  }

  /** Carries a request out, stores its status and returns the number of bytes written to the guest. */
  #execute(queue: Virtqueue, request: BlockRequest): number {
    const { status, written } = this.#dispatch(queue, request);
    queue.store(request.status.gpa, Uint8Array.of(status));
    this.#counters.requests++;
    if (status !== VIRTIO_BLK_S_OK) this.#counters.failedRequests++;
    return written + 1;
  }

  #dispatch(queue: Virtqueue, request: BlockRequest): { status: number; written: number } {
    switch (request.type) {
      case REQUEST_TYPE.VIRTIO_BLK_T_IN:
        return this.#read(queue, request);
      case REQUEST_TYPE.VIRTIO_BLK_T_OUT:
        return { status: this.#write(queue, request), written: 0 };
      case REQUEST_TYPE.VIRTIO_BLK_T_FLUSH:
        return { status: VIRTIO_BLK_S_OK, written: 0 };
      case REQUEST_TYPE.VIRTIO_BLK_T_GET_ID:
        return { status: VIRTIO_BLK_S_OK, written: queue.storeSegments(request.dataIn, this.#id) };
      case REQUEST_TYPE.VIRTIO_BLK_T_DISCARD:
      case REQUEST_TYPE.VIRTIO_BLK_T_WRITE_ZEROES:
        return { status: this.#zeroRanges(queue, request), written: 0 };
      default:
        return { status: VIRTIO_BLK_S_UNSUPP, written: 0 };
    }
  }

  /** Sectors that a transfer of whole sectors within the capacity covers; undefined for any other. */
  #sectorsOf(sector: number, lengthBytes: number): number | undefined {
    const sectors = lengthBytes / SECTOR_BYTES;
    return Number.isInteger(sectors) && sector + sectors <= this.#backend.capacitySectors ? sectors : undefined;
  }

  #read(queue: Virtqueue, { sector, dataIn }: BlockRequest): { status: number; written: number } {
    const sectors = this.#sectorsOf(sector, segmentBytes(dataIn));
    if (sectors === undefined) return { status: VIRTIO_BLK_S_IOERR, written: 0 };
    const written = queue.storeSegments(dataIn, this.#backend.read(sector, sectors));
    return { status: VIRTIO_BLK_S_OK, written };
  }

  #write(queue: Virtqueue, { sector, dataOut }: BlockRequest): number {
    const sectors = this.#sectorsOf(sector, segmentBytes(dataOut));
    if (sectors === undefined || this.#backend.readOnly) return VIRTIO_BLK_S_IOERR;
    this.#backend.write(sector, queue.loadSegments(dataOut));
    return VIRTIO_BLK_S_OK;
  }

  /** A discarded sector reads as zeros here, so both commands do the same once they are found valid. */
  #zeroRanges(queue: Virtqueue, { type, dataOut }: BlockRequest): number {
    const length = segmentBytes(dataOut);
    if (length === 0 || length % RANGE_BYTES !== 0 || length > MAX_RANGES * RANGE_BYTES) return VIRTIO_BLK_S_IOERR;
    const ranges = parseRanges(queue.loadSegments(dataOut));
    const discard = type === REQUEST_TYPE.VIRTIO_BLK_T_DISCARD;
    if (ranges.some((range) => range.unknownFlags || (discard && range.unmap))) return VIRTIO_BLK_S_UNSUPP;
    if (this.#backend.readOnly || !ranges.every((range) => this.#validRange(range))) return VIRTIO_BLK_S_IOERR;
    for (const { sector, sectors } of ranges) this.#backend.write(sector, new Uint8Array(sectors * SECTOR_BYTES));
    return VIRTIO_BLK_S_OK;
  }

  #validRange({ sector, sectors }: SectorRange): boolean {
    return sectors <= MAX_RANGE_SECTORS && sector + sectors <= this.#backend.capacitySectors;
  }
}
