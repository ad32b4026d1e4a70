import type { MachineControl, MachineEvent, StopFilter } from '../../engine-target.ts';

export interface FilterRequest {
  readonly condition: ((event: MachineEvent) => boolean) | undefined;
}

/**
 * What the machine is to stop at: what the user wants, and for a while what a step needs. The engine knows only both
 * together.
 */
export class StopPoints {
  readonly #control: MachineControl;
  #userBreakpoints: readonly bigint[] = [];
  #temporaryBreakpoints: readonly bigint[] = [];
  #userFilters: ReadonlyMap<StopFilter, FilterRequest> = new Map();
  #temporaryFilters: readonly StopFilter[] = [];
  #armed = new Set<StopFilter>();

  constructor(control: MachineControl) {
    this.#control = control;
  }

  setBreakpoints(addresses: readonly bigint[]): void {
    this.#userBreakpoints = addresses;
    this.#applyBreakpoints();
  }

  isUserBreakpoint(address: bigint): boolean {
    return this.#userBreakpoints.includes(address);
  }

  setFilters(filters: ReadonlyMap<StopFilter, FilterRequest>): void {
    this.#userFilters = filters;
    this.#applyFilters();
  }

  /** True if the user wants to stop at the event. */
  isUserEvent(event: MachineEvent): boolean {
    const request = this.#userFilters.get(event.filter);
    return request !== undefined && (request.condition?.(event) ?? true);
  }

  /** Stops also here, until `withdraw`. */
  addTemporary(addresses: readonly bigint[], filters: readonly StopFilter[] = []): void {
    this.#temporaryBreakpoints = addresses;
    this.#temporaryFilters = filters;
    this.#applyBreakpoints();
    if (filters.length > 0) {
      this.#applyFilters();
    }
  }

  withdraw(): void {
    const hadFilters = this.#temporaryFilters.length > 0;
    this.#temporaryBreakpoints = [];
    this.#temporaryFilters = [];
    this.#applyBreakpoints();
    if (hadFilters) {
      this.#applyFilters();
    }
  }

  #applyBreakpoints(): void {
    this.#control.setBreakpoints([...new Set([...this.#userBreakpoints, ...this.#temporaryBreakpoints])]);
  }

  #applyFilters(): void {
    const wanted = new Set([...this.#userFilters.keys(), ...this.#temporaryFilters]);
    for (const filter of this.#armed) {
      if (!wanted.has(filter)) {
        this.#control.setFilter(filter, false);
      }
    }
    for (const filter of wanted) {
      const condition = this.#temporaryFilters.includes(filter) ? undefined : this.#userFilters.get(filter)?.condition;
      this.#control.setFilter(filter, true, condition);
    }
    this.#armed = wanted;
  }
}
