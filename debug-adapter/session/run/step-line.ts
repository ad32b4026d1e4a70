import { UserError } from '../../errors.ts';
import type { LineRange } from '../../program/line-table.ts';
import type { Outcome } from '../outcome.ts';
import type { Position } from '../stack/position.ts';
import { callersOf } from '../stack/unwind.ts';
import type { Activity } from './runner.ts';
import {
  instructionNow,
  intoInstruction,
  overInstruction,
  positionNow,
  run,
  type Step,
  type Stepping,
  untilAddress,
  untilGuest,
} from './step-instruction.ts';

export type Granularity = 'instruction' | 'line';

/** Steps over calls, interrupts and VM exits. */
export function stepOver(stepping: Stepping, granularity: Granularity): Activity {
  return done(stepping, granularity === 'line' ? byLine(stepping, overInstruction) : overInstruction(stepping));
}

/** Steps into calls, interrupts, handlers of VM exits, and guests. */
export function stepInto(stepping: Stepping, granularity: Granularity): Activity {
  return done(stepping, granularity === 'line' ? byLine(stepping, intoInstruction) : intoInstruction(stepping));
}

/**
 * Steps out of a function to its caller, or out of the hypervisor's handler into the guest.
 *
 * @throws UserError, at once, if no caller can be found
 */
export function stepOut(stepping: Stepping): Activity {
  const position = positionNow(stepping);
  if (position.stages > 0) {
    return done(stepping, untilGuest(stepping));
  }
  const { debuggee, vcpu } = stepping;
  const caller = callersOf(debuggee.vcpu(vcpu), debuggee.program, debuggee.disassembler).next().value;
  if (caller === undefined) {
    throw new UserError('There is no caller to step out to', {
      expected: 'a return address on the stack',
      found: 'none',
      whatToDo: 'continue, or run to the cursor',
    });
  }
  const isReached = () => {
    const now = positionNow(stepping);
    return now.address === caller.address && now.vmx === position.vmx && now.stackTop >= caller.stackTop;
  };
  // An interrupt may have come on another stack, whose addresses say nothing about the interrupted one's.
  const isBack = caller.kind === 'interrupt' ? () => positionNow(stepping).address === caller.address : isReached;
  return done(
    stepping,
    run(stepping, {
      addresses: [caller.address],
      isReached: (stop) => stop.kind === 'breakpoint' && stop.vcpu === vcpu && isBack(),
    }),
  );
}

function* done({ vcpu }: Stepping, step: Step): Activity {
  const outcome: Outcome | undefined = yield* step;
  return outcome ?? { reason: 'step', vcpu };
}

/** Repeats a step by instruction until another line begins. Code without lines is stepped by instruction. */
function* byLine(stepping: Stepping, stepInstruction: (stepping: Stepping) => Step): Step {
  const { debuggee } = stepping;
  let before = positionNow(stepping);
  let line = before.stages > 0 ? undefined : debuggee.program.lines.rangeAt(before.address);
  const isByInstruction = line === undefined;
  for (;;) {
    const returns = before.stages === 0 && instructionNow(stepping, before)?.flow === 'return';
    const outcome = yield* stepInstruction(stepping);
    const now = positionNow(stepping);
    if (outcome !== undefined || isByInstruction || now.stages > 0 || now.vmx !== before.vmx) {
      return outcome;
    }
    const here = debuggee.program.lines.rangeAt(now.address);
    if (here === undefined) {
      return yield* outOfUnknownCode(stepping, before, now);
    }
    if (isNewLine(now.address, here, line, returns)) {
      return undefined;
    }
    line = here;
    before = now;
    if (debuggee.pace.isDue()) {
      yield;
    }
  }
}

/**
 * A line begins at its first instruction, also when a loop comes back to it. In the middle of one are we after a
 * return to the line that called, which is finished first.
 */
function isNewLine(address: bigint, here: LineRange, before: LineRange | undefined, returned: boolean): boolean {
  if (address === here.start) {
    return true;
  }
  const isSame = before !== undefined && before.start === here.start && before.end === here.end;
  return !isSame && !returned;
}

/** Code without lines that was called is run to its end; any other is a place to stop. */
function* outOfUnknownCode(stepping: Stepping, before: Position, now: Position): Step {
  const called = instructionNow(stepping, before);
  if (called?.flow !== 'call' || now.address === before.address) {
    return undefined;
  }
  const next = BigInt.asUintN(64, before.address + BigInt(called.lengthBytes));
  const outcome = yield* untilAddress(stepping, next, before);
  if (outcome !== undefined) {
    return outcome;
  }
  const line = stepping.debuggee.program.lines.rangeAt(next);
  return line === undefined || line.start === next ? undefined : yield* byLine(stepping, overInstruction);
}
