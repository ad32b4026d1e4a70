import type { Stop, Vcpu, Watch, WatchHit } from '../../engine-target.ts';
import type { SymbolTable } from '../../program/symbols.ts';
import type { BreakpointAction } from './breakpoint.ts';

export interface DataBreakpoint {
  readonly id: number;
  readonly description: string;
  readonly watches: readonly Watch[];
  readonly action: BreakpointAction;
}

/** A data breakpoint that was hit, and by what. */
export interface DataHit {
  readonly breakpoint: DataBreakpoint;
  readonly hit: WatchHit;
}

type WatchStop = Stop & { kind: 'watch' };

/** The data breakpoints that the client has set: those that it calls so, and function breakpoints that name data. */
export class DataBreakpointTable {
  readonly #lists = new Map<'data' | 'functions', readonly DataBreakpoint[]>();

  set(list: 'data' | 'functions', breakpoints: readonly DataBreakpoint[]): void {
    this.#lists.set(list, breakpoints);
  }

  watches(): Watch[] {
    return this.#all().flatMap(({ watches }) => watches);
  }

  /** Those that an access hits and whose conditions hold; what others print instead of stopping. */
  hit(stop: WatchStop, vcpu: Vcpu, symbols: SymbolTable): { stopping: DataHit[]; messages: string[] } {
    const messages: string[] = [];
    const stopping = this.#at(stop).filter(({ breakpoint }) => {
      const { stops, message } = breakpoint.action.hit(vcpu, symbols);
      if (message !== undefined) messages.push(message);
      return stops;
    });
    return { stopping, messages };
  }
  /** Those that stop a run backwards. */
  stopping(stop: WatchStop, vcpu: Vcpu, symbols: SymbolTable): DataHit[] {
    return this.#at(stop).filter(({ breakpoint }) => breakpoint.action.stops(vcpu, symbols));
  }

  #all(): readonly DataBreakpoint[] {
    return [...this.#lists.values()].flat();
  }

  #at({ hits }: WatchStop): DataHit[] {
    return this.#all().flatMap((breakpoint) => {
      const hit = hits.filter(({ watch }) => breakpoint.watches.includes(watch)).at(-1);
      return hit === undefined ? [] : [{ breakpoint, hit }];
    });
  }
}
