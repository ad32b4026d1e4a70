/**
 * Requests of a block device: taking one out of a descriptor chain, apart from carrying it out.
 * Source: Virtio 1.2, 5.2.6 "Device Operation".
 */
import { type DescriptorChain, type Segment, segmentBytes, sliceSegments } from './descriptor-chain.ts';
import { VirtioViolation } from './violation.ts';
import type { Virtqueue } from './virtqueue.ts';

export const REQUEST_TYPE = {
  VIRTIO_BLK_T_IN: 0,
  VIRTIO_BLK_T_OUT: 1,
  VIRTIO_BLK_T_FLUSH: 4,
  VIRTIO_BLK_T_GET_ID: 8,
  VIRTIO_BLK_T_DISCARD: 11,
  VIRTIO_BLK_T_WRITE_ZEROES: 13,
};

export const VIRTIO_BLK_S_OK = 0;
export const VIRTIO_BLK_S_IOERR = 1;
export const VIRTIO_BLK_S_UNSUPP = 2;

/** type, reserved, sector. */
const HEADER_BYTES = 16;

export interface BlockRequest {
  readonly type: number;
  /** In units of 512 bytes, whatever blk_size is. */
  readonly sector: number;
  /** The data between header and status: read by the device, and written by it. */
  readonly dataOut: readonly Segment[];
  readonly dataIn: readonly Segment[];
  /** The last byte of the device-writable part. */
  readonly status: Segment;
}

/** Makes no assumption on how the driver cut header, data and status into descriptors (2.7.4). @throws VirtioViolation */
export function parseBlockRequest(queue: Virtqueue, chain: DescriptorChain): BlockRequest {
  const readable = segmentBytes(chain.readable);
  const writable = segmentBytes(chain.writable);
  if (readable < HEADER_BYTES) {
    throw new VirtioViolation(
      `block request at descriptor ${chain.head}: expected a device-readable header of ${HEADER_BYTES} bytes, found ${readable}`,
    );
  }
  const [status] = sliceSegments(chain.writable, writable - 1, 1);
  if (!status) {
    throw new VirtioViolation(
      `block request at descriptor ${chain.head}: there is no device-writable byte for its status`,
    );
  }
  const header = queue.loadSegments(sliceSegments(chain.readable, 0, HEADER_BYTES));
  const view = new DataView(header.buffer);
  return {
    type: view.getUint32(0, true),
    sector: Number(view.getBigUint64(8, true)),
    dataOut: sliceSegments(chain.readable, HEADER_BYTES, readable - HEADER_BYTES),
    dataIn: sliceSegments(chain.writable, 0, writable - 1),
    status,
  };
}

/** One struct virtio_blk_discard_write_zeroes. */
export interface SectorRange {
  readonly sector: number;
  readonly sectors: number;
  readonly unmap: boolean;
  /** Any other flag than unmap is set. */
  readonly unknownFlags: boolean;
}

export const RANGE_BYTES = 16;

export function parseRanges(bytes: Uint8Array): SectorRange[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const ranges: SectorRange[] = [];
  for (let at = 0; at + RANGE_BYTES <= bytes.length; at += RANGE_BYTES) {
    const flags = view.getUint32(at + 12, true);
    ranges.push({
      sector: Number(view.getBigUint64(at, true)),
      sectors: view.getUint32(at + 8, true),
      unmap: (flags & 1) !== 0,
      unknownFlags: (flags & ~1) !== 0,
    });
  }
  return ranges;
}
