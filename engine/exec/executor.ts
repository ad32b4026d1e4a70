/**
 * The run loop of one loaded vCPU: finds blocks, lets compiled code run them within an exact instruction budget, and
 * deals with what brings it back. What an event means (delivery, VM exit, stop) is decided by the owner.
 */

import { DebugFault } from '../cpu/debug-exceptions.ts';
import { GuestFault, Vector, VmExit } from '../cpu/events.ts';
import { enabledExtensions } from '../cpu/extensions.ts';
import { codeSize, is64Bit, linearOfRip, stackSize } from '../cpu/modes.ts';
import { MONITOR_TRAP, monitorTrapDue } from '../cpu/monitor-trap.ts';
import type { Processor } from '../cpu/processor.ts';
import { BLOCKING, CR0, RFLAGS } from '../cpu/register-bits.ts';
import { type CpuState, CS } from '../cpu/state.ts';
import { FSW, updateErrorSummary } from '../cpu/x87/register-stack.ts';
import { type LinearAddress, low32, plus } from '../isa/linear-address.ts';
import type { World } from '../mmu/fast-tlb.ts';
import type { Mmu } from '../mmu/mmu.ts';
import type { Block } from './block.ts';
import { BlockFetcher } from './block-fetcher.ts';
import type { CodeCache } from './code-cache.ts';
import { CodeWorld, KEYS_OF_GENERATION, WHOLE_LIMIT } from './code-world.ts';
import { DEFAULT_HOT_SPOTS, type HotSpotOptions, HotSpots } from './compiler/hot-spots.ts';
import { Regions } from './compiler/regions.ts';
import { DebugBreakpoints } from './debug-breakpoints.ts';
import { Exit, MAX_EVENTS } from './exits.ts';
import type { HandlerLibrary } from './handler-library.ts';
import { findInJumpCache, keyOfExtensions, keyOfSizes } from './jump-cache.ts';
import { record } from './record.ts';
import { RunBudget } from './run-budget.ts';
import type { Runtime } from './runtime.ts';

/** Why `run` returned. */
export type RunEnd = 'limit' | 'stop-requested' | 'mark';

/** What the owner of the executor decides. */
export interface ExecutorOwner {
  /** Deals with a GuestFault, VmExit or Unimplemented: changes the state, or rethrows what ends the run. */
  handleEvent(event: unknown): void;
  /** Asked before each entry into compiled code; true to leave the run loop (interrupt pending, stop …). */
  interrupted(): boolean;
  /** How many interrupts were taken since this was asked last. */
  takeInterruptions(): number;
  /** An instruction about to run is marked; true to stop before it. */
  stopAtMark(): boolean;
}

/**
 * Instructions after which the run loop comes to see where they have led. V8's better code of a region, which is there some
 * time after the first, is used where the region is entered anew; and the host's branch predictor, which may have settled
 * badly, has another chance.
 */
const STRETCH = 1_000_000;

/** Instructions after which handlers that were added are put into one module with the others, if none was added meanwhile. */
const SETTLE_AFTER = 1_000_000;

const SHADOWS = BLOCKING.STI | BLOCKING.MOV_SS;

export class Executor {
  readonly #state: CpuState;
  readonly #processor: Processor;
  readonly #cache: CodeCache;
  readonly #library: HandlerLibrary;
  readonly #runtime: Runtime;
  readonly #owner: ExecutorOwner;
  readonly regions: Regions;
  readonly budget: RunBudget;
  readonly #hotSpots: HotSpots;
  readonly #fetcher: BlockFetcher;
  readonly #debug: DebugBreakpoints;
  /** What valid jump-cache entries were made for, in root and in non-root operation. */
  readonly #worlds: readonly [CodeWorld, CodeWorld];
  #skipMarkAt: LinearAddress | undefined;
  /** Instructions executed when a handler was added last. */
  #scatteredAt = 0;
  /** An event was dealt with since compiled code was entered: where it led is often known to the jump cache. */
  #afterEvent = false;

