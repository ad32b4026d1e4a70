import type { Stop, StopFilter } from '../../engine-target.ts';
import type { Debuggee } from '../debuggee.ts';
import type { Outcome } from '../outcome.ts';
import type { Session } from '../session.ts';
import { judge } from './judge.ts';

/** Where a run is to end if nothing of the user's ends it before. */
export interface Destination {
  readonly addresses?: readonly bigint[];
  readonly filters?: readonly StopFilter[];
  /** Run only this vCPU. */
  readonly onlyVcpu?: number | undefined;
  /** True for the stop that was waited for. */
  readonly isReached: (stop: Stop) => boolean;
}

/**
 * Runs in slices until the destination, or something the user wants to stop at.
 *
 * @returns undefined at the destination
 */
export function* runUntil(
  session: Session,
  debuggee: Debuggee,
  { addresses = [], filters = [], onlyVcpu, isReached }: Destination,
): Generator<void, Outcome | undefined, void> {
  const { control, pace, stopPoints } = debuggee;
  stopPoints.addTemporary(addresses, filters);
  try {
    let skipFirstBreakpoint = true;
    for (;;) {
      const { instructions } = pace;
      const stop = control.run({
        instructions,
        skipFirstBreakpoint,
        ...(onlyVcpu === undefined ? {} : { vcpu: onlyVcpu }),
      });
      const outcome = judge(session, debuggee, stop);
      if (outcome !== undefined) {
        return outcome;
      }
      if (isReached(stop)) {
        return undefined;
      }
      // After a limit the next instruction has not been looked at: its breakpoint counts.
      skipFirstBreakpoint = stop.kind !== 'limit';
      if (stop.kind === 'limit') {
        pace.end();
        yield;
      } else if (pace.isDue()) {
        yield;
      }
    }
  } finally {
    stopPoints.withdraw();
  }
}

/** Runs until something the user wants to stop at. */
export function* runOn(session: Session, debuggee: Debuggee, onlyVcpu?: number): Generator<void, Outcome, void> {
  const outcome = yield* runUntil(session, debuggee, { onlyVcpu, isReached: () => false });
  if (outcome === undefined) {
    throw new Error('a run ended without a reason');
  }
  return outcome;
}

/**
 * One instruction, or one stage of the hypervisor's handler, of one vCPU.
 *
 * @returns why the user wants to stop there, if so
 */
export function stepOnce(session: Session, debuggee: Debuggee, vcpu: number): Outcome | undefined {
  const stop = debuggee.control.step(vcpu);
  const outcome = judge(session, debuggee, stop);
  if (outcome !== undefined) {
    return outcome;
  }
  const view = debuggee.vcpu(vcpu);
  const address = view.instructionAddress;
  return debuggee.stopPoints.isUserBreakpoint(address) && view.handlerFrames().length === 0
    ? judge(session, debuggee, { kind: 'breakpoint', vcpu, address })
    : undefined;
}
