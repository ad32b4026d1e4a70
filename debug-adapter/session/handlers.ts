import type { DebugProtocol as P } from '@vscode/debugprotocol';
import type { RingsideCommand, RingsideRequests } from '../protocol/requests.ts';
import type { Session } from './session.ts';

/** Arguments and body of the answer of every DAP request that the adapter knows. */
interface StandardRequests {
  initialize: [P.InitializeRequestArguments, P.Capabilities];
  launch: [Record<string, unknown>, undefined];
  attach: [Record<string, unknown>, undefined];
  restart: [P.RestartArguments | undefined, undefined];
  configurationDone: [P.ConfigurationDoneArguments | undefined, undefined];
  disconnect: [P.DisconnectArguments | undefined, undefined];
  terminate: [P.TerminateArguments | undefined, undefined];
  cancel: [P.CancelArguments, undefined];
  threads: [undefined, P.ThreadsResponse['body']];
  stackTrace: [P.StackTraceArguments, P.StackTraceResponse['body']];
  scopes: [P.ScopesArguments, P.ScopesResponse['body']];
  variables: [P.VariablesArguments, P.VariablesResponse['body']];
  setVariable: [P.SetVariableArguments, P.SetVariableResponse['body']];
  evaluate: [P.EvaluateArguments, P.EvaluateResponse['body']];
  setExpression: [P.SetExpressionArguments, P.SetExpressionResponse['body']];
  completions: [P.CompletionsArguments, P.CompletionsResponse['body']];
  source: [P.SourceArguments, P.SourceResponse['body']];
  modules: [P.ModulesArguments, P.ModulesResponse['body']];
  loadedSources: [P.LoadedSourcesArguments | undefined, P.LoadedSourcesResponse['body']];
  exceptionInfo: [P.ExceptionInfoArguments, P.ExceptionInfoResponse['body']];
  readMemory: [P.ReadMemoryArguments, P.ReadMemoryResponse['body']];
  writeMemory: [P.WriteMemoryArguments, P.WriteMemoryResponse['body']];
  disassemble: [P.DisassembleArguments, P.DisassembleResponse['body']];
  setBreakpoints: [P.SetBreakpointsArguments, P.SetBreakpointsResponse['body']];
  setFunctionBreakpoints: [P.SetFunctionBreakpointsArguments, P.SetFunctionBreakpointsResponse['body']];
  setInstructionBreakpoints: [P.SetInstructionBreakpointsArguments, P.SetInstructionBreakpointsResponse['body']];
  setExceptionBreakpoints: [P.SetExceptionBreakpointsArguments, P.SetExceptionBreakpointsResponse['body']];
  dataBreakpointInfo: [P.DataBreakpointInfoArguments, P.DataBreakpointInfoResponse['body']];
  setDataBreakpoints: [P.SetDataBreakpointsArguments, P.SetDataBreakpointsResponse['body']];
  breakpointLocations: [P.BreakpointLocationsArguments, P.BreakpointLocationsResponse['body']];
  gotoTargets: [P.GotoTargetsArguments, P.GotoTargetsResponse['body']];
  goto: [P.GotoArguments, undefined];
  continue: [P.ContinueArguments, P.ContinueResponse['body']];
  next: [P.NextArguments, undefined];
  stepIn: [P.StepInArguments, undefined];
  stepOut: [P.StepOutArguments, undefined];
  stepBack: [P.StepBackArguments, undefined];
  reverseContinue: [P.ReverseContinueArguments, undefined];
  pause: [P.PauseArguments, undefined];
}

type CustomRequests = {
  [Command in RingsideCommand]: [RingsideRequests[Command]['arguments'], RingsideRequests[Command]['response']];
};

export type Requests = StandardRequests & CustomRequests;

/**
 * The requests that a feature answers. A handler returns the body of the answer, or throws: a UserError is shown as
 * it is, everything else is an internal error.
 */
export type Handlers = {
  readonly [Command in keyof Requests]?: (
    args: Requests[Command][0],
    session: Session,
  ) => Requests[Command][1] | Promise<Requests[Command][1]>;
};
