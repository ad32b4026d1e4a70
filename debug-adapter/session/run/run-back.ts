/** Runs and steps backwards in time. */
import type { Stop } from '../../engine-target.ts';
import type { Debuggee } from '../debuggee.ts';
import type { Outcome } from '../outcome.ts';
import type { Session } from '../session.ts';
import { judge } from './judge.ts';
import type { Activity } from './runner.ts';
import { isSameFrame, positionNow, type Stepping } from './step-instruction.ts';
import type { Granularity } from './step-line.ts';

/** How far back the beginning of a line is looked for instruction by instruction. */
const NEARBY_UNITS = [64, 4_000];

/** Back to the last stop that the user wants, or to the beginning. */
export function* runBack(session: Session, debuggee: Debuggee): Activity {
  const stop = yield* lastStop(debuggee, (found) => judge(session, debuggee, found, 'back') !== undefined);
  return (stop && judge(session, debuggee, stop, 'back')) ?? beginning(debuggee);
}

/** One instruction, exception, VM exit or stage of its handling back; or to the beginning of the line before. */
export function* stepBack(stepping: Stepping, granularity: Granularity): Activity {
  // Where the machine comes from, a breakpoint is hit anew.
  stepping.debuggee.lastBreakpoint = undefined;
  const isLine = granularity === 'line' && positionNow(stepping).stages === 0;
  return (isLine ? yield* lineBack(stepping) : undefined) ?? instructionBack(stepping);
}

function instructionBack({ debuggee }: Stepping): Outcome {
  const { control } = debuggee;
  return control.history.stepBack() ? { reason: 'step', vcpu: control.currentVcpu } : beginning(debuggee);
}

function beginning({ control }: Debuggee): Outcome {
  return { reason: 'entry', vcpu: control.currentVcpu, description: 'Paused at the beginning of the history' };
}

/** Where a run backwards is ended by a pause, the machine comes to stand where it began. */
function* lastStop(debuggee: Debuggee, accepts: (stop: Stop) => boolean): Generator<void, Stop | undefined, void> {
  const { history } = debuggee.control;
  const { position } = history;
  let isDone = false;
  try {
    const stop = yield* history.reverse(accepts);
    isDone = true;
    return stop;
  } finally {
    debuggee.lastBreakpoint = undefined;
    if (!isDone) {
      history.goTo(position);
    }
  }
}

/**
 * To where the line began that the machine is in the middle of, or else the one before: in the same function or its
 * caller, not in one that was called. Undefined if it has to be found by instruction.
 */
function* lineBack(stepping: Stepping): Generator<void, Outcome | undefined, void> {
  const { debuggee, vcpu } = stepping;
  const { lines, symbols } = debuggee.program;
  const from = positionNow(stepping);
  const here = lines.rangeAt(from.address);
  if (here === undefined) {
    return undefined;
  }
  const isBeginning = () => {
    const address = debuggee.vcpu(vcpu).instructionAddress;
    return lines.rangeAt(address)?.start === address && isSameFrame(stepping, from);
  };
  if (NEARBY_UNITS.some((units) => debuggee.control.history.lastInstruction(units, isBeginning))) {
    return { reason: 'step', vcpu };
  }
  // What was called took long: only the function itself is looked at.
  const around = symbols.functionAt(from.address) ?? here;
  const starts = [...lines.within(around.start, around.end)].map(({ start }) => start);
  debuggee.stopPoints.addTemporary(starts);
  try {
    const stop = yield* lastStop(
      debuggee,
      (found) => found.kind === 'breakpoint' && starts.includes(found.address) && isSameFrame(stepping, from),
    );
    return stop === undefined ? beginning(debuggee) : { reason: 'step', vcpu };
  } finally {
    debuggee.stopPoints.withdraw();
  }
}