  constructor(parts: {
    processor: Processor;
    mmu: Mmu;
    cache: CodeCache;
    library: HandlerLibrary;
    runtime: Runtime;
    owner: ExecutorOwner;
    hotSpots?: HotSpotOptions | undefined;
  }) {
    this.#processor = parts.processor;
    this.#state = parts.processor.state;
    this.budget = new RunBudget(this.#state.view);
    this.#worlds = [new CodeWorld(this.#state.view, 0), new CodeWorld(this.#state.view, 1)];
    this.#cache = parts.cache;
    this.#library = parts.library;
    this.#runtime = parts.runtime;
    this.#owner = parts.owner;
    this.regions = new Regions({ ...parts, state: this.#state }, parts.hotSpots);
    this.#hotSpots = new HotSpots(this.regions, parts.hotSpots ?? DEFAULT_HOT_SPOTS);
    const { budget } = this;
    this.#fetcher = new BlockFetcher({ ...parts, state: this.#state, budget, hotSpots: this.#hotSpots });
    this.#debug = new DebugBreakpoints(this.#state, parts.mmu, parts.cache, () => {
      parts.runtime.stopRequested = true;
    });
    parts.library.onScattered = () => {
      this.#scatteredAt = budget.total;
    };
    parts.runtime.mayEnterRegion = (at) => this.regions.mayEnter(parts.cache.placeOf(at).block);
    parts.cache.onInvalidate = () => {
      this.translationsChanged();
      this.#runtime.stopRequested = true;
    };
    parts.runtime.codeCache = parts.cache;
    parts.runtime.eventInPlace = (at) => this.#eventInPlace(at);
  }

  /** What the run has executed, while the system instruction or memory access of a record is under way: those before it. */
  executedBefore(recordAddress: number): number {
    return this.budget.executed - this.#view.getUint16(recordAddress + record.blockCount, true);
  }

  /** Translations, privileges or code changed: jump-cache entries made so far for a world, or for both, are void. */
  translationsChanged(world?: World): void {
    if (world !== 1) this.#worlds[0].begin();
    if (world !== 0) this.#worlds[1].begin();
    const { jumpKey, nonRoot } = this.#state;
    const { generation } = this.#worlds[nonRoot ? 1 : 0];
    this.#state.jumpKey = generation * KEYS_OF_GENERATION + (jumpKey % KEYS_OF_GENERATION);
  }

  /** The key that jump-cache entries of the current mode carry. */
  refreshJumpKey(): void {
    const state = this.#state;
    this.#debug.follow();
    const { nonRoot } = state;
    const world = this.#worlds[nonRoot ? 1 : 0];
    if (is64Bit(state)) world.follow(0, WHOLE_LIMIT);
    else world.follow(state.segment(CS).base, state.segment(CS).limit);
    const sizes = keyOfSizes(codeSize(state), stackSize(state));
    const extensions = keyOfExtensions(enabledExtensions(state));
    state.jumpKey = world.generation * KEYS_OF_GENERATION + extensions + (nonRoot << 6) + sizes + state.cpl;
  }

  /** Runs at most `limit` instructions. The instruction at `skipMarkAt` (RIP) runs even if it is marked. */
  run(limit: number, skipMarkAt?: LinearAddress): RunEnd {
    const budget = this.budget;
    budget.begin(limit);
    this.#skipMarkAt = skipMarkAt;
    this.#runtime.stopRequested = false;
    this.refreshJumpKey();
    this.#state.linkSite = 0;
    while (budget.left > 0 && budget.events < MAX_EVENTS) {
      const isInterrupted = this.#owner.interrupted();
      // A link may only be patched with the block its branch asked for, not with an interrupt's handler.
      const taken = this.#owner.takeInterruptions();
      if (taken > 0) {
        budget.events += taken;
        budget.left -= taken;
        this.#elsewhere();
        this.refreshJumpKey();
      }
      if (isInterrupted) return 'stop-requested';
      // Where an event has led, another may come before the first instruction.
      if (taken > 0) continue;
      const end = this.#enter();
      if (this.#library.isScattered && budget.total - this.#scatteredAt > SETTLE_AFTER) this.#library.settle();
      if (end) return end;
    }
    return 'limit';
  }

  /** Compiles the region that starts at RIP, if that is decoded, as if it had become hot. Throws the fetch's event. */
  compileAtRip(): void {
    const block = this.#cache.peek(this.#fetcher.locate());
    if (block) this.regions.compile(block);
  }

  /** Something else than the code leads on from here. */
  #elsewhere(): void {
    this.#state.linkSite = 0;
    this.#hotSpots.interrupted();
  }

  get #view(): DataView {
    return this.#state.view;
  }

