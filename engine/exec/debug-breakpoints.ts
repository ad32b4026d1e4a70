/**
 * The breakpoints of DR0 to DR3 on instructions and data (SDM volume 3, "Debug Registers"). While DR7 enables none of them
 * they cost nothing: those on instructions are marks in the code cache, those on data keep their pages out of the fast TLB.
 */

import { DebugFault } from '../cpu/debug-exceptions.ts';
import { BreakpointKind, enabledBreakpoints, hasBreakpoints, matchBreakpoints } from '../cpu/debug-registers.ts';
import { WATCHED, WATCHED_ADDRESS } from '../cpu/memory-map.ts';
import { linearOfRip } from '../cpu/modes.ts';
import { endMonitoring } from '../cpu/monitoring.ts';
import { ACTIVITY, DEBUGCTL, DR6, RFLAGS } from '../cpu/register-bits.ts';
import type { CpuState } from '../cpu/state.ts';
import type { DecodedInstruction } from '../isa/decode.ts';
import { type LinearAddress, pageOf, plus } from '../isa/linear-address.ts';
import { Access } from '../mmu/access.ts';
import type { Mmu } from '../mmu/mmu.ts';
import type { DataBreakpoints } from '../mmu/page-access.ts';
import type { CodeCache } from './code-cache.ts';

/** By the decoder's mnemonics. */
const SOFTWARE_INTERRUPTS: readonly string[] = ['Int', 'Int1', 'Int3', 'Into'];

const NO_MARKS: ReadonlySet<LinearAddress> = new Set();

export class DebugBreakpoints implements DataBreakpoints {
  readonly #state: CpuState;
  readonly #mmu: Mmu;
  readonly #cache: CodeCache;
  /** Told when a data breakpoint was met: the instruction under way must be the last for now. */
  readonly #requestStop: () => void;
  /** Whether DR7 enables any. */
  isArmed = false;
  /** The debug registers that all of this was made for. */
  #known = '';
  #marks = NO_MARKS;
  #pages = NO_MARKS;

  constructor(state: CpuState, mmu: Mmu, cache: CodeCache, requestStop: () => void) {
    this.#state = state;
    this.#mmu = mmu;
    this.#cache = cache;
    this.#requestStop = requestStop;
  }

  /** Whether there are breakpoints on instructions. */
  get onInstructions(): boolean {
    return this.#marks.size > 0;
  }

  /** To be called where the debug registers may have changed. */
  follow(): void {
    if (this.isArmed || hasBreakpoints(this.#state)) this.#follow();
  }

  #follow(): void {
    const { dr0, dr1, dr2, dr3, dr7 } = this.#state;
    const registers = `${dr7} ${dr0} ${dr1} ${dr2} ${dr3}`;
    if (registers === this.#known) return;
    this.#known = registers;
    this.isArmed = hasBreakpoints(this.#state);
    const enabled = enabledBreakpoints(this.#state);
    const instructions = enabled.filter(({ kind }) => kind === BreakpointKind.Execute);
    const data = enabled.filter(({ kind }) => kind === BreakpointKind.Write || kind === BreakpointKind.ReadWrite);
    this.#marks = new Set(instructions.map(({ address }) => address));
    this.#pages = new Set(data.map(({ address }) => pageOf(address)));
    this.#cache.setMarks(this.#marks, 'debug-registers');
    this.#mmu.setDataBreakpoints(this.#pages.size > 0 ? this : undefined);
    const { view } = this.#state;
    const others = view.getUint32(WATCHED_ADDRESS, true) & ~WATCHED.debugRegisters;
    // RF, which keeps a breakpoint from being met again, is the run loop's.
    view.setUint32(WATCHED_ADDRESS, others | (this.onInstructions ? WATCHED.debugRegisters : 0), true);
  }

  /** The exception of a breakpoint on the instruction at RIP, which comes before all other faults of it. */
  instructionFault(): DebugFault | undefined {
    const state = this.#state;
    const linear = linearOfRip(state);
    if (!this.#marks.has(linear)) return undefined;
    const hit = matchBreakpoints(state, [BreakpointKind.Execute], linear, 1);
    return hit ? new DebugFault(hit, false) : undefined;
  }

  watchesPage(linear: LinearAddress): boolean {
    return this.#pages.has(pageOf(linear));
  }

  /** A data access; its breakpoints are traps. */
  accessed(linear: LinearAddress, lengthBytes: number, access: Access): void {
    const kinds =
      access === Access.Write ? [BreakpointKind.Write, BreakpointKind.ReadWrite] : [BreakpointKind.ReadWrite];
    const hit = matchBreakpoints(this.#state, kinds, linear, lengthBytes);
    if (hit === 0) return;
    this.#state.pendingDebug |= hit;
    this.#requestStop();
  }

  /** The instruction under way did not complete: what it met counts for nothing. */
  failed(pendingDebug: number): void {
    if (this.isArmed) this.#state.pendingDebug = pendingDebug;
  }

  /** An instruction completed, or one iteration of it: RF lasts until a repeated one is done. */
  completed(): void {
    const state = this.#state;
    if (state.repeating !== 0) state.flagsOther |= RFLAGS.RF;
  }

  /** The same, if TF was set before: the trap that this causes also ends the wait of HLT. */
  singleStepped(instruction: DecodedInstruction, rip: LinearAddress): void {
    const state = this.#state;
    const { lengthBytes, mnemonic, repeat } = instruction;
    const branched = state.rip !== plus(rip, lengthBytes) && repeat === 'none';
    // TF is cleared on the way to the handler, where no trap is to come.
    if (branched && SOFTWARE_INTERRUPTS.includes(mnemonic)) return;
    if (!branched && state.debugctl & DEBUGCTL.BTF) return;
    this.completed();
    state.pendingDebug |= DR6.BS;
    endMonitoring(state);
    if (state.activityState === ACTIVITY.HLT) state.activityState = ACTIVITY.ACTIVE;
  }
}
