import type { CreateTarget, Vcpu } from '../engine-target.ts';
import { UserError } from '../errors.ts';
import { hex } from '../hexadecimal.ts';
import type { LoadServices } from '../program/load-program.ts';
import { BreakpointTable } from './breakpoints/breakpoint-table.ts';
import { DataBreakpointTable } from './breakpoints/data-breakpoint-table.ts';
import type { DataRequest } from './breakpoints/data-breakpoints.ts';
import { FilterTable } from './breakpoints/filter-table.ts';
import type { LaunchConfiguration } from './configuration.ts';
import { Containers } from './containers.ts';
import type { Debuggee } from './debuggee.ts';
import { type Frame, FrameTable } from './frame-table.ts';
import { announceStop } from './lifecycle.ts';
import type { Outcome } from './outcome.ts';
import { VirtualSources } from './virtual-sources.ts';

/** What the host gives the adapter: files, the assembler, the machine. */
export interface AdapterServices extends LoadServices {
  readonly createTarget: CreateTarget;
}

/** What the client said of itself in `initialize`. */
export interface Client {
  readonly linesStartAt1: boolean;
  readonly columnsStartAt1: boolean;
  readonly supportsInvalidated: boolean;
  readonly supportsMemoryEvent: boolean;
  readonly supportsProgress: boolean;
}

export type SendEvent = (event: string, body?: unknown) => void;

/** The state of one debug session. What outlives a restart is here, the rest in the debuggee. */
export class Session {
  readonly services: AdapterServices;
  readonly send: SendEvent;
  client: Client = {
    linesStartAt1: true,
    columnsStartAt1: true,
    supportsInvalidated: false,
    supportsMemoryEvent: false,
    supportsProgress: false,
  };
  readonly breakpoints = new BreakpointTable();
  readonly dataBreakpoints = new DataBreakpointTable();
  /** What the client wants of them, to be found anew in a program that is started again. */
  readonly dataRequests: Record<'data' | 'functions', readonly DataRequest[]> = { data: [], functions: [] };
  readonly filters = new FilterTable();
  readonly containers = new Containers();
  readonly frames = new FrameTable();
  readonly sources = new VirtualSources();
  configuration: LaunchConfiguration | undefined;
  /** True once the client has sent its breakpoints. */
  isConfigured = false;
  /** Why the machine stands. */
  lastOutcome: Outcome | undefined;
  #current: Debuggee | undefined;
  readonly #deferred: (() => void)[] = [];

  constructor(services: AdapterServices, send: SendEvent) {
    this.services = services;
    this.send = send;
  }

  /** @throws UserError before launch and after the end */
  get debuggee(): Debuggee {
    if (this.#current === undefined) {
      throw new UserError('No program is being debugged', { whatToDo: 'start one with F5' });
    }
    return this.#current;
  }

  get optionalDebuggee(): Debuggee | undefined {
    return this.#current;
  }

  set debuggee(debuggee: Debuggee | undefined) {
    this.#current?.dispose();
    this.#current = debuggee;
  }

  /** Does it once the answer of the request being handled has been sent. */
  defer(action: () => void): void {
    this.#deferred.push(action);
  }

  afterResponse(): void {
    for (const action of this.#deferred.splice(0)) {
      action();
    }
  }

  /** A vCPU by its index; by default the one that stopped last. */
  vcpu(index: number = this.lastOutcome?.vcpu ?? 0): Vcpu {
    const { vcpus } = this.debuggee.control;
    const vcpu = vcpus[index];
    if (vcpu === undefined) {
      throw new UserError('There is no such vCPU', { expected: `0 to ${vcpus.length - 1}`, found: String(index) });
    }
    return vcpu;
  }

  /** A vCPU by the id of its thread. */
  vcpuOfThread(threadId: number): Vcpu {
    return this.vcpu(threadId - 1);
  }

  frame(id: number | undefined): Frame | undefined {
    return id === undefined ? undefined : this.frames.get(id);
  }

  /** The machine stands. */
  stopped(outcome: Outcome): void {
    announceStop(this, outcome);
  }

  /** Writes to the debug console. */
  print(text: string, category: 'console' | 'stdout' | 'stderr' | 'important' = 'console', more: object = {}): void {
    this.send('output', { category, output: text.endsWith('\n') ? text : `${text}\n`, ...more });
  }

  describeInternalError(error: unknown): string {
    const control = this.#current?.control;
    const message = error instanceof Error ? error.message : String(error);
    const where =
      control === undefined || /RIP/.test(message)
        ? ''
        : ` at RIP ${hex(control.vcpus[control.currentVcpu]?.rip ?? 0n)}, instruction ${control.instructionCount}`;
    return `Internal error${where}: ${message.replace(/^internal error /i, '')}. Please report it with the program.`;
  }
}
