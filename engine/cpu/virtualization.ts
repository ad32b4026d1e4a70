/** Hardware virtualization, be it VT-x or AMD-V, as the run loop sees it: events at instruction boundaries, and exits. */
import type { VmExit } from './events.ts';

/** What became of a pending interrupt. */
export type InterruptOutcome = 'blocked' | 'delivered' | 'vm-exit';

/** What INIT does now; `kept`: there was an exit, and INIT stays pending; `exception`: it became one. */
export type InitOutcome = 'blocked' | 'reset' | 'vm-exit' | 'kept' | 'exception';

export interface HardwareVirtualization {
  /** VM exits by their code since the machine was made: basic exit reason, or index of the exit code. */
  readonly exitCounts: Float64Array;
  /** The manual's name of what is counted there. */
  exitName(index: number): string;
  /** To be called after another state was put in place: a restored snapshot, or another vCPU. */
  stateReplaced(): void;
  /** Performs a VM exit of the instruction at RIP, or of an event before it. */
  exit(event: VmExit, instructionLengthBytes?: number): void;
  /** Whether the exit reports the length of the instruction at RIP. */
  reportsLength(event: VmExit): boolean;

  /** To be called before all else at an instruction boundary. */
  completeInstruction(): void;
  /** Takes the VM exit that comes before traps of the last instruction. These return false if there is none. */
  exitBeforeTraps(): boolean;
  /** Takes the VM exit that comes after those traps, whatever else the processor does. */
  exitByTimer(): boolean;
  /** Takes the VM exit that comes next, before NMIs. */
  exitBeforeNmis(): boolean;
  /** A non-maskable interrupt is pending at an instruction boundary; `isTaken`: it is so no longer. */
  offerNmi(): { readonly happened: boolean; readonly isTaken: boolean };
  /** Takes what comes next: windows for interrupts, virtual and physical ones, if one is pending. */
  offerInterrupt(isPending: boolean, acknowledge: () => number): boolean;
  /** Whether `offerInterrupt` or `exitByTimer` would do something: worth leaving compiled code for. */
  wantsInterrupt(isPending: boolean): boolean;
  /** Whether an interrupt, if there were one, could end a wait. */
  readonly canWake: boolean;

  /** INIT has arrived. */
  onInit(): InitOutcome;
  /** A start-up IPI has arrived for a processor that waits for one; false: it is the processor's. */
  onStartUp(vector: number): boolean;
}
