import type { DebugProtocol as P } from '@vscode/debugprotocol';
import { closest } from '../../closest.ts';
import { isUserError } from '../../errors.ts';
import { hex } from '../../hexadecimal.ts';
import { evaluateText } from '../evaluate-text.ts';
import type { Handlers } from '../handlers.ts';
import { formatReference, resolveReference } from '../memory-reference.ts';
import type { Session } from '../session.ts';
import { sourceOf } from '../sources.ts';
import { type Resolution, toDap } from './breakpoint-table.ts';
import { type DataRequest, resolveData } from './data-breakpoints.ts';
import { dataTargetOf } from './data-expression.ts';
import { applyBreakpoints, firstVcpu } from './source-breakpoints.ts';

/** `write cr3`, `read msr:0x10`, `access port:0x3f8`: a function breakpoint that names data. */
const ON_DATA = /^\s*(read|write|access)\s+(\S.*)$/i;

/** Breakpoints by name (`main`, `vm_exit+4`) and by address, as from the disassembly. */
export const functionBreakpoints: Handlers = {
  setFunctionBreakpoints({ breakpoints }, session) {
    const isOnData = ({ name }: P.FunctionBreakpoint) => ON_DATA.test(name);
    const requests = breakpoints
      .filter((one) => !isOnData(one))
      .map((one) => ({
        kind: 'function' as const,
        condition: one.condition,
        hitCondition: one.hitCondition,
        resolve: () => resolveFunction(one.name, session),
      }));
    session.dataRequests.functions = breakpoints.filter(isOnData).map((one) => dataRequest(one, session));
    const onData = resolveData('functions', session);
    const onCode = session.breakpoints.replace('functions', requests, firstVcpu(session)).map(toDap);
    applyBreakpoints(session);
    return { breakpoints: breakpoints.map((one) => (isOnData(one) ? onData : onCode).shift() as P.Breakpoint) };
  },

  setInstructionBreakpoints({ breakpoints }, session) {
    const requests = breakpoints.map((one) => ({
      kind: 'instruction' as const,
      condition: one.condition,
      hitCondition: one.hitCondition,
      mode: one.mode,
      resolve: () => resolveInstruction(one.instructionReference, one.offset ?? 0, session),
    }));
    const entries = session.breakpoints.replace('instructions', requests, firstVcpu(session));
    applyBreakpoints(session);
    return { breakpoints: entries.map(toDap) };
  },
};

function dataRequest(options: P.FunctionBreakpoint, session: Session): DataRequest {
  const [, verb = '', text = ''] = ON_DATA.exec(options.name) ?? [];
  const access = verb.toLowerCase();
  return {
    id: session.breakpoints.takeId(),
    access: access === 'read' || access === 'write' ? access : 'readWrite',
    options,
    target: () => dataTargetOf(text, session),
  };
}

function resolveFunction(name: string, session: Session): Resolution {
  const program = session.optionalDebuggee?.program;
  if (program === undefined) {
    return { addresses: [], shown: {}, problem: 'The program is not loaded yet' };
  }
  const code = program.symbols.findAll(name).filter((symbol) => symbol.kind !== 'constant');
  if (code.length > 0) {
    return at([...new Set(code.map((symbol) => BigInt.asUintN(64, symbol.address)))], session);
  }
  try {
    const { value } = evaluateText(name, session, undefined).result;
    return at([value], session);
  } catch (error) {
    if (!isUserError(error)) {
      throw error;
    }
    const near = closest(name, program.symbols.namesFrom('', 5000));
    const hint = near === undefined ? '' : ` Did you mean ${near}?`;
    return { addresses: [], shown: {}, problem: `The program has no symbol ${name}.${hint}` };
  }
}

function resolveInstruction(reference: string, offset: number, session: Session): Resolution {
  try {
    const { address } = resolveReference(reference, session);
    return at([BigInt.asUintN(64, address + BigInt(offset))], session);
  } catch (error) {
    if (!isUserError(error)) {
      throw error;
    }
    return { addresses: [], shown: {}, problem: error.message };
  }
}

function at(addresses: readonly bigint[], session: Session): Resolution {
  const [first] = addresses;
  if (first === undefined) {
    return { addresses, shown: {} };
  }
  const line = session.debuggee.program.lines.at(first);
  const offset = session.client.linesStartAt1 ? 0 : 1;
  const shown = {
    instructionReference: formatReference({ space: 'linear', address: first, vcpu: 0 }),
    ...(line === undefined
      ? { message: `At ${hex(first)}` }
      : { source: sourceOf(line.path), line: line.line - offset }),
  };
  return { addresses, shown };
}
