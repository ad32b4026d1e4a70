/** What a block device keeps its sectors in. */

export const SECTOR_BYTES = 512;

export interface BlockBackend<S = unknown> {
  readonly capacitySectors: number;
  readonly readOnly: boolean;
  /** A copy; the caller stays within the capacity. */
  read(firstSector: number, sectors: number): Uint8Array;
  /** A whole number of sectors, within the capacity, never if `readOnly`. */
  write(firstSector: number, bytes: Uint8Array): void;
  /** The contents are part of a snapshot, or going back in time would meet a disk from the future. */
  saveState(): S;
  restoreState(state: S): void;
}

const CLUSTER_BYTES = 4096;
const CLUSTER_SECTORS = CLUSTER_BYTES / SECTOR_BYTES;

export interface MemoryBlockState {
  /** Clusters of 4 KiB that differ from the image, by number in ascending order. */
  clusters: (readonly [number, Uint8Array])[];
}

/**
 * A disk in memory: an image that is never written to, under the clusters that the guest has changed. A snapshot
 * shares those clusters, and a write after it copies the ones that it touches.
 */
export class MemoryBlockBackend implements BlockBackend<MemoryBlockState> {
  readonly capacitySectors: number;
  readonly readOnly: boolean;
  readonly #image: Uint8Array;
  #clusters = new Map<number, Uint8Array>();
  /** Clusters that no snapshot shares. */
  #own = new Set<number>();

  /** @param image a last sector that is not full is filled with zeros */
  constructor(image: Uint8Array, options: { readOnly?: boolean } = {}) {
    this.#image = image;
    this.readOnly = options.readOnly ?? false;
    this.capacitySectors = Math.ceil(image.length / SECTOR_BYTES);
  }

  read(firstSector: number, sectors: number): Uint8Array {
    const begin = firstSector * SECTOR_BYTES;
    const bytes = new Uint8Array(sectors * SECTOR_BYTES);
    bytes.set(this.#image.subarray(begin, begin + bytes.length));
    const lastCluster = Math.floor((firstSector + sectors - 1) / CLUSTER_SECTORS);
    for (let number = Math.floor(firstSector / CLUSTER_SECTORS); number <= lastCluster; number++) {
      const cluster = this.#clusters.get(number);
      if (!cluster) continue;
      const offset = number * CLUSTER_BYTES - begin;
      bytes.set(
        cluster.subarray(Math.max(0, -offset), Math.min(CLUSTER_BYTES, bytes.length - offset)),
        Math.max(0, offset),
      );
    }
    return bytes;
  }

  write(firstSector: number, bytes: Uint8Array): void {
    let position = firstSector * SECTOR_BYTES;
    let rest = bytes;
    while (rest.length > 0) {
      const number = Math.floor(position / CLUSTER_BYTES);
      const offset = position - number * CLUSTER_BYTES;
      const part = rest.subarray(0, CLUSTER_BYTES - offset);
      this.#writableCluster(number).set(part, offset);
      position += part.length;
      rest = rest.subarray(part.length);
    }
  }

  saveState(): MemoryBlockState {
    this.#own.clear();
    return { clusters: [...this.#clusters].sort(([a], [b]) => a - b) };
  }

  restoreState(state: MemoryBlockState): void {
    this.#clusters = new Map(state.clusters);
    this.#own = new Set();
  }

  #writableCluster(number: number): Uint8Array {
    const current = this.#clusters.get(number);
    if (current && this.#own.has(number)) return current;
    const cluster = current?.slice() ?? new Uint8Array(CLUSTER_BYTES);
    if (!current) {
      const begin = number * CLUSTER_BYTES;
      cluster.set(this.#image.subarray(begin, begin + CLUSTER_BYTES));
    }
    this.#clusters.set(number, cluster);
    this.#own.add(number);
    return cluster;
  }
}
