import type { DebugProtocol as P } from '@vscode/debugprotocol';
import type { Vcpu } from '../../engine-target.ts';
import { isUserError } from '../../errors.ts';
import { pathKey } from '../../program/source-path.ts';
import type { SymbolTable } from '../../program/symbols.ts';
import { BreakpointAction, type BreakpointOptions } from './breakpoint.ts';

export type BreakpointKind = 'source' | 'function' | 'instruction';

/** Where a breakpoint is, found anew for each program. */
export interface Resolution {
  readonly addresses: readonly bigint[];
  /** What the client is told: line, column, source, instruction. */
  readonly shown: Partial<P.Breakpoint>;
  /** Why there is no address. */
  readonly problem?: string;
}

export interface BreakpointRequest extends BreakpointOptions {
  readonly kind: BreakpointKind;
  readonly resolve: () => Resolution;
}

export interface TableEntry {
  readonly id: number;
  readonly kind: BreakpointKind;
  readonly request: BreakpointRequest;
  readonly action: BreakpointAction | undefined;
  /** Why the options cannot be used. */
  readonly optionsProblem: string | undefined;
  resolution: Resolution;
}

/** All breakpoints of code, as the client has set them: one list for each file, one for functions and instructions. */
export class BreakpointTable {
  readonly #lists = new Map<string, readonly TableEntry[]>();
  #nextId = 1;

  /** An id for a breakpoint of any kind. */
  takeId(): number {
    const id = this.#nextId;
    this.#nextId += 1;
    return id;
  }

  /** Replaces the breakpoints of a list. */
  replace(list: string, requests: readonly BreakpointRequest[], vcpu: Vcpu | undefined): readonly TableEntry[] {
    const entries = requests.map((request) => this.#entry(request, vcpu));
    this.#lists.set(list, entries);
    return entries;
  }

  /** Finds the addresses anew, after a restart; returns the entries. */
  resolveAll(): readonly TableEntry[] {
    const all = this.#all();
    for (const entry of all) {
      entry.resolution = entry.request.resolve();
    }
    return all;
  }

  /** Every address that the machine is to stop at. */
  addresses(): bigint[] {
    return this.#all()
      .filter((entry) => entry.optionsProblem === undefined)
      .flatMap((entry) => entry.resolution.addresses);
  }

  /** Counts a hit of all breakpoints at an address. */
  hit(address: bigint, vcpu: Vcpu, symbols: SymbolTable): { stopping: TableEntry[]; messages: string[] } {
    const stopping: TableEntry[] = [];
    const messages: string[] = [];
    for (const entry of this.#all()) {
      if (entry.action !== undefined && entry.resolution.addresses.includes(address)) {
        const { stops, message } = entry.action.hit(vcpu, symbols);
        if (stops) stopping.push(entry);
        if (message !== undefined) messages.push(message);
      }
    }
    return { stopping, messages };
  }

  /** Those at an address that stop a run backwards: hits are not counted there, and nothing is logged. */
  stopping(address: bigint, vcpu: Vcpu, symbols: SymbolTable): TableEntry[] {
    return this.#all().filter(
      ({ action, resolution }) => resolution.addresses.includes(address) && action?.stops(vcpu, symbols),
    );
  }

  #all(): readonly TableEntry[] {
    return [...this.#lists.values()].flat();
  }

  #entry(request: BreakpointRequest, vcpu: Vcpu | undefined): TableEntry {
    const common = { id: this.takeId(), kind: request.kind, request, resolution: request.resolve() };
    try {
      return { ...common, action: new BreakpointAction(request, vcpu), optionsProblem: undefined };
    } catch (error) {
      if (!isUserError(error)) {
        throw error;
      }
      return { ...common, action: undefined, optionsProblem: error.message };
    }
  }
}

/** The list of a source file's breakpoints. */
export function listOfSource(path: string): string {
  return `source ${pathKey(path)}`;
}

/** What the client is told of a breakpoint. */
export function toDap({ id, optionsProblem, resolution }: TableEntry): P.Breakpoint {
  const problem = optionsProblem ?? resolution.problem;
  return {
    id,
    verified: problem === undefined && resolution.addresses.length > 0,
    ...resolution.shown,
    ...(problem === undefined ? {} : { message: problem, reason: 'failed' as const }),
  };
}
