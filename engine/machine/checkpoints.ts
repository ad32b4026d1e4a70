/**
 * States that were kept, in the order of time. Of memory, each keeps the pages that were written since the one before; so
 * the page of a state is the latest copy up to it, or zeros if there is none.
 */
import { PAGE_BYTES } from '../cpu/memory-map.ts';
import type { PhysicalMemory } from '../mmu/physical-memory.ts';

/** Checkpoints beyond this many, or this much memory, make room: the further back, the fewer stay. */
const MAX_CHECKPOINTS = 200;
const MAX_BYTES = 768 * 2 ** 20;

export interface Checkpoint<S> {
  /** Units of the run before it; see machine/history.ts. */
  readonly units: number;
  /** Everything but memory. */
  readonly rest: S;
  /** By page number. */
  readonly pages: Map<number, Uint8Array>;
}

export class Checkpoints<S> {
  readonly #physical: PhysicalMemory;
  readonly #list: Checkpoint<S>[] = [];
  /** The checkpoint since which `dirtyPages` tells what was written. */
  #base: Checkpoint<S> | undefined;
  #pages = 0;

  constructor(physical: PhysicalMemory) {
    this.#physical = physical;
  }

  get all(): readonly Checkpoint<S>[] {
    return this.#list;
  }
  /** The last one at or before a time. */
  before(units: number): Checkpoint<S> | undefined {
    return this.#list[this.#countUpTo(units) - 1];
  }

  /** Keeps memory as it is now, under a time at which nothing is kept yet; the caller has writes mark pages dirty anew. */
  add(units: number, rest: S): void {
    const pages = new Map(this.#dirty().map((page) => [page, this.#copy(page)]));
    const checkpoint = { units, rest, pages };
    this.#list.splice(this.#countUpTo(units), 0, checkpoint);
    this.#pages += pages.size;
    this.#setBase(checkpoint);
    while (this.#list.length > MAX_CHECKPOINTS || this.#pages * PAGE_BYTES > MAX_BYTES) {
      if (!this.#thinOut()) break;
    }
  }

  #countUpTo(units: number): number {
    return this.#list.filter((checkpoint) => checkpoint.units <= units).length;
  }

  /** Puts memory back as it was. */
  restoreMemory(target: Checkpoint<S>): void {
    const at = this.#list.indexOf(target);
    for (const page of this.#changed(at)) this.#put(page, this.#contents(page, at));
    this.#setBase(target);
  }

  /** Forgets what lies behind a time: the future is going to be another one. */
  dropAfter(units: number): void {
    while ((this.#list.at(-1)?.units ?? 0) > units) {
      const { pages } = this.#list.pop() as Checkpoint<S>;
      this.#pages -= pages.size;
    }
  }

  #setBase(checkpoint: Checkpoint<S>): void {
    this.#base = checkpoint;
    this.#physical.dirtyPages.fill(0);
  }

  /** Pages that may differ between now and a checkpoint. */
  #changed(target: number): Set<number> {
    const base = this.#base ? this.#list.indexOf(this.#base) : -1;
    const [first, last] = base < target ? [base, target] : [target, base];
    const changed = new Set(this.#dirty());
    for (const { pages } of this.#list.slice(first + 1, last + 1)) for (const page of pages.keys()) changed.add(page);
    return changed;
  }

  #contents(page: number, at: number): Uint8Array {
    for (let index = at; index >= 0; index--) {
      const bytes = this.#list[index]?.pages.get(page);
      if (bytes) return bytes;
    }
    return new Uint8Array(PAGE_BYTES);
  }

  #dirty(): number[] {
    const { dirtyPages } = this.#physical;
    const pages: number[] = [];
    for (let page = dirtyPages.indexOf(1); page >= 0; page = dirtyPages.indexOf(1, page + 1)) pages.push(page);
    return pages;
  }

  #bytesOf(page: number): Uint8Array {
    const { bytes } = this.#physical;
    return bytes.subarray(page * PAGE_BYTES, Math.min((page + 1) * PAGE_BYTES, bytes.length));
  }
  #copy(page: number): Uint8Array {
    return this.#bytesOf(page).slice();
  }
  /** Code in a page that is the same as before stays decoded. */
  #put(page: number, contents: Uint8Array): void {
    const current = this.#bytesOf(page);
    const same = current.every((byte, offset) => byte === contents[offset]);
    if (!same) this.#physical.poke(page * PAGE_BYTES, contents.subarray(0, current.length));
  }

  /** Merges the checkpoint that leaves the smallest gap for its age into the one behind it. */
  #thinOut(): boolean {
    const end = this.#list.at(-1)?.units ?? 0;
    let best = -1;
    let smallest = Number.POSITIVE_INFINITY;
    for (let index = 1; index < this.#list.length - 1; index++) {
      const [before, after] = [this.#list[index - 1]?.units ?? 0, this.#list[index + 1]?.units ?? 0];
      const gap = (after - before) / (end - before + 1);
      if (gap < smallest && this.#list[index] !== this.#base) [best, smallest] = [index, gap];
    }
    if (best < 0) return false;
    const [gone] = this.#list.splice(best, 1);
    const heir = this.#list[best]?.pages as Map<number, Uint8Array>;
    for (const [page, bytes] of gone?.pages ?? []) {
      if (heir.has(page)) this.#pages--;
      else heir.set(page, bytes);
    }
    return true;
  }
}
