import type { Stop } from '../../engine-target.ts';
import { hex } from '../../hexadecimal.ts';
import type { SymbolTable } from '../../program/symbols.ts';
import type { BreakpointKind } from '../breakpoints/breakpoint-table.ts';
import type { DataHit } from '../breakpoints/data-breakpoint-table.ts';
import { describeChange } from '../breakpoints/data-expression.ts';
import { sentenceOf } from '../breakpoints/filter-descriptions.ts';
import type { Debuggee } from '../debuggee.ts';
import type { Outcome } from '../outcome.ts';
import type { Session } from '../session.ts';

/** Which way the machine runs. Backwards, hits are not counted and nothing is logged. */
export type Direction = 'forth' | 'back';

/**
 * What a stop of the engine means to the user, or undefined if the machine is to go on: a limit, a breakpoint whose
 * condition does not hold, a log point, an event that only a step waits for.
 */
export function judge(
  session: Session,
  debuggee: Debuggee,
  stop: Stop,
  direction: Direction = 'forth',
): Outcome | undefined {
  switch (stop.kind) {
    case 'limit':
      return undefined;
    case 'paused':
      return { reason: 'pause', vcpu: debuggee.control.currentVcpu, stop };
    case 'breakpoint':
      return direction === 'back'
        ? judgeBreakpointBack(session, debuggee, stop)
        : judgeBreakpoint(session, debuggee, stop);
    case 'watch':
      return judgeWatch(session, stop, direction);
    case 'event':
      return debuggee.stopPoints.isUserEvent(stop.event) ? atEvent(stop) : undefined;
    case 'exited':
      return { reason: 'exited', vcpu: 0, stop, exitCode: stop.code, text: stop.how };
    case 'halted':
      return exception(stop, stop.vcpu, 'halted', 'Halted', stop.explanation);
    case 'shutdown':
      return exception(stop, stop.vcpu, 'shutdown', 'Shutdown', stop.explanation);
    case 'unimplemented':
      return exception(
        stop,
        stop.vcpu,
        'unimplemented',
        `Not implemented: ${stop.what}`,
        `The guest needs ${stop.what}, which this version of Ringside does not have. The machine stands before it; it cannot go on.`,
      );
  }
}

function atEvent(stop: Stop & { kind: 'event' }): Outcome {
  const { vcpu, filter, title, explanation } = stop.event;
  const description = `Paused on ${sentenceOf(filter)}`;
  return { reason: 'exception', vcpu, stop, exceptionId: filter, description, text: title, explanation };
}

function exception(stop: Stop, vcpu: number, exceptionId: string, text: string, explanation: string): Outcome {
  return { reason: 'exception', vcpu, stop, exceptionId, text, description: text, explanation: [explanation] };
}

function judgeBreakpoint(
  session: Session,
  debuggee: Debuggee,
  stop: Stop & { kind: 'breakpoint' },
): Outcome | undefined {
  const { vcpu, address } = stop;
  if (!debuggee.stopPoints.isUserBreakpoint(address)) {
    return undefined;
  }
  const count = debuggee.control.instructionCount;
  const last = debuggee.lastBreakpoint;
  if (last !== undefined && last.vcpu === vcpu && last.address === address && last.count === count) {
    return undefined;
  }
  debuggee.lastBreakpoint = { vcpu, address, count };
  const hit = session.breakpoints.hit(address, debuggee.vcpu(vcpu), debuggee.program.symbols);
  for (const text of hit.messages) {
    session.print(text, 'console');
  }
  return atBreakpoints(stop, hit.stopping);
}

function judgeBreakpointBack(
  session: Session,
  debuggee: Debuggee,
  stop: Stop & { kind: 'breakpoint' },
): Outcome | undefined {
  const { vcpu, address } = stop;
  return atBreakpoints(stop, session.breakpoints.stopping(address, debuggee.vcpu(vcpu), debuggee.program.symbols));
}

function atBreakpoints(
  stop: Stop & { kind: 'breakpoint' },
  stopping: readonly { readonly id: number; readonly kind: BreakpointKind }[],
): Outcome | undefined {
  const { vcpu } = stop;
  const [first] = stopping;
  if (first === undefined) {
    return undefined;
  }
  const reason = first.kind === 'source' ? 'breakpoint' : (`${first.kind} breakpoint` as const);
  return { reason, vcpu, stop, breakpointIds: stopping.map((breakpoint) => breakpoint.id) };
}

function judgeWatch(session: Session, stop: Stop & { kind: 'watch' }, direction: Direction): Outcome | undefined {
  const { dataBreakpoints, debuggee } = session;
  const { symbols } = debuggee.program;
  const vcpu = session.vcpu(stop.vcpu);
  const back = direction === 'back';
  const { stopping, messages } = back
    ? { stopping: dataBreakpoints.stopping(stop, vcpu, symbols), messages: [] }
    : dataBreakpoints.hit(stop, vcpu, symbols);
  for (const text of messages) {
    session.print(text, 'console');
  }
  if (stopping.length === 0) {
    return undefined;
  }
  return {
    reason: 'data breakpoint',
    vcpu: stop.vcpu,
    stop,
    breakpointIds: stopping.map(({ breakpoint }) => breakpoint.id),
    description: 'Paused on data breakpoint',
    text: stopping.map((one) => describeHit(one, symbols)).join('; '),
  };
}

/** `CR3 is written by MOV at main+0x4: 0x1000 → 0x2000`. */
function describeHit({ breakpoint, hit }: DataHit, symbols: SymbolTable): string {
  const { access, by, instruction, before, after } = hit;
  const verb = access === 'write' ? 'written' : 'read';
  const where = instruction === undefined ? '' : ` at ${symbols.describe(instruction) ?? hex(instruction)}`;
  return `${breakpoint.description} is ${verb} by ${by}${where}: ${describeChange(before, after)}`;
}
