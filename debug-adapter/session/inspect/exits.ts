/** The exit log, and the way back to one of its exits. */

import type { ExitLogView } from '../../engine-target.ts';
import { UserError } from '../../errors.ts';
import type { WireVmExit } from '../../protocol/requests.ts';
import { requireHistory, requireStanding } from '../execution.ts';
import type { Handlers } from '../handlers.ts';
import { markRunning } from '../lifecycle.ts';
import type { Session } from '../session.ts';
import { toWire } from './to-wire.ts';

export const exits: Handlers = {
  'ringside/exitLog'(query = {}, session) {
    const { control } = session.debuggee;
    const log = control.exitLog(query);
    return {
      ...toWire(log),
      exits: log.exits.map((exit) => located(exit, session)),
      canGoBack: control.history.isKept,
    };
  },

  'ringside/goToExit'({ number }, session) {
    requireStanding(session);
    requireHistory(session);
    const { debuggee } = session;
    if (!debuggee.control.history.goToExit(number)) {
      throw new UserError(`There is no way back to VM exit ${number}`, {
        expected: 'an exit that the log still has, behind the beginning of the history',
        whatToDo: 'read the log again',
      });
    }
    markRunning(session);
    debuggee.lastBreakpoint = undefined;
    session.defer(() => stopAtExit(session));
    return {};
  },
};

/** As the stop of the filter "VM exit" is announced. */
function stopAtExit(session: Session): void {
  const { control } = session.debuggee;
  const event = control.lastExit();
  session.stopped({
    ...{ reason: 'exception', exceptionId: 'vm-exit', vcpu: control.currentVcpu, description: 'Back at a VM exit' },
    ...(event && { stop: { kind: 'event', event }, text: event.title, explanation: event.explanation }),
  });
}

function located(exit: ExitLogView['exits'][number], session: Session): WireVmExit {
  const { lines, symbols } = session.debuggee.program;
  const line = lines.at(exit.instructionAddress);
  const symbol = symbols.describe(exit.instructionAddress);
  return {
    ...toWire(exit),
    ...(symbol === undefined ? {} : { symbol }),
    ...(line === undefined ? {} : { source: { path: line.path, line: line.line } }),
  };
}
