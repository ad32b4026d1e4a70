/**
 * Emits a region as one WebAssembly function: (record) → Exit. Control flow inside is structured where it can be, and
 * goes through the dispatcher, a br_table, where it cannot: at entries, returns and indirect jumps. State is in locals
 * and spilled on the way out; each edge takes the budget of the block it leads to, so every stop is exact.
 */

import { REGION_KEYS_ADDRESS } from '../../cpu/memory-map.ts';
import { fieldAddress, segmentAddress, segmentLayout } from '../../cpu/state-layout.ts';
import type { LinearAddress } from '../../isa/linear-address.ts';
import { I32, I64, memoryOp, op } from '../../wasm/encoder.ts';
import { Exit } from '../exits.ts';
import { emitJumpCacheEntry, jumpCacheEntry } from '../jump-cache.ts';
import { DefinedFunctionList } from '../module-parts.ts';
import { record } from '../record.ts';
import { callRuntime } from '../runtime-functions.ts';
import { SharedType } from '../shared-functions.ts';
import { BlockEmitter, type Step, stepsOf } from './block-emitter.ts';
import { ControlFlow } from './control-flow.ts';
import type { FlagLiveness } from './flag-liveness.ts';
import { CARRIED, type FlagState } from './flag-state.ts';
import { FLAT_LIMIT, type Region, type RegionNode } from './region.ts';

const REC = 0;

/** A region, and the table index that it is going to have. */
export interface RegionOfSlot {
  readonly region: Region;
  readonly slot: number;
}

export interface CompiledRegion extends RegionOfSlot {
  /** Indices of the nodes that can be entered, in the order of the numbers that records carry. */
  readonly entries: readonly number[];
  /** Indices of the nodes that begin a loop. */
  readonly loopHeaders: readonly number[];
}

/** The name by which a module exports the region of a slot, a function with a handler's signature. */
export const exportOf = (slot: number): string => `r${slot}`;

/** Emits regions as one module. */
export function compileRegions(regions: readonly RegionOfSlot[]): {
  readonly module: Uint8Array;
  readonly compiled: readonly CompiledRegion[];
} {
  const parts = new DefinedFunctionList({ withDispatcher: false });
  const compiled = regions.map(({ region, slot }) => {
    const emitter = new RegionEmitter(region, slot, parts);
    parts.add({ type: SharedType.handler, body: emitter.run(), export: exportOf(slot) });
    return { region, slot, entries: emitter.entries, loopHeaders: emitter.loopHeaders };
  });
  return { module: parts.encode(), compiled };
}

class RegionEmitter extends BlockEmitter {
  readonly #region: Region;
  readonly #slot: number;
  readonly #flow: ControlFlow;
  readonly #steps: readonly Step[][];
  readonly #liveness: readonly FlagLiveness[];
  /** Number of the entry that the dispatcher goes to. */
  readonly #next = this.body.local(I32);
  readonly #labels = new Map<number, number>();
  readonly #loops = new Map<number, number>();
  #dispatcher = 0;

  constructor(region: Region, slot: number, parts: DefinedFunctionList) {
    super(region.flat);
    this.#region = region;
    this.#slot = slot;
    this.#steps = region.nodes.map(({ block }) => stepsOf(block));
    this.prepare(this.#steps.flat(), parts);
    this.#liveness = this.#steps.map((steps) => this.flagLiveness(steps));
    this.#flow = new ControlFlow({
      successors: region.nodes.map((node) => this.#directSuccessors(node)),
      entries: region.entries,
    });
  }

  get entries(): readonly number[] {
    return this.#flow.entries;
  }

