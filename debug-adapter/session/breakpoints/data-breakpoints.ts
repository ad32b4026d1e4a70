import type { DebugProtocol as P } from '@vscode/debugprotocol';
import { isUserError, UserError } from '../../errors.ts';
import type { Handlers } from '../handlers.ts';
import type { Session } from '../session.ts';
import { expressionOfVariable } from '../variables.ts';
import { BreakpointAction, type BreakpointOptions } from './breakpoint.ts';
import type { DataBreakpoint } from './data-breakpoint-table.ts';
import { dataTargetOf } from './data-expression.ts';
import { type DataTarget, describeTarget, formatDataId, parseDataId, watchTargets } from './data-target.ts';

type AccessType = P.DataBreakpointAccessType;

export const dataBreakpoints: Handlers = {
  dataBreakpointInfo(args, session) {
    try {
      const target = targetOf(args, session);
      return {
        dataId: formatDataId(target),
        description: describeTarget(target, session),
        accessTypes: ['read', 'write', 'readWrite'],
        canPersist: target.kind === 'range' ? target.space !== 'linear' : target.kind !== 'page-table-entry',
      };
    } catch (error) {
      if (!isUserError(error)) {
        throw error;
      }
      return { dataId: null, description: error.message };
    }
  },

  setDataBreakpoints({ breakpoints }, session) {
    session.dataRequests.data = breakpoints.map((one) => ({
      id: session.breakpoints.takeId(),
      access: one.accessType ?? 'write',
      options: one,
      target: () => knownTarget(one.dataId),
    }));
    return { breakpoints: resolveData('data', session) };
  },
};

/** A data breakpoint that the client wants; what it is about is found anew for each program. */
export interface DataRequest {
  readonly id: number;
  readonly access: AccessType;
  readonly options: BreakpointOptions;
  readonly target: () => DataTarget;
}

/** Sets the data breakpoints of a list; what the client is told of each. */
export function resolveData(list: 'data' | 'functions', session: Session): P.Breakpoint[] {
  const set: DataBreakpoint[] = [];
  const answers = session.dataRequests[list].map((request) => setOne(request, set, session));
  session.dataBreakpoints.set(list, set);
  const debuggee = session.optionalDebuggee;
  if (debuggee !== undefined && !debuggee.configuration.noDebug) {
    debuggee.control.setWatches(session.dataBreakpoints.watches());
  }
  return answers;
}

function targetOf(args: P.DataBreakpointInfoArguments, session: Session): DataTarget {
  const { variablesReference, name, frameId, asAddress, bytes } = args;
  return variablesReference === undefined
    ? dataTargetOf(name, session, { frameId, asAddress, bytes })
    : dataTargetOf(expressionOfVariable(variablesReference, name, session), session, { asAddress, bytes });
}

function knownTarget(dataId: string): DataTarget {
  const target = parseDataId(dataId);
  if (target === undefined) {
    throw new UserError('The data breakpoint is not of this program');
  }
  return target;
}

function setOne({ id, access, options, target }: DataRequest, set: DataBreakpoint[], session: Session): P.Breakpoint {
  if (session.optionalDebuggee === undefined) {
    return { id, verified: false, message: 'The program is not loaded yet' };
  }
  try {
    const wanted = target();
    const [read, write] = [access !== 'write', access !== 'read'];
    const watches = watchTargets(wanted, session).map((one) => ({ target: one, read, write }));
    const description = describeTarget(wanted, session);
    set.push({ id, description, watches, action: new BreakpointAction(options, undefined) });
    return { id, verified: true, message: description };
  } catch (error) {
    if (!isUserError(error)) {
      throw error;
    }
    return { id, verified: false, message: error.message };
  }
}