  /** A trap of the last instruction is delivered before anything else happens, but not in the shadow of MOV SS. */
  get trapIsPending(): boolean {
    const { pendingDebug, interruptibility } = this.#state;
    return pendingDebug !== 0 && (interruptibility & BLOCKING.MOV_SS) === 0;
  }
  #trap(): undefined {
    const { pendingDebug } = this.#state;
    this.#state.pendingDebug = 0;
    return this.#deal(new DebugFault(pendingDebug, true));
  }

  /** One trip into compiled code and back. */
  #enter(): RunEnd | undefined {
    if (this.trapIsPending) return this.#trap();
    const state = this.#state;
    // RF only keeps instruction breakpoints of DR7 from firing again, and lasts for one instruction. Behind MOV SS they do not
    // fire either (SDM volume 3, "Instruction-Breakpoint Exception Condition").
    if (state.flagsOther & RFLAGS.RF) state.flagsOther &= ~RFLAGS.RF;
    else if (this.#debug.onInstructions && (state.interruptibility & BLOCKING.MOV_SS) === 0) {
      const fault = this.#debug.instructionFault();
      if (fault) return this.#deal(fault);
    }
    const single = this.#endMustBeSeen();
    const known = single || !this.#afterEvent ? 0 : this.#recentRecord();
    this.#afterEvent = false;
    if (known !== 0) return this.#execute(known, false);
    const block = this.#fetch(single ? 1 : undefined);
    if (!block) return undefined;
    if (block.count === 0 || (block.single && this.#cache.isMarked(block.location.linear))) return this.#atMark();
    return this.#execute(block.record, block.single);
  }

  /** A shadow, TF and the monitor trap flag last for one instruction, whose end must be seen. */
  #endMustBeSeen(): boolean {
    const { interruptibility, flagsOther, monitorTrap } = this.#state;
    return (interruptibility & SHADOWS) !== 0 || (flagsOther & RFLAGS.TF) !== 0 || monitorTrap !== MONITOR_TRAP.OFF;
  }

  /** The record at RIP that the jump cache knows, if the budget covers its block, else 0: what `dispatch` would go to. */
  #recentRecord(): number {
    const view = this.#view;
    const state = this.#state;
    const { rip, jumpKey } = state;
    const at = findInJumpCache(view, rip, jumpKey);
    if (at === 0 || view.getUint16(at + record.blockCount, true) > this.budget.left) return 0;
    state.linkSite = 0;
    state.pageBase = plus(rip, -view.getUint16(at + record.pageOffset, true));
    this.#runtime.stopRequested = false;
    return at;
  }

  #execute(at: number, single: boolean): RunEnd | undefined {
    const state = this.#state;
    const { nonRoot, flagsOther, monitorTrap, pendingDebug, rip } = state;
    const shadow = state.interruptibility & SHADOWS;
    const exit = this.#enterFor(at, single) as Exit;
    // VM entries and exits load the interruptibility and the pending traps of the other side.
    if (exit !== Exit.Event && state.nonRoot === nonRoot) {
      if (shadow) state.interruptibility &= ~shadow;
      if (monitorTrap !== MONITOR_TRAP.OFF) monitorTrapDue(state);
      if (flagsOther & RFLAGS.TF) this.#debug.singleStepped(this.#cache.instructionOf(at), rip);
    }
    if (exit === Exit.Event) this.#debug.failed(pendingDebug);
    else if (this.#debug.onInstructions) this.#debug.completed();
    // What follows a single instruction has to be found out each time.
    if (single) state.linkSite = 0;
    return this.#leave(exit, at);
  }

  /** Confines what may run before the run loop wants to see where it has led. */
  #confine(at: number, single: boolean): void {
    const { budget } = this;
    const block = this.#view.getUint16(at + record.blockCount, true);
    // Neither another block nor another iteration of REP may follow a single instruction.
    if (single) return budget.confine(block);
    if (this.#hotSpots.isWatching) {
      // A block that was cut is gone with the next one; where its slice ends, no transfer leads on.
      if (this.#fetcher.wasCut) this.#hotSpots.interrupted();
      else this.#hotSpots.watch(this.#cache.placeOf(at).block);
      return budget.confine(block);
    }
    // Repeated string instructions go by whole pages: where they are is known.
    const isRepeated = this.#cache.instructionOf(at).repeat !== 'none';
    budget.confine(STRETCH, isRepeated ? STRETCH : this.#hotSpots.nextStretch());
  }

  /** Enters a block. */
  #enterFor(at: number, single: boolean): number {
    this.#state.repeating = 0;
    this.#confine(at, single);
    const exit = this.#library.enter(at);
    this.#runtime.followSwitch();
    this.budget.release();
    return exit;
  }

  #leave(exit: Exit, entered: number): RunEnd | undefined {
    switch (exit) {
      case Exit.Lookup:
      case Exit.Budget:
        return undefined;
      case Exit.Mark:
        return this.#debug.onInstructions ? undefined : this.#atMark();
      case Exit.Event:
        this.#state.repeating = 0;
        this.#retireTo(this.#state.exitRecord, 0);
        this.#event();
        return undefined;
      case Exit.StopAfter:
        this.#retireTo(this.#state.exitRecord, 1);
        break;
      case Exit.StopAtTarget:
        this.#afterEvent = true;
        break;
      default:
        throw new Error(`compiled code of record ${entered} returned ${exit}`);
    }
    this.refreshJumpKey();
    return undefined;
  }

  /** RIP and budget as of the record's instruction, `done` of it (0 or 1) executed. */
  #retireTo(recordAddress: number, done: 0 | 1): void {
    this.#setRipOf(recordAddress, done);
    this.budget.left += this.#view.getUint16(recordAddress + record.blockCount, true) - done;
  }
  #setRipOf(recordAddress: number, done: 0 | 1): void {
    const view = this.#view;
    const length = done ? 0 : view.getUint16(recordAddress + record.length, true);
    const rip = plus(this.#state.pageBase, view.getUint32(recordAddress + record.nextOffset, true) - length);
    this.#state.rip = is64Bit(this.#state) ? rip : low32(rip);
  }

  #event(): void {
    const event = this.#runtime.takeEvent();
    const isMmx = event instanceof GuestFault && event.vector === Vector.MF && (this.#state.cr0 & CR0.NE) === 0;
    if (isMmx) this.#mmxWithPendingException();
    else this.#deal(event);
  }

  /**
   * An MMX instruction met a pending x87 exception, and CR0.NE = 0: as the x87's own instructions it is begun again until
   * the interrupt that FERR# asks for has been taken, or executes all the same while IGNNE# is asserted.
   */
  #mmxWithPendingException(): void {
    const state = this.#state;
    this.#elsewhere();
    if (!this.#processor.fpuErrors?.ignoresErrors()) {
      this.budget.left--;
      state.interruptibility &= ~SHADOWS;
      return;
    }
    state.fsw &= ~FSW.ES;
    const block = this.#fetch(1);
    if (block) this.#execute(block.record, block.single);
    updateErrorSummary(state);
  }

  /**
   * An event that compiled code left with, before it is back here: dealt with where it is, so that compiled code goes on
   * with the handler or the host. What a shadow, say, or the debug registers are about, the run loop has to see.
   */
  #eventInPlace(recordAddress: number): Exit {
    const event = this.#runtime.pendingEvent;
    const isOrdinary = event instanceof VmExit || (event instanceof GuestFault && event.vector !== Vector.MF);
    if (!isOrdinary || this.#endMustBeSeen() || this.#debug.isArmed || this.budget.events + 1 >= MAX_EVENTS)
      return Exit.Event;
    this.#runtime.pendingEvent = undefined;
    this.#state.repeating = 0;
    this.#setRipOf(recordAddress, 0);
    this.budget.giveBack(recordAddress);
    this.#elsewhere();
    this.#owner.handleEvent(event);
    return this.#runtime.afterSystem() || this.#runtime.stopRequested ? Exit.StopAtTarget : Exit.Dispatch;
  }

  #deal(event: unknown): undefined {
    this.budget.events++;
    this.budget.left--;
    this.#elsewhere();
    this.#owner.handleEvent(event);
    this.refreshJumpKey();
    this.#afterEvent = true;
    return undefined;
  }

  #atMark(): RunEnd | undefined {
    const { rip } = this.#state;
    const linear = linearOfRip(this.#state, rip);
    const isOwn = this.#cache.isMarkedBy('debugger', linear);
    const skip = !isOwn || rip === this.#skipMarkAt || !this.#owner.stopAtMark();
    if (!skip) return 'mark';
    this.#skipMarkAt = undefined;
    const block = this.#fetch(1);
    return block && this.#execute(block.record, block.single);
  }

  /** The block at RIP; undefined if the fetch ended in an event, which was dealt with. */
  #fetch(limit: number | undefined): Block | undefined {
    try {
      return this.#fetcher.block(limit);
    } catch (event) {
      this.#deal(event);
      return undefined;
    }
  }
}
