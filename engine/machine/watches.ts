/** Data watches on host-physical ranges: their pages miss the fast TLB, so that nothing is lost elsewhere. */
import { PAGE_BYTES } from '../cpu/memory-map.ts';
import { Access } from '../mmu/access.ts';
import type { Mmu } from '../mmu/mmu.ts';

export interface PhysicalWatch {
  readonly address: number;
  readonly lengthBytes: number;
  readonly read: boolean;
  readonly write: boolean;
}

export class Watches {
  readonly #mmu: Mmu;
  #list: readonly PhysicalWatch[] = [];

  /** `hit` gets the first watched byte of the access. */
  constructor(mmu: Mmu, hit: (address: number, access: Access) => void) {
    this.#mmu = mmu;
    mmu.onWatchedAccess = (_linear, physical, lengthBytes, access) => {
      const wanted = access === Access.Write ? 'write' : 'read';
      const watch = this.#list.find(
        (w) => w[wanted] && physical < w.address + w.lengthBytes && physical + lengthBytes > w.address,
      );
      if (watch) hit(Math.max(physical, watch.address), access);
    };
  }

  set(watches: readonly PhysicalWatch[]): void {
    this.#mmu.clearWatches();
    this.#list = watches;
    for (const { address, lengthBytes, read, write } of watches) {
      for (let page = address - (address % PAGE_BYTES); page < address + lengthBytes; page += PAGE_BYTES) {
        if (read) this.#mmu.watchRead(page);
        if (write) this.#mmu.watchWrite(page);
      }
    }
  }
}
