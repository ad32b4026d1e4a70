/** The compiled regions: which blocks they hold, which of these enter them, and when they may run. */

import { REGION_KEYS_ADDRESS } from '../../cpu/memory-map.ts';
import { type CpuState, CS, DS, ES, SS } from '../../cpu/state.ts';
import { segmentAddress, segmentLayout } from '../../cpu/state-layout.ts';
import { type LinearAddress, low32, offsetInPage, pageOf } from '../../isa/linear-address.ts';
import type { Mmu } from '../../mmu/mmu.ts';
import { type Block, endOf, linearAt } from '../block.ts';
import type { CodeCache } from '../code-cache.ts';
import type { HandlerLibrary } from '../handler-library.ts';
import { FLAT_LIMIT, isCompilable, type Region, regionFrom } from './region.ts';
import { RegionBatch } from './region-batch.ts';
import { type CompiledRegion, compileRegions, exportOf } from './region-emitter.ts';

/** With so many regions, each new one takes the place of the oldest: if that is hot, it comes back soon. */
const MAX_REGIONS = 512;

/** Regions that were emitted. */
type Prepared = ReturnType<typeof compileRegions>;

interface Compiled {
  readonly region: Region;
  readonly slot: number;
  readonly loopHeaders: ReadonlySet<Block>;
}

export interface RegionOptions {
  /** MAX_REGIONS if not given. */
  readonly maxRegions?: number;
}

