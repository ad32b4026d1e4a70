import type { DebugProtocol as P } from '@vscode/debugprotocol';
import type { Handlers } from '../handlers.ts';
import type { Session } from '../session.ts';
import { sourceOf } from '../sources.ts';
import { listOfSource, type Resolution, toDap } from './breakpoint-table.ts';

export const sourceBreakpoints: Handlers = {
  setBreakpoints({ source, breakpoints = [], lines }, session) {
    const path = source.path ?? '';
    const wanted: readonly P.SourceBreakpoint[] =
      breakpoints.length > 0 ? breakpoints : (lines ?? []).map((line) => ({ line }));
    const requests = wanted.map((one) => ({
      kind: 'source' as const,
      condition: one.condition,
      hitCondition: one.hitCondition,
      logMessage: one.logMessage,
      mode: one.mode,
      resolve: () => resolve(path, one, session),
    }));
    const entries = session.breakpoints.replace(listOfSource(path), requests, firstVcpu(session));
    applyBreakpoints(session);
    return { breakpoints: entries.map(toDap) };
  },

  breakpointLocations({ source, line, endLine }, session) {
    const offset = session.client.linesStartAt1 ? 0 : 1;
    const locations = session.debuggee.program.lines.breakpointLocations(
      source.path ?? '',
      line + offset,
      (endLine ?? line) + offset,
    );
    return {
      breakpoints: locations.map((at) => ({
        line: at.line - offset,
        ...(at.column > 0 ? { column: toClientColumn(at.column, session) } : {}),
      })),
    };
  },
};

export function firstVcpu(session: Session) {
  return session.optionalDebuggee === undefined ? undefined : session.vcpu();
}

/** Hands all breakpoints to the machine. */
export function applyBreakpoints(session: Session): void {
  const debuggee = session.optionalDebuggee;
  if (debuggee !== undefined) {
    debuggee.stopPoints.setBreakpoints(debuggee.configuration.noDebug ? [] : session.breakpoints.addresses());
  }
}

function toClientColumn(column: number, session: Session): number {
  return session.client.columnsStartAt1 ? column : column - 1;
}

/** A line without code gives way to the next one that has some. */
function resolve(path: string, wanted: P.SourceBreakpoint, session: Session): Resolution {
  const lines = session.optionalDebuggee?.program.lines;
  const offset = session.client.linesStartAt1 ? 0 : 1;
  const columnOffset = session.client.columnsStartAt1 ? 0 : 1;
  const column = wanted.column === undefined ? undefined : wanted.column + columnOffset;
  const shown = { line: wanted.line, source: sourceOf(path) };
  if (lines === undefined) {
    return { addresses: [], shown, problem: 'The program is not loaded yet' };
  }
  const found = lines.addressesOf(path, wanted.line + offset, column);
  if (found !== undefined) {
    const { line, addresses } = found;
    const columnShown =
      wanted.column !== undefined && found.column > 0 ? { column: toClientColumn(found.column, session) } : {};
    return { addresses, shown: { ...shown, line: line - offset, ...columnShown } };
  }
  const isKnown = lines.breakpointLocations(path, 1, Number.MAX_SAFE_INTEGER).length > 0;
  const problem = isKnown
    ? 'There is no code on this line or below it'
    : `The program has no code of this file; it is made of ${sourceNames(lines.sources)}`;
  return { addresses: [], shown, problem };
}

function sourceNames(sources: readonly string[]): string {
  const names = sources.slice(0, 5).map((path) => sourceOf(path).name ?? path);
  return names.length === 0 ? 'no source files: build it with debug information' : names.join(', ');
}
