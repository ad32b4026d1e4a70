/** The filter of PAUSE intercepts (AMD64 APM volume 2, "Pause Intercept Filtering"). */
import type { SvmParts } from './svm-parts.ts';
import { vmcbOffset } from './vmcb-fields.ts';

const COUNT = vmcbOffset('PAUSE filter count');
const THRESHOLD = vmcbOffset('PAUSE filter threshold');

export class PauseFilter {
  readonly #parts: SvmParts;

  constructor(parts: SvmParts) {
    this.#parts = parts;
  }

  /** Counts the PAUSE under way; whether it is one too many. VMRUN, and a pause longer than the threshold, begin anew. */
  isExhausted(): boolean {
    const { processor, state, vmcb } = this.#parts;
    if (!processor.model.has('PauseFilter')) return true;
    const count = vmcb.u16(COUNT);
    const threshold = processor.model.has('PauseFilterThreshold') ? vmcb.u16(THRESHOLD) : 0;
    const now = Number(BigInt.asIntN(64, processor.tscNow() - state.tscAdjust));
    const isAnew = threshold !== 0 && now - state.pauseLoopLast > threshold;
    if (isAnew) state.pausesLeft = count;
    else if (state.pausesLeft > 0) state.pausesLeft--;
    state.pauseLoopLast = now;
    return state.pausesLeft === 0;
  }
}

/** VMRUN loads the count. */
export function beginPauses({ state, vmcb }: SvmParts): void {
  state.pausesLeft = vmcb.u16(COUNT);
  state.pauseLoopLast = 0;
}