export class Regions {
  readonly #maxRegions: number;
  readonly #state: CpuState;
  readonly #mmu: Mmu;
  readonly #cache: CodeCache;
  readonly #library: HandlerLibrary;
  readonly #members = new Map<Block, Set<Compiled>>();
  readonly #entered = new Map<Block, Compiled>();
  readonly #all = new Set<Compiled>();
  readonly #batch = new RegionBatch<Prepared>({
    prepare: (starts) => this.#prepare(starts),
    install: (prepared, module) => this.#install(prepared, module),
  });
  /** Regions compiled since the machine was made. */
  compiledSoFar = 0;

  constructor(
    parts: { state: CpuState; mmu: Mmu; cache: CodeCache; library: HandlerLibrary },
    { maxRegions = MAX_REGIONS }: RegionOptions = {},
  ) {
    this.#maxRegions = maxRegions;
    this.#state = parts.state;
    this.#mmu = parts.mmu;
    this.#cache = parts.cache;
    this.#library = parts.library;
    parts.cache.onForget = (block) => this.#forget(block);
  }

  /** How many there are. */
  get count(): number {
    return this.#all.size;
  }
  isMember(block: Block): boolean {
    return this.#members.has(block);
  }
  /** Whether some region has a loop that begins with the block. */
  isLoopHeader(block: Block): boolean {
    for (const { loopHeaders } of this.#members.get(block) ?? []) if (loopHeaders.has(block)) return true;
    return false;
  }
  isEntry(block: Block): boolean {
    return this.#entered.has(block);
  }

  /** Compiles the region that starts with the block, and leads to it whatever leads to one of its entries. */
  compile(start: Block): void {
    this.#batch.delete(start);
    const prepared = this.#prepare([start]);
    if (prepared) this.#install(prepared, new WebAssembly.Module(prepared.module));
  }
  /** The same, when there is time; at once if that was asked for before, and has not come to be. */
  compileSoon(start: Block): void {
    if (this.#batch.has(start)) this.compile(start);
    else this.#batch.add(start);
  }
  /** Where a run begins: puts to use what was compiled since the last. */
  runBegins(): void {
    this.#batch.install();
  }
  /** Where a run ends: has compiled what can be until the next. */
  runEnds(): void {
    this.#batch.compile();
  }

  /** Emits the regions that start with blocks, as far as there are such. */
  #prepare(starts: readonly Block[]): Prepared | undefined {
    const wanted = starts.filter((start) => isCompilable(start) && start.valid && !this.isEntry(start));
    if (wanted.length === 0) return undefined;
    const flat = this.#flatSegments();
    return compileRegions(
      wanted.map((start) => ({
        region: regionFrom(start, (from, rip) => this.#find(from, rip), flat),
        slot: this.#library.reserveSlot(),
      })),
    );
  }

  /** Meanwhile blocks may have gone, and others may have come to lead into a region. */
  #install({ compiled }: Prepared, module: WebAssembly.Module): void {
    const functions = this.#library.linkRegions(module);
    for (const one of compiled) {
      const { nodes } = one.region;
      const isWanted = nodes.every(({ block }) => block.valid) && !this.isEntry(nodes[0]?.block as Block);
      if (isWanted) this.#add(one, functions[exportOf(one.slot)]);
      else this.#library.freeRegion(one.slot);
    }
  }

  #add({ region, slot, entries, loopHeaders }: CompiledRegion, run: unknown): void {
    const [oldest] = this.#all;
    if (oldest && this.#all.size >= this.#maxRegions) this.#drop(oldest);
    this.#library.installRegion(slot, run);
    this.#state.view.setUint32(REGION_KEYS_ADDRESS + 4 * slot, 0, true);
    const blockAt = (index: number) => region.nodes[index]?.block as Block;
    const compiled = { region, slot, loopHeaders: new Set(loopHeaders.map(blockAt)) };
    this.#all.add(compiled);
    this.compiledSoFar++;
    for (const { block } of region.nodes) {
      const regions = this.#members.get(block);
      if (regions) regions.add(compiled);
      else this.#members.set(block, new Set([compiled]));
    }
    this.#enterBy(compiled, entries.map(blockAt));
  }

  /** Has blocks enter the region by their place among its entries. A region that nothing enters any more goes. */
  #enterBy(compiled: Compiled, entries: readonly Block[]): void {
    const before = new Set(entries.map((block) => this.#entered.get(block)));
    for (const [number, block] of entries.entries()) {
      this.#entered.set(block, compiled);
      this.#cache.setEntry(block, compiled.slot, number);
    }
    const entered = new Set(this.#entered.values());
    for (const old of before) if (old && !entered.has(old)) this.#drop(old);
  }

  /**
   * Whether the region that a block enters may run now: instruction fetches from all its pages are answered by the TLB
   * as when it was compiled, and neither they nor targets of branches are beyond the limit of CS. If so, that holds until
   * the key of the jump cache changes.
   */
  mayEnter(block: Block): boolean {
    const compiled = this.#entered.get(block);
    if (!compiled || !this.#holds(compiled.region)) return false;
    this.#state.view.setUint32(REGION_KEYS_ADDRESS + 4 * compiled.slot, this.#state.jumpKey, true);
    return true;
  }

  #holds({ pages, codeSize, nodes }: Region): boolean {
    if (pages.some(({ linear, physical }) => this.#mmu.servedFetch(linear) !== physical)) return false;
    if (codeSize === 64) return true;
    const { limit } = this.#state.segment(CS);
    return nodes.every(({ block, end: { taken = 0 } }) => endOf(block.instructions) <= limit + 1 && taken <= limit);
  }

  /** The block at an RIP that code of a block leads to, if it is decoded and fetching it changes nothing. */
  #find(from: Block, rip: LinearAddress): Block | undefined {
    const { linear: fromLinear, physical: fromPhysical, pageOffset, codeSize } = from.location;
    const linear = codeSize === 64 ? rip : low32(linearAt(from.location, rip));
    const offset = offsetInPage(linear);
    const isSamePage = pageOf(linear) === pageOf(fromLinear);
    const page = isSamePage ? fromPhysical - pageOffset : this.#mmu.servedFetch(pageOf(linear));
    if (page < 0) return undefined;
    return this.#cache.peek({ ...from.location, physical: page + offset, linear, rip, pageOffset: offset });
  }

  #flatSegments(): Set<number> {
    const { view } = this.#state;
    return new Set(
      [ES, SS, DS].filter((index) => {
        const at = segmentAddress(index);
        const limits = [segmentLayout.fastReadLimit, segmentLayout.fastWriteLimit];
        const isWhole = limits.every((limit) => view.getBigInt64(at + limit, true) === FLAT_LIMIT);
        return isWhole && view.getBigInt64(at + segmentLayout.base, true) === 0n;
      }),
    );
  }

  #forget(block: Block): void {
    for (const compiled of this.#members.get(block) ?? []) this.#drop(compiled);
  }

  #drop(compiled: Compiled): void {
    this.#all.delete(compiled);
    for (const { block } of compiled.region.nodes) {
      block.heat = 0;
      const regions = this.#members.get(block);
      regions?.delete(compiled);
      if (regions?.size === 0) this.#members.delete(block);
      if (this.#entered.get(block) !== compiled) continue;
      this.#entered.delete(block);
      this.#cache.clearEntry(block);
    }
    this.#library.freeRegion(compiled.slot);
  }
}
