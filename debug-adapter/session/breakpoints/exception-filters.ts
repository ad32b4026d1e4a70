import type { DebugProtocol as P } from '@vscode/debugprotocol';
import { stopFilters } from '../../engine-target.ts';
import { isUserError } from '../../errors.ts';
import type { Handlers } from '../handlers.ts';
import type { Session } from '../session.ts';
import { filterDescriptions } from './filter-descriptions.ts';
import { type FilterSetting, parseCondition, unknownFilter } from './filter-table.ts';

/** For `initialize`: one filter for each kind of event that the engine can stop at, each with a condition. */
export const exceptionBreakpointFilters: P.ExceptionBreakpointsFilter[] = stopFilters.map((filter) => {
  const { label, description, condition, isDefault } = filterDescriptions[filter];
  return {
    filter,
    label,
    description,
    default: isDefault ?? false,
    supportsCondition: true,
    conditionDescription: condition,
  };
});

export const exceptionFilters: Handlers = {
  setExceptionBreakpoints({ filters, filterOptions = [] }, session) {
    const wanted = [...filters.map((filterId) => ({ filterId, condition: undefined })), ...filterOptions];
    const settings: FilterSetting[] = [];
    const breakpoints = wanted.map((one) => readSetting(one, settings));
    session.filters.set(settings);
    applyFilters(session);
    return { breakpoints };
  },

  exceptionInfo(_, session) {
    const outcome = session.lastOutcome;
    const text = outcome?.text ?? outcome?.description ?? 'The machine stands';
    const explanation = outcome?.explanation ?? [];
    return {
      exceptionId: outcome?.exceptionId ?? outcome?.reason ?? 'stopped',
      description: [text, ...explanation].join('\n'),
      breakMode: 'always',
      details: {
        message: explanation.join('\n'),
        typeName: outcome?.exceptionId ?? 'stop',
        ...(outcome?.stop?.kind === 'event' ? { stackTrace: eventValues(outcome.stop.event.values) } : {}),
      },
    };
  },
};

/** Hands the filters to the machine. */
export function applyFilters(session: Session): void {
  const debuggee = session.optionalDebuggee;
  if (debuggee !== undefined && !debuggee.configuration.noDebug) {
    session.filters.apply(debuggee, (message) => session.print(message, 'important'));
  }
}

function readSetting(
  { filterId, condition }: { filterId: string; condition?: string | undefined },
  settings: FilterSetting[],
): P.Breakpoint {
  try {
    const filter = stopFilters.find((one) => one === filterId);
    if (filter === undefined) {
      throw unknownFilter(filterId, stopFilters);
    }
    settings.push({ filter, condition: parseCondition(condition) });
    return { verified: true };
  } catch (error) {
    if (!isUserError(error)) {
      throw error;
    }
    return { verified: false, message: error.message };
  }
}

/** What conditions can ask, in one paragraph: VS Code shows all of it above the line, and the line is to be seen too. */
function eventValues(values: Readonly<Record<string, bigint | string>>): string {
  const asked = Object.entries(values).map(
    ([name, value]) => `${name} = ${typeof value === 'bigint' ? number(value) : value}`,
  );
  return `A condition can ask for: ${asked.join(', ')}`;
}

/** Small numbers in decimal, as the manual numbers exit reasons and vectors. */
const number = (value: bigint): string =>
  value >= 0n && value < 256n ? String(value) : `0x${BigInt.asUintN(64, value).toString(16)}`;
