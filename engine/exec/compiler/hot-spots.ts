/**
 * Finds what is worth compiling. Blocks that the run loop keeps meeting are hot: it meets them where slices end, which
 * is a sample of where time goes. Before one is compiled, the run loop goes block by block for a while, to see where indirect
 * transfers lead.
 */
import type { Block } from '../block.ts';
import { endOfBlock } from './region.ts';
import type { Regions } from './regions.ts';

export interface HotSpotOptions {
  /** Meetings after which a block is hot; Infinity: nothing is compiled. */
  readonly hotAfter: number;
  /** Blocks without news that are watched before a hot one is compiled. */
  readonly watchedBlocks: number;
}

export const DEFAULT_HOT_SPOTS: HotSpotOptions = { hotAfter: 3, watchedBlocks: 24 };

/** Blocks that are watched at most, in multiples of those without news. */
const PATIENCE = 20;

/** A block inside of a region is entered by interpretation; that is worth a region of its own only if it is often. */
const MEMBER_FACTOR = 4;
/** An indirect transfer with more targets is not followed any further. */
const MAX_TARGETS = 24;

export class HotSpots {
  readonly #regions: Regions;
  readonly #options: HotSpotOptions;
  #hot: Block | undefined;
  /** Blocks that may still be watched, and how many of them have nothing new. */
  #left = 0;
  #quiet = 0;
  #seen = new Set<Block>();
  #before: Block | undefined;

  constructor(regions: Regions, options: HotSpotOptions) {
    this.#regions = regions;
    this.#options = options;
  }

  /** Whether the run loop is to go block by block. */
  get isWatching(): boolean {
    return this.#hot !== undefined;
  }

  /** The run loop has met the block. */
  met(block: Block): void {
    if (this.#hot) return;
    const { hotAfter, watchedBlocks } = this.#options;
    if (++block.heat < hotAfter || this.#regions.isEntry(block)) return;
    if (block.heat < hotAfter * MEMBER_FACTOR && this.#regions.isMember(block)) return;
    block.heat = 0;
    this.#hot = block;
    this.#left = watchedBlocks * PATIENCE;
    this.#quiet = 0;
    this.#seen = new Set();
    this.#before = undefined;
  }

  /** The block is going to run next, while the run loop is watching. */
  watch(block: Block): void {
    this.#quiet = this.#isNew(block) ? 0 : this.#quiet + 1;
    this.#before = block;
    this.#left--;
    if (this.#left > 0 && this.#quiet < this.#options.watchedBlocks) return;
    const hot = this.#hot as Block;
    this.#hot = undefined;
    this.#regions.compile(hot);
  }

  /** Notes where the block before leads; false if nothing was learnt. */
  #isNew(block: Block): boolean {
    const { rip } = block.location;
    const before = this.#before;
    let isNew = !this.#seen.has(block);
    this.#seen.add(block);
    if (
      before &&
      !before.targets.has(rip) &&
      before.targets.size < MAX_TARGETS &&
      endOfBlock(before).kind === 'indirect'
    ) {
      before.targets.add(rip);
      isNew = true;
    }
    return isNew;
  }

  /** Something else than the last block's transfer leads to the next block. */
  interrupted(): void {
    this.#before = undefined;
  }
}
