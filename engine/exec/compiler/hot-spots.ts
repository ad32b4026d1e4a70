/**
 * Finds what is worth compiling. The run loop takes samples of where time goes: blocks that it meets after a stretch of
 * instructions. Those that it keeps meeting so are hot. Before one is compiled, the run loop goes block by block for a while, to see where indirect
 * transfers lead.
 */
import type { Block } from '../block.ts';
import { endOfBlock, isCompilable } from './region.ts';
import type { RegionOptions, Regions } from './regions.ts';

export interface HotSpotOptions extends RegionOptions {
  /** Meetings after which a block is hot; Infinity: nothing is compiled. */
  readonly hotAfter: number;
  /** Instructions between two samples, at least (0 if not given): what follows a port access is met each time, but need not be hot. */
  readonly sampleEvery?: number;
  /** Blocks without news that are watched before a hot one is compiled. */
  readonly watchedBlocks: number;
  /** Samples within which a block must have become hot: else it is only warm, and compiled later. All are hot if not given. */
  readonly warmAfter?: number;
}

export const DEFAULT_HOT_SPOTS: HotSpotOptions = {
  hotAfter: 3,
  sampleEvery: 10_000,
  watchedBlocks: 24,
  warmAfter: 100,
};

/** Instructions after which interpreted code comes back to the run loop, to which are added a step so many times in turn. */
const STRETCH = { shortest: 30_000, step: 19, steps: 53 };

/** Blocks that are watched at most, in multiples of those without news. */
const PATIENCE = 20;

/** A block that was watched and did not become an entry has to be met so many times more often to be watched again. */
const COOLING = 32;
/** An indirect transfer with more targets is not followed any further. */
const MAX_TARGETS = 24;

/** What is asked of the regions. */
type KnownRegions = Pick<Regions, 'isEntry' | 'isMember' | 'isLoopHeader' | 'compile' | 'compileSoon'>;

export class HotSpots {
  readonly #regions: KnownRegions;
  readonly #options: HotSpotOptions;
  #hot: Block | undefined;
  /** Whether it is only warm. */
  #isWarm = false;
  /** Blocks that may still be watched, and how many of them have nothing new. */
  #left = 0;
  #quiet = 0;
  /** How often control came from below, by block. */
  #seen = new Map<Block, number>();
  #before: Block | undefined;
  /** Instructions since the last sample. */
  #sinceSample = 0;
  #stretches = 0;
  /** Samples taken. */
  #samples = 0;

  constructor(regions: KnownRegions, options: HotSpotOptions) {
    this.#regions = regions;
    this.#options = options;
  }

  /** Whether the run loop is to go block by block. */
  get isWatching(): boolean {
    return this.#hot !== undefined;
  }

  /** How long code may be interpreted now until a sample. Always the same, it would find the same block of a loop again and again. */
  nextStretch(): number {
    this.#stretches = (this.#stretches + 1) % STRETCH.steps;
    return STRETCH.shortest + STRETCH.step * this.#stretches;
  }

  /** The run loop has met the block, and executed so many instructions since it met one before. */
  met(block: Block, executed: number): void {
    this.#sinceSample += executed;
    const { hotAfter, sampleEvery = 0, watchedBlocks, warmAfter = Number.POSITIVE_INFINITY } = this.#options;
    if (this.#hot || this.#sinceSample < sampleEvery) return;
    this.#sinceSample = 0;
    this.#samples++;
    if (block.heat === 0) block.heatedSince = this.#samples;
    if (++block.heat < hotAfter || this.#regions.isEntry(block) || !isCompilable(block)) return;
    // Where a slice ends inside of a region, interpretation soon leads to an entry: unless it is in an inner loop.
    if (this.#regions.isMember(block) && !this.#regions.isLoopHeader(block)) return;
    this.#hot = block;
    this.#isWarm = this.#samples - block.heatedSince > warmAfter;
    this.#left = watchedBlocks * PATIENCE;
    this.#quiet = 0;
    this.#seen = new Map();
    this.#before = undefined;
  }

  /** The block is going to run next, while the run loop is watching. */
  watch(block: Block): void {
    this.#quiet = this.#isNew(block) ? 0 : this.#quiet + 1;
    this.#before = block;
    this.#left--;
    if (this.#left > 0 && this.#quiet < this.#options.watchedBlocks) return;
    const start = this.#start();
    const hot = this.#hot as Block;
    this.#hot = undefined;
    hot.heat = this.#isWarm ? 0 : -COOLING * this.#options.hotAfter;
    if (this.#isWarm) this.#regions.compileSoon(start);
    else this.#regions.compile(start);
  }

  /** The head of the loop that goes round most often, so that all samples of a loop lead to one region; or the hot block. */
  #start(): Block {
    const hot = this.#hot as Block;
    if (this.#regions.isMember(hot)) return hot;
    let [best, most] = [hot, 0];
    for (const [block, times] of this.#seen) if (times > most) [best, most] = [block, times];
    return this.#regions.isEntry(best) ? hot : best;
  }

  /** Notes where the block before leads; false if nothing was learnt. */
  #isNew(block: Block): boolean {
    const { rip } = block.location;
    const before = this.#before;
    const times = this.#seen.get(block);
    let isNew = times === undefined;
    const isBack = before !== undefined && rip <= before.location.rip;
    this.#seen.set(block, (times ?? 0) + (isBack ? 1 : 0));
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
