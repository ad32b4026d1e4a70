/** The code that a vCPU is to execute next: where its RIP points, and the block that is decoded there. */

import { GP } from '../cpu/events.ts';
import { enabledExtensions } from '../cpu/extensions.ts';
import { PAGE_BYTES } from '../cpu/memory-map.ts';
import { codeSize, linearOfRip, stackSize } from '../cpu/modes.ts';
import { type CpuState, CS } from '../cpu/state.ts';
import { type LinearAddress, offsetInPage, plus } from '../isa/linear-address.ts';
import type { Mmu } from '../mmu/mmu.ts';
import { type Block, type CodeLocation, endOfFirst } from './block.ts';
import type { CodeCache } from './code-cache.ts';
import type { HotSpots } from './compiler/hot-spots.ts';
import { addToJumpCache } from './jump-cache.ts';
import type { RunBudget } from './run-budget.ts';
import type { Runtime } from './runtime.ts';

interface Parts {
  readonly state: CpuState;
  readonly mmu: Mmu;
  readonly cache: CodeCache;
  readonly runtime: Runtime;
  readonly budget: RunBudget;
  readonly hotSpots: HotSpots;
}

export class BlockFetcher {
  readonly #state: CpuState;
  readonly #mmu: Mmu;
  readonly #cache: CodeCache;
  readonly #runtime: Runtime;
  readonly #budget: RunBudget;
  readonly #hotSpots: HotSpots;
  /** The block that was fetched last was cut to the rest of the slice: what follows it begins where no code leads to. */
  wasCut = false;

  constructor(parts: Parts) {
    this.#state = parts.state;
    this.#mmu = parts.mmu;
    this.#cache = parts.cache;
    this.#runtime = parts.runtime;
    this.#budget = parts.budget;
    this.#hotSpots = parts.hotSpots;
  }

  /** The block at RIP; cut to `limit` instructions or to the budget. Throws the fetch's event. */
  block(wanted: number | undefined): Block {
    const location = this.locate();
    const { codeSize: size, pageOffset, rip } = location;
    const end = size === 64 ? Number.POSITIVE_INFINITY : this.#state.segment(CS).limit;
    const nextRip = plus(rip, PAGE_BYTES - pageOffset);
    // Where the segment ends in the page, each instruction has to be held against the limit; and against the tables where
    // the fetch is by a mapping that they contradict.
    const limit = nextRip > end + 1 || this.#mmu.isStale ? 1 : wanted;
    const nextPage = (): number => {
      if (nextRip > end) throw GP(0);
      return this.#translate(nextRip);
    };
    let block = this.#cache.find(location, nextPage, limit);
    if (endOfFirst(block) > end + 1) throw GP(0);
    const left = this.#budget.left;
    if (limit === undefined && !this.wasCut) this.#hotSpots.met(block, this.#budget.sinceAsked());
    this.wasCut = block.count > left;
    if (this.wasCut) block = this.#cache.find(location, nextPage, left);
    else if (limit === undefined) this.#link(block);
    const state = this.#state;
    state.linkSite = 0;
    state.pageBase = plus(rip, -pageOffset);
    // Decoding may have dropped blocks to make room; that alone is no reason to leave compiled code.
    this.#runtime.stopRequested = this.#runtime.isUnsettled();
    return block;
  }

  /** Where RIP points. Throws the fetch's event. */
  locate(): CodeLocation {
    const state = this.#state;
    const { rip } = state;
    const size = codeSize(state);
    if (size !== 64 && rip > state.segment(CS).limit) throw GP(0);
    const linear = linearOfRip(state);
    const physical = this.#mmu.translateFetch(linear);
    const pageOffset = offsetInPage(linear);
    const extensions = enabledExtensions(state);
    return { physical, linear, rip, pageOffset, codeSize: size, stackSize: stackSize(state), extensions };
  }

  /** Host-physical address of a RIP-space address, for a fetch. */
  #translate(rip: LinearAddress): number {
    return this.#mmu.translateFetch(linearOfRip(this.#state, rip));
  }

  /** Lets the next transfer find the block without the run loop: through the asking link, and the jump cache. */
  #link(block: Block): void {
    const { view, linkSite, rip, jumpKey } = this.#state;
    if (linkSite && block.count > 0 && block.pages.length === 1) view.setUint32(linkSite, block.record, true);
    if (block.count > 0) addToJumpCache(view, rip, jumpKey, block.record);
  }
}