  get loopHeaders(): number[] {
    return [...this.#region.nodes.keys()].filter((node) => this.#flow.isLoopHeader(node));
  }

  #directSuccessors({ end, block }: RegionNode): number[] {
    const rips = end.kind === 'branch' ? [end.taken, end.next] : end.kind === 'jump' ? [end.taken] : [];
    if (end.kind === 'fall-through') rips.push(end.next);
    if (end.kind === 'indirect' && block.targets.size === 1) rips.push(...block.targets);
    return rips.flatMap((rip) => this.#region.indexOf.get(rip as LinearAddress) ?? []);
  }

  run(): Uint8Array {
    const { body } = this;
    body.loop();
    this.#dispatcher = body.label;
    this.#placeMerges(this.#flow.mergesBelow(undefined), () => {
      body.get(this.#next).branchTable(this.entries.map((node) => this.#labels.get(node) as number));
    });
    body.end().emit(op.unreachable);
    body.prepend(() => this.#prologue());
    return body.bytes();
  }

  #prologue(): void {
    const { body } = this;
    if (this.#region.pages.length > 1 || this.#region.codeSize !== 64) this.#checkTranslations();
    if (this.flatUsed.size > 0) this.#checkFlatness();
    body.get(REC).memory(memoryOp.i32Load, record.entry).set(this.#next);
    this.emitLoadState();
  }

  /** Entering vouches for the page entered; the others may have been mapped elsewhere since. */
  #checkTranslations(): void {
    const { body } = this;
    body.i32(REGION_KEYS_ADDRESS + 4 * this.#slot).memory(memoryOp.i32Load);
    body.i32(fieldAddress.jumpKey).memory(memoryOp.i32Load).emit(op.i32Ne).if();
    callRuntime(body.get(REC), 'enterRegion').emit(op.i32Eqz).if();
    this.#refuse();
    body.end().end();
  }

  /** Segments are loaded by instructions outside of regions, so those that are flat at first stay flat. */
  #checkFlatness(): void {
    const { body } = this;
    for (const [position, segment] of [...this.flatUsed].entries()) {
      const at = segmentAddress(segment);
      body.i32(at).memory(memoryOp.i64Load, segmentLayout.base);
      for (const limit of [segmentLayout.fastReadLimit, segmentLayout.fastWriteLimit]) {
        body.i32(at).memory(memoryOp.i64Load, limit).i64(FLAT_LIMIT).emit(op.i64Xor, op.i64Or);
      }
      if (position > 0) body.emit(op.i64Or);
    }
    body.i64(0n).emit(op.i64Ne).if();
    this.#refuse();
    body.end();
  }

  /** Has the block interpreted that was to enter the region. */
  #refuse(): void {
    this.body.i32(fieldAddress.exitRecord).get(REC).memory(memoryOp.i32Store);
    this.body.i32(Exit.Resume).emit(op.return);
  }

  // ---- structure ---------------------------------------------------------------------------------------------------

