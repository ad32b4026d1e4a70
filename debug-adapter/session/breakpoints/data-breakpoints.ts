import type { DebugProtocol as P } from '@vscode/debugprotocol';
import { isUserError, UserError } from '../../errors.ts';
import { hex } from '../../program/byte-reader.ts';
import { evaluateText } from '../evaluate-text.ts';
import type { Handlers } from '../handlers.ts';
import type { Session } from '../session.ts';
import { expressionOfVariable } from '../variables.ts';
import { type DataBreakpoint, type DataRange, formatDataId, makeAction, parseDataId } from './data-breakpoint-table.ts';
import { hostPhysicalRanges } from './host-physical.ts';

const MAXIMUM_BYTES = 4096;

export const dataBreakpoints: Handlers = {
  dataBreakpointInfo(args, session) {
    try {
      const range = rangeOf(args, session);
      return {
        dataId: formatDataId(range),
        description: describeRange(range, session),
        accessTypes: ['read', 'write', 'readWrite'],
        canPersist: range.space !== 'linear',
      };
    } catch (error) {
      if (!isUserError(error)) {
        throw error;
      }
      return { dataId: null, description: error.message };
    }
  },

  setDataBreakpoints({ breakpoints }, session) {
    const set: DataBreakpoint[] = [];
    const answers = breakpoints.map((one) => setOne(one, set, session));
    session.dataBreakpoints.set(set);
    session.debuggee.control.setWatches(session.dataBreakpoints.watches());
    return { breakpoints: answers };
  },
};

function rangeOf(args: P.DataBreakpointInfoArguments, session: Session): DataRange {
  const name =
    args.variablesReference === undefined
      ? args.name
      : expressionOfVariable(args.variablesReference, args.name, session);
  const { result, context } = evaluateText(
    name,
    session,
    args.variablesReference === undefined ? args.frameId : undefined,
  );
  const vcpu = context.vcpu.index;
  if (args.bytes !== undefined && (args.bytes < 1 || args.bytes > MAXIMUM_BYTES)) {
    throw new UserError('The range is too large', {
      expected: `1 to ${MAXIMUM_BYTES} bytes`,
      found: String(args.bytes),
    });
  }
  if (result.place?.kind === 'memory' && args.asAddress !== true) {
    const { space, address, lengthBytes } = result.place;
    return { space, address, lengthBytes: args.bytes ?? lengthBytes, vcpu };
  }
  const isAddress = args.asAddress === true || result.symbol !== undefined || result.space !== undefined;
  if (!isAddress) {
    throw new UserError(`${args.name} is not memory`, {
      expected: 'memory, as dword [rsp], a symbol, or an address',
      found: result.place?.kind === 'register' ? 'a register' : 'a value',
    });
  }
  const lengthBytes = args.bytes ?? (sizeOfSymbol(result.symbol, session) || context.vcpu.mode().codeSize / 8);
  return { space: result.space ?? 'linear', address: result.value, lengthBytes, vcpu };
}

function sizeOfSymbol(name: string | undefined, session: Session): number {
  return name === undefined ? 0 : Math.min(MAXIMUM_BYTES, session.debuggee.program.symbols.find(name)?.size ?? 0);
}

function describeRange({ space, address, lengthBytes }: DataRange, session: Session): string {
  const symbol = space === 'linear' ? session.debuggee.program.symbols.describe(address) : undefined;
  const where = symbol ?? `${space} ${hex(address)}`;
  return `${where} (${lengthBytes} ${lengthBytes === 1 ? 'byte' : 'bytes'})`;
}

function setOne(wanted: P.DataBreakpoint, set: DataBreakpoint[], session: Session): P.Breakpoint {
  const id = session.breakpoints.takeId();
  try {
    const range = parseDataId(wanted.dataId);
    if (range === undefined) {
      throw new UserError('The data breakpoint is not of this program');
    }
    const ranges = hostPhysicalRanges(range, session.vcpu(range.vcpu));
    if (ranges === undefined) {
      throw new UserError(`${describeRange(range, session)} is not mapped now`, {
        whatToDo: 'set it again once it is',
      });
    }
    const access = wanted.accessType ?? 'write';
    set.push({
      id,
      description: describeRange(range, session),
      read: access !== 'write',
      write: access !== 'read',
      ranges,
      action: makeAction(wanted),
    });
    return { id, verified: true };
  } catch (error) {
    if (!isUserError(error)) {
      throw error;
    }
    return { id, verified: false, message: error.message };
  }
}
