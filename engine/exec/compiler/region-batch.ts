/**
 * Regions that are worth compiling but not at once: warm code, whose interpretation costs less than a pause would. They
 * become one module, which the host compiles beside the guest; where a run goes on after that, they are installed.
 */
import type { Block } from '../block.ts';

/** So many are compiled without waiting for the end of the run. */
const FULL_BATCH = 16;

/** A module that is being compiled, or has been, and what is in it. */
interface Compiling<Prepared> {
  readonly prepared: Prepared;
  module: WebAssembly.Module | undefined;
  failure: unknown;
}

/** What makes modules of regions: `prepare` emits those that start with blocks, `install` puts them to use. */
export interface RegionMaker<Prepared extends { readonly module: Uint8Array }> {
  prepare(starts: readonly Block[]): Prepared | undefined;
  install(prepared: Prepared, module: WebAssembly.Module): void;
}

export class RegionBatch<Prepared extends { readonly module: Uint8Array }> {
  readonly #maker: RegionMaker<Prepared>;
  readonly #starts = new Set<Block>();
  #compiling: Compiling<Prepared> | undefined;

  constructor(maker: RegionMaker<Prepared>) {
    this.#maker = maker;
  }

  /** Whether the region that starts with the block waits to be compiled. */
  has(start: Block): boolean {
    return this.#starts.has(start);
  }

  /** Compiles the region with the next batch. */
  add(start: Block): void {
    this.#starts.add(start);
    if (this.#starts.size < FULL_BATCH) return;
    const prepared = this.#take();
    if (prepared) this.#maker.install(prepared, new WebAssembly.Module(prepared.module));
  }
  /** The region is not wanted any more, or is compiled by itself. */
  delete(start: Block): void {
    this.#starts.delete(start);
  }

  /** Has the host compile what there is, beside whatever comes next. To be called where a run ends. */
  compile(): void {
    if (this.#compiling || this.#starts.size === 0) return;
    const prepared = this.#take();
    if (!prepared) return;
    const compiling: Compiling<Prepared> = { prepared, module: undefined, failure: undefined };
    this.#compiling = compiling;
    WebAssembly.compile(prepared.module).then(
      (module) => {
        compiling.module = module;
      },
      (failure: unknown) => {
        compiling.failure = failure;
      },
    );
  }

  /** Installs what the host has compiled by now. To be called where a run begins. */
  install(): void {
    const compiling = this.#compiling;
    if (!compiling) return;
    const { module, failure, prepared } = compiling;
    if (failure !== undefined) throw new Error('internal: a module of regions is not valid', { cause: failure });
    if (!module) return;
    this.#compiling = undefined;
    this.#maker.install(prepared, module);
  }

  #take(): Prepared | undefined {
    const starts = [...this.#starts];
    this.#starts.clear();
    return this.#maker.prepare(starts);
  }
}
