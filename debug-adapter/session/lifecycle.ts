import { isUserError } from '../errors.ts';
import type { Outcome } from './outcome.ts';
import type { Session } from './session.ts';

/** What was true of the standing machine is not any more. */
export function markRunning(session: Session): void {
  session.frames.clear();
  session.debuggee.vmcsHistory.advance();
}

/** Tells the client why the machine stands, or that the guest has ended. */
export function announceStop(session: Session, outcome: Outcome): void {
  session.lastOutcome = outcome;
  if (outcome.reason === 'exited') {
    announceExit(session, outcome);
    return;
  }
  const { reason, vcpu, description, text, breakpointIds } = outcome;
  session.send('stopped', {
    reason,
    threadId: vcpu + 1,
    allThreadsStopped: true,
    preserveFocusHint: false,
    ...(description === undefined ? {} : { description }),
    ...(text === undefined ? {} : { text }),
    ...(breakpointIds === undefined ? {} : { hitBreakpointIds: breakpointIds }),
  });
}

function announceExit(session: Session, { exitCode = 0, text = '' }: Outcome): void {
  const how = text === '' ? '' : ` (${text})`;
  session.print(`The guest has ended${how}, exit code ${exitCode}.`);
  session.send('exited', { exitCode });
  session.send('terminated');
}

/** A bug of ours: said in words, and the machine can still be looked at. */
export function announceFailure(session: Session, error: unknown): void {
  const text = isUserError(error) ? error.message : session.describeInternalError(error);
  session.print(text, 'important');
  announceStop(session, {
    reason: 'exception',
    vcpu: session.debuggee.control.currentVcpu,
    exceptionId: 'internal-error',
    description: 'Internal error',
    text,
    explanation: [],
  });
}