  /** Code that may branch to the merges, then these in their order. */
  #placeMerges(merges: readonly number[], emitBefore: () => void): void {
    const { body } = this;
    for (const node of [...merges].reverse()) {
      body.block();
      this.#labels.set(node, body.label);
    }
    emitBefore();
    for (const node of merges) {
      body.end();
      this.#placeNode(node, CARRIED);
    }
  }

  /** A block with all that it dominates; every path through it ends in a branch. */
  #placeNode(node: number, flags: FlagState): void {
    const { body } = this;
    const isLoop = this.#flow.isLoopHeader(node);
    if (isLoop) {
      body.loop();
      this.#loops.set(node, body.label);
    }
    this.#placeMerges(this.#flow.mergesBelow(node), () => this.#emitNode(node, flags));
    if (isLoop) body.end();
  }

  #emitNode(index: number, flags: FlagState): void {
    const { body, inherited } = this;
    const { block, end } = this.#region.nodes[index] as RegionNode;
    const steps = this.#steps[index] as Step[];
    this.flags = flags;
    const { condition, target } = this.emitSteps(block, steps, this.#liveness[index] as FlagLiveness);
    const made = this.flagLocals().filter((local) => !inherited.has(local));
    this.inherited = new Set([...inherited, ...made]);
    if (end.kind === 'system') this.leaveToInterpreter(steps[block.count - 1] as Step);
    else if (end.kind === 'indirect') this.#emitIndirect(index, target as number);
    else {
      if (condition !== undefined) {
        const before = this.flags;
        body.get(condition).if();
        this.#emitEdge(index, end.taken as number);
        body.end();
        this.flags = before;
      }
      this.#emitEdge(index, end.kind === 'jump' ? (end.taken as number) : end.next);
    }
    this.inherited = inherited;
    for (const local of made) body.release(body.typeOf(local), local);
    if (condition !== undefined) body.release(I32, condition);
    if (target !== undefined) body.release(I64, target);
  }

  // ---- edges -------------------------------------------------------------------------------------------------------

  #emitEdge(from: number, rip: LinearAddress): void {
    const to = this.#region.indexOf.get(rip);
    if (to === undefined) {
      this.leave(Exit.Dispatch, () => this.body.i64(BigInt(rip)));
      return;
    }
    const { block } = this.#region.nodes[to] as RegionNode;
    this.#takeBudget(
      () => this.body.i64(BigInt(block.count)),
      () => this.body.i64(BigInt(rip)),
    );
    const kind = this.#flow.edgeKind(from, to);
    if (kind === 'inline' && !this.#flow.isLoopHeader(to)) return this.#placeNode(to, this.flags);
    if (kind === 'dispatch') {
      this.body.i32(this.entries.indexOf(to)).set(this.#next);
      return this.#dispatch();
    }
    if (this.#liveness[to]?.atStart) this.carryFlags();
    if (kind === 'inline') return this.#placeNode(to, CARRIED);
    const labels = kind === 'back' ? this.#loops : this.#labels;
    this.body.branchTo(labels.get(to) as number);
  }

  #dispatch(): void {
    this.carryFlags();
    this.body.branchTo(this.#dispatcher);
  }

  /** Takes the budget of the block that is going to run, or leaves if it is not covered. */
  #takeBudget(emitCount: () => void, emitRip: () => void): void {
    const { body } = this;
    const left = body.local(I64);
    body.get(this.budget);
    emitCount();
    body.emit(op.i64Sub).tee(left).i64(0n).emit(op.i64LtS).if();
    this.leave(Exit.Budget, emitRip);
    body.end().get(left).set(this.budget);
    body.release(I64, left);
  }

  /** The target that was always seen is compared with; others are looked up in the jump cache. */
  #emitIndirect(index: number, target: number): void {
    const { body } = this;
    const { targets, location } = (this.#region.nodes[index] as RegionNode).block;
    if (location.codeSize !== 64) body.get(target).i64(0xffff_ffffn).emit(op.i64And).set(target);
    const [only] = targets;
    if (targets.size === 1 && this.#region.indexOf.has(only as number)) {
      const before = this.flags;
      body
        .get(target)
        .i64(BigInt(only as number))
        .emit(op.i64Eq)
        .if();
      this.#emitEdge(index, only as number);
      body.end();
      this.flags = before;
    }
    this.#lookUp(target);
    this.leave(Exit.Dispatch, () => body.get(target));
  }

  /** To the dispatcher, if the target is an entry of this region. */
  #lookUp(target: number): void {
    const { body } = this;
    const entry = body.local(I32);
    const rec = body.local(I32);
    emitJumpCacheEntry(body, target, entry);
    body.get(entry).memory(memoryOp.i64Load, jumpCacheEntry.rip).get(target).emit(op.i64Eq).if();
    body.get(entry).memory(memoryOp.i32Load, jumpCacheEntry.record).tee(rec);
    body.memory(memoryOp.i32Load, record.handler).i32(this.#slot).emit(op.i32Eq).if();
    this.#takeBudget(
      () => body.get(rec).memory(memoryOp.i32Load16U, record.blockCount).emit(op.i64ExtendI32U),
      () => body.get(target),
    );
    body.get(rec).memory(memoryOp.i32Load, record.entry).set(this.#next);
    this.#dispatch();
    body.end().end();
    body.release(I32, entry);
    body.release(I32, rec);
  }
}
