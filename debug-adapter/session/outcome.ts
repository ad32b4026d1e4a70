import type { Stop } from '../engine-target.ts';

export type OutcomeReason =
  | 'entry'
  | 'step'
  | 'breakpoint'
  | 'function breakpoint'
  | 'instruction breakpoint'
  | 'data breakpoint'
  | 'pause'
  | 'goto'
  | 'exception'
  | 'exited';

/** Why the machine stands, as DAP tells it. */
export interface Outcome {
  readonly reason: OutcomeReason;
  readonly vcpu: number;
  /** What the engine said, where it was the engine that stopped. */
  readonly stop?: Stop;
  readonly breakpointIds?: readonly number[];
  /** Short, for the call stack: `Paused on VM exit`. */
  readonly description?: string;
  /** One line: `VM exit: EPT violation (48)`. */
  readonly text?: string;
  /** Paragraphs, for exceptionInfo. */
  readonly explanation?: readonly string[];
  /** What kind of exception: the filter, or `internal-error`. */
  readonly exceptionId?: string;
  /** Of `exited`. */
  readonly exitCode?: number;
}
