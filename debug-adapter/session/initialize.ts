import { breakpointModes } from './breakpoints/breakpoint.ts';
import { exceptionBreakpointFilters } from './breakpoints/exception-filters.ts';
import type { Handlers } from './handlers.ts';

export const initialize: Handlers = {
  initialize(args, session) {
    session.client = {
      linesStartAt1: args.linesStartAt1 ?? true,
      columnsStartAt1: args.columnsStartAt1 ?? true,
      supportsInvalidated: args.supportsInvalidatedEvent ?? false,
      supportsMemoryEvent: args.supportsMemoryEvent ?? false,
      supportsProgress: args.supportsProgressReporting ?? false,
    };
    return {
      supportsConfigurationDoneRequest: true,
      supportsFunctionBreakpoints: true,
      supportsConditionalBreakpoints: true,
      supportsHitConditionalBreakpoints: true,
      supportsLogPoints: true,
      supportsEvaluateForHovers: true,
      exceptionBreakpointFilters,
      supportsExceptionFilterOptions: true,
      supportsExceptionInfoRequest: true,
      supportsSetVariable: true,
      supportsSetExpression: true,
      supportsGotoTargetsRequest: true,
      supportsCompletionsRequest: true,
      completionTriggerCharacters: ['.', '[', ' ', '('],
      supportsModulesRequest: true,
      additionalModuleColumns: [{ attributeName: 'kind', label: 'Kind', type: 'string' }],
      supportsRestartRequest: true,
      supportsValueFormattingOptions: true,
      supportTerminateDebuggee: true,
      supportsDelayedStackTraceLoading: true,
      supportsLoadedSourcesRequest: true,
      supportsTerminateRequest: true,
      supportsDataBreakpoints: true,
      supportsDataBreakpointBytes: true,
      supportsReadMemoryRequest: true,
      supportsWriteMemoryRequest: true,
      supportsDisassembleRequest: true,
      supportsCancelRequest: true,
      supportsBreakpointLocationsRequest: true,
      supportsClipboardContext: true,
      supportsSteppingGranularity: true,
      supportsStepBack: true,
      supportsInstructionBreakpoints: true,
      supportsSingleThreadExecutionRequests: true,
      supportsANSIStyling: true,
      breakpointModes: breakpointModes.map(({ mode, label, description }) => ({
        mode,
        label,
        description,
        appliesTo: ['source', 'instruction'],
      })),
    };
  },
};
