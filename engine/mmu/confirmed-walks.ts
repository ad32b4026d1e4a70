/**
 * While translations are audited (machine/stale-translations.ts): walks of 4-level paging whose entries lie in pages that
 * are watched, by page and root. Whatever changes such an entry is told what page that concerns, so compiled code may keep
 * what it has found by the same entries.
 */

import {
  CONFIRMED_WALK_BYTES,
  CONFIRMED_WALKS,
  CONFIRMED_WALKS_ADDRESS,
  PAGE_BYTES,
  RAM_ADDRESS,
} from '../cpu/memory-map.ts';

/**
 * Of a walk: i64, linear address of the page, with a bit set if it was confirmed for fetches; u32 for each level, the
 * wasm address of its entry, 0 where the walk ended before.
 */
export const confirmedWalk = { page: 0, entries: 8 } as const;
export const CONFIRMED_FOR_FETCHES = 1;
const LEVELS = 4;

/** Spreads the roots, of which there are few, over the places of a page; the upper bits of the product are used. */
export const ROOT_FACTOR = 0x9e37_79b1;
export const ROOT_SHIFT = 32 - Math.log2(CONFIRMED_WALKS);

/** Where the walk of a page is kept if it is: a wasm address. */
function placeOf(page: number, root: number): number {
  const ofRoot = Math.imul((root % 2 ** 32) / PAGE_BYTES, ROOT_FACTOR) >>> ROOT_SHIFT;
  const ofPage = Math.floor(page / PAGE_BYTES) % CONFIRMED_WALKS;
  return CONFIRMED_WALKS_ADDRESS + ((ofRoot ^ ofPage) & (CONFIRMED_WALKS - 1)) * CONFIRMED_WALK_BYTES;
}

export class ConfirmedWalks {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;

  constructor(buffer: ArrayBufferLike) {
    this.#view = new DataView(buffer);
    this.#bytes = new Uint8Array(buffer, CONFIRMED_WALKS_ADDRESS, CONFIRMED_WALKS * CONFIRMED_WALK_BYTES);
  }

  /** `page` and `root` are addresses of pages, `entries` host-physical addresses in RAM, from the root on, four at most. */
  add(page: number, root: number, entries: readonly number[], isForFetches: boolean): void {
    const at = placeOf(page, root);
    const flag = isForFetches ? CONFIRMED_FOR_FETCHES : 0;
    this.#view.setBigInt64(at + confirmedWalk.page, BigInt(page) | BigInt(flag), true);
    for (let level = 0; level < LEVELS; level++) {
      const entry = entries[level];
      const address = entry === undefined ? 0 : RAM_ADDRESS + entry;
      this.#view.setUint32(at + confirmedWalk.entries + 4 * level, address, true);
    }
  }

  clear(): void {
    this.#bytes.fill(0);
  }
}
