import { dataBreakpoints } from './breakpoints/data-breakpoints.ts';
import { exceptionFilters } from './breakpoints/exception-filters.ts';
import { functionBreakpoints } from './breakpoints/function-breakpoints.ts';
import { sourceBreakpoints } from './breakpoints/source-breakpoints.ts';
import { completions } from './completions.ts';
import { disassembly } from './disassemble.ts';
import { evaluation } from './evaluate.ts';
import { execution } from './execution.ts';
import type { Handlers } from './handlers.ts';
import { initialize } from './initialize.ts';
import { exits } from './inspect/exits.ts';
import { views } from './inspect/views.ts';
import { vmcs } from './inspect/vmcs.ts';
import { launch } from './launch.ts';
import { memory } from './memory.ts';
import { modules } from './modules.ts';
import { stackTrace } from './stack/stack-trace.ts';
import { variables } from './variables.ts';

/** Everything the adapter answers, one feature a file. */
export const features: readonly Handlers[] = [
  initialize,
  launch,
  execution,
  sourceBreakpoints,
  functionBreakpoints,
  dataBreakpoints,
  exceptionFilters,
  stackTrace,
  variables,
  evaluation,
  completions,
  memory,
  disassembly,
  modules,
  views,
  exits,
  vmcs,
];
