import type { MachineEvent, StopFilter } from '../../engine-target.ts';
import { isUserError, UserError } from '../../errors.ts';
import { evaluate, isTrue } from '../../expression/evaluate.ts';
import { parseExpression } from '../../expression/parser.ts';
import type { ParsedExpression } from '../../expression/syntax.ts';
import type { Debuggee } from '../debuggee.ts';
import type { FilterRequest } from '../run/stop-points.ts';

export interface FilterSetting {
  readonly filter: StopFilter;
  readonly condition: ParsedExpression | undefined;
}

/** The exception filters that the user has armed. */
export class FilterTable {
  #settings: readonly FilterSetting[] = [];

  set(settings: readonly FilterSetting[]): void {
    this.#settings = settings;
  }

  /** Hands the filters to the machine; `report` gets what is wrong with a condition, once for each. */
  apply(debuggee: Debuggee, report: (message: string) => void): void {
    const requests = new Map<StopFilter, FilterRequest>();
    for (const { filter, condition } of this.#settings) {
      requests.set(filter, { condition: condition && eventTest(filter, condition, debuggee, report) });
    }
    debuggee.stopPoints.setFilters(requests);
  }
}

/** @throws UserError if the condition cannot be parsed */
export function parseCondition(text: string | undefined): ParsedExpression | undefined {
  return text === undefined || text.trim() === '' ? undefined : parseExpression(text);
}

/** A condition that cannot be evaluated stops: better once too often than never. */
function eventTest(
  filter: StopFilter,
  condition: ParsedExpression,
  debuggee: Debuggee,
  report: (message: string) => void,
) {
  let isReported = false;
  return (event: MachineEvent): boolean => {
    try {
      return isTrue(
        evaluate(condition.root, {
          vcpu: debuggee.vcpu(event.vcpu),
          symbols: debuggee.program.symbols,
          values: event.values,
        }),
      );
    } catch (error) {
      if (!isUserError(error)) {
        throw error;
      }
      if (!isReported) {
        report(`The condition of "${filter}" cannot be evaluated, so it stops: ${error.message}`);
        isReported = true;
      }
      return true;
    }
  };
}

export function unknownFilter(id: string, known: readonly string[]): UserError {
  return new UserError('The filter is not known', { expected: known.join(', '), found: id });
}
