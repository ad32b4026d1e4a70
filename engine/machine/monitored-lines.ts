/** The lines of memory that MONITOR monitors: stores to them, whoever makes them, end the waits of MWAIT. */

import { PAGE_BYTES } from '../cpu/memory-map.ts';
import { endMonitoring, MONITOR_LINE_BYTES, MONITORING } from '../cpu/monitoring.ts';
import { readSigned } from '../cpu/state.ts';
import { fieldAddress } from '../cpu/state-layout.ts';
import { type PhysicalMemory, TOLD } from '../mmu/physical-memory.ts';

/** Where the state of a vCPU lies now, which need not be loaded: a view of memory, and where in it wasm address 0 would be. */
export interface StatePlace {
  readonly view: DataView;
  readonly origin: number;
}

/** Of the state of one vCPU, what monitoring is about. */
class Monitoring {
  readonly #place: () => StatePlace;

  constructor(place: () => StatePlace) {
    this.#place = place;
  }
  #read(field: 'activityState' | 'monitorArmed'): number {
    const { view, origin } = this.#place();
    return view.getUint32(origin + fieldAddress[field], true);
  }
  #write(field: 'activityState' | 'monitorArmed', value: number): void {
    const { view, origin } = this.#place();
    view.setUint32(origin + fieldAddress[field], value, true);
  }
  get activityState(): number {
    return this.#read('activityState');
  }
  set activityState(value: number) {
    this.#write('activityState', value);
  }
  get monitorArmed(): number {
    return this.#read('monitorArmed');
  }
  set monitorArmed(value: number) {
    this.#write('monitorArmed', value);
  }
  get monitorLine(): number {
    const { view, origin } = this.#place();
    return readSigned(view, origin + fieldAddress.monitorLine);
  }
}

export class MonitoredLines {
  readonly #physical: PhysicalMemory;
  readonly #states: readonly Monitoring[];
  readonly #dropWriteTags: (page: number) => void;
  /** RAM pages whose writes are told. Some may be without a line by now. */
  readonly #pages = new Set<number>();

  /** `dropWriteTags` makes compiled code ask again before it writes to a RAM page. */
  constructor(physical: PhysicalMemory, places: readonly (() => StatePlace)[], dropWriteTags: (page: number) => void) {
    this.#physical = physical;
    this.#states = places.map((place) => new Monitoring(place));
    this.#dropWriteTags = dropWriteTags;
    physical.onMonitoredWrite = (address, lengthBytes) => this.#written(address, lengthBytes);
  }

  /** A line is monitored from now on, or states were replaced. */
  refresh(): void {
    const pages = new Set(this.#monitoring().map(({ monitorLine }) => Math.floor(monitorLine / PAGE_BYTES)));
    for (const page of this.#pages) if (!pages.has(page)) this.#tell(page, false);
    for (const page of pages) if (!this.#pages.has(page)) this.#tell(page, true);
  }

  #monitoring(): Monitoring[] {
    return this.#states.filter(
      ({ monitorArmed, monitorLine }) =>
        monitorArmed !== MONITORING.OFF && this.#physical.isRam(monitorLine, MONITOR_LINE_BYTES),
    );
  }

  #tell(page: number, isTold: boolean): void {
    this.#physical.tellWrites(page, TOLD.MONITORED, isTold);
    if (isTold) this.#pages.add(page);
    else this.#pages.delete(page);
    if (isTold) this.#dropWriteTags(page);
  }

  #written(address: number, lengthBytes: number): void {
    for (const state of this.#monitoring()) {
      const line = state.monitorLine;
      if (address < line + MONITOR_LINE_BYTES && address + lengthBytes > line) endMonitoring(state);
    }
    this.refresh();
  }
}
