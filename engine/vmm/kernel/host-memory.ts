/** The hypervisor's own part of host-physical memory, below the guest's: pages given out from the bottom up. */
import { PAGE_BYTES } from '../../cpu/memory-map.ts';
import type { PhysicalMemory } from '../../mmu/physical-memory.ts';

/** Guest-physical address 0 lies here; what is below belongs to the hypervisor. A multiple of 2 MiB. */
export const GUEST_BASE = 0x100_0000;
/** The first page stays unused, so that a null pointer leads nowhere. */
const FIRST_PAGE = PAGE_BYTES;

export class HostMemory {
  readonly physical: PhysicalMemory;
  #next = FIRST_PAGE;

  constructor(physical: PhysicalMemory) {
    this.physical = physical;
  }

  /** Host-physical address of zeroed pages in a row. */
  allocate(pages = 1): number {
    const address = this.#next;
    this.#next += pages * PAGE_BYTES;
    if (this.#next > GUEST_BASE) {
      throw new Error(`internal: the hypervisor needs more than its ${GUEST_BASE / 2 ** 20} MiB of host memory`);
    }
    this.clear(address, pages);
    return address;
  }
  /** Zeroes pages. */
  clear(address: number, pages = 1): void {
    this.physical.poke(address, new Uint8Array(pages * PAGE_BYTES));
  }

  /** Where the next page will lie; a snapshot keeps it, the pages themselves are memory. */
  get next(): number {
    return this.#next;
  }
  set next(address: number) {
    this.#next = address;
  }

  write64(address: number, value: bigint): void {
    this.physical.writeU64(address, value);
  }
  write32(address: number, value: number): void {
    this.physical.writeU32(address, value);
  }
}
