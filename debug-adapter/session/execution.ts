import type { DebugProtocol as P } from '@vscode/debugprotocol';
import { UserError } from '../errors.ts';
import { hex } from '../hexadecimal.ts';
import type { Handlers } from './handlers.ts';
import { markRunning } from './lifecycle.ts';
import { runBack, stepBack } from './run/run-back.ts';
import { runOn } from './run/run-until.ts';
import type { Activity } from './run/runner.ts';
import type { Stepping } from './run/step-instruction.ts';
import { stepInto, stepOut, stepOver } from './run/step-line.ts';
import type { Session } from './session.ts';
import { codeBase } from './stack/position.ts';

type StepArguments = P.NextArguments | P.StepInArguments;

export const execution: Handlers = {
  configurationDone(_, session) {
    session.isConfigured = true;
    session.defer(() => beginProgram(session));
    return undefined;
  },

  continue({ threadId, singleThread = false }, session) {
    const only = singleThread ? session.vcpuOfThread(threadId).index : undefined;
    requireStanding(session);
    session.defer(() => begin(session, runOn(session, session.debuggee, only)));
    return { allThreadsContinued: !singleThread };
  },

  next(args, session) {
    return start(args, session, (stepping) => stepOver(stepping, granularityOf(args)));
  },

  stepIn(args, session) {
    return start(args, session, (stepping) => stepInto(stepping, granularityOf(args)));
  },

  stepOut(args, session) {
    return start(args, session, stepOut);
  },

  stepBack(args, session) {
    requireHistory(session);
    return start(args, session, (stepping) => stepBack(stepping, granularityOf(args)));
  },

  reverseContinue(_, session) {
    requireStanding(session);
    requireHistory(session);
    session.defer(() => begin(session, runBack(session, session.debuggee)));
    return undefined;
  },

  pause({ threadId }, session) {
    const vcpu = session.vcpuOfThread(threadId === 0 ? 1 : threadId).index;
    const { runner } = session.debuggee;
    if (runner.isRunning) {
      runner.pause({ reason: 'pause', vcpu });
    }
    return undefined;
  },

  gotoTargets({ source, line }, session) {
    const offset = session.client.linesStartAt1 ? 0 : 1;
    const found = session.debuggee.program.lines.addressesOf(source.path ?? '', line + offset);
    return {
      targets: (found?.addresses ?? []).map((address) => ({
        id: session.debuggee.gotoTargets.push(address),
        label: `${hex(address)}, line ${(found?.line ?? line) - offset}`,
        line: (found?.line ?? line) - offset,
        instructionPointerReference: hex(address),
      })),
    };
  },

  goto({ threadId, targetId }, session) {
    requireStanding(session);
    const vcpu = session.vcpuOfThread(threadId);
    const target = session.debuggee.gotoTargets[targetId - 1];
    if (target === undefined) {
      throw new UserError('There is no such target', { expected: 'one of gotoTargets', found: String(targetId) });
    }
    const ip = target - codeBase(vcpu, vcpu.mode().codeSize);
    const problem = vcpu.writeRegister('rip', BigInt.asUintN(64, ip));
    if (problem !== undefined) {
      throw new UserError('RIP cannot be set', { found: problem });
    }
    session.defer(() => session.stopped({ reason: 'goto', vcpu: vcpu.index }));
    return undefined;
  },
};

/** The machine runs from here on. */
function begin(session: Session, activity: Activity): void {
  markRunning(session);
  session.debuggee.runner.start(activity);
}

/** The first run of a program: it stops on entry, or goes on to the first breakpoint. */
export function beginProgram(session: Session): void {
  const { debuggee } = session;
  const { stopOnEntry, noDebug } = debuggee.configuration;
  debuggee.historyKeeper.begin();
  if (stopOnEntry && !noDebug) {
    session.stopped({ reason: 'entry', vcpu: 0, description: 'Paused on entry' });
  } else {
    begin(session, runOn(session, debuggee));
  }
}

function start(
  { threadId, singleThread = false }: StepArguments,
  session: Session,
  make: (stepping: Stepping) => Activity,
): undefined {
  requireStanding(session);
  const vcpu = session.vcpuOfThread(threadId).index;
  const activity = make({ session, debuggee: session.debuggee, vcpu, isSingle: singleThread });
  session.defer(() => begin(session, activity));
  return undefined;
}

/** Throws if no history is kept. */
export function requireHistory(session: Session): void {
  if (!session.debuggee.control.history.isKept) {
    throw new UserError('There is no history to go back in', {
      expected: '"history": true in the launch configuration',
      found: '"history": false',
      whatToDo: 'change it and start again',
    });
  }
}

/** Throws while the machine runs. */
export function requireStanding(session: Session): void {
  if (session.debuggee.runner.isRunning) {
    throw new UserError('The machine runs', { expected: 'a machine that stands', whatToDo: 'pause it first' });
  }
}

function granularityOf({ granularity }: StepArguments): 'instruction' | 'line' {
  return granularity === 'instruction' ? 'instruction' : 'line';
}
