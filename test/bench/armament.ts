/**
 * What a debug session may have switched on while a guest runs on undisturbed: nothing of it may cost much. A run under
 * each is held against the plain one, in the same rounds.
 */

import { HistoryKeeper } from '../../debug-adapter/session/run/history-keeper.ts';
import { Pace } from '../../debug-adapter/session/run/pace.ts';
import type { Machine, MachineControl, Stop, StopFilter, Vcpu } from '../../engine/index.ts';
import { stopFilters } from '../../engine/index.ts';

/** How a run is armed. It is handed to the process that runs the guest as JSON. */
export interface Armament {
  /** Runs in the slices of a debug session, not in one go. */
  readonly slices: boolean;
  /** A breakpoint that is not met again, in the guest's code. */
  readonly breakpoint: boolean;
  /** Filters armed with a condition that never holds: events that do not occur in the guest's work. */
  readonly filters: readonly StopFilter[];
  /** Reads everything that the views show, twice a second. */
  readonly views: boolean;
  /** Keeps what is needed to go back. */
  readonly history: boolean;
}

/** A run as the command line has it. */
export const NOTHING_ARMED: Armament = { slices: false, breakpoint: false, filters: [], views: false, history: false };
const SLICED: Armament = { ...NOTHING_ARMED, slices: true };

/** It compares translations with the tables, and may take its time. */
const COMPARING: StopFilter = 'stale-translation';

/** By what the report calls them, plain first; `events` are those that the guest's work consists of. */
export function armaments(events: readonly StopFilter[]): ReadonlyMap<string, Armament> {
  const quiet = stopFilters.filter((filter) => filter !== COMPARING && !events.includes(filter));
  return new Map([
    ['plain', NOTHING_ARMED],
    ['in slices', SLICED],
    ['breakpoint', { ...SLICED, breakpoint: true }],
    ['filters', { ...SLICED, filters: quiet }],
    ['stale translations', { ...SLICED, filters: [COMPARING] }],
    ['views', { ...SLICED, views: true }],
    ['history', { ...SLICED, history: true }],
  ]);
}

const VIEWS_MS = 500;

/** Runs a machine to its end under an armament. */
export class ArmedRun {
  readonly #machine: Machine;
  readonly #armament: Armament;
  /** How often a condition was asked, by its filter. */
  readonly asked = new Map<StopFilter, number>();
  /** Bytes, entries and fields that the views have read: none may be left out as unused. */
  viewed = 0;

  constructor(machine: Machine, armament: Armament) {
    this.#machine = machine;
    this.#armament = armament;
    const [vcpu] = machine.vcpus;
    if (armament.breakpoint && vcpu) machine.setBreakpoints([vcpu.instructionAddress]);
    for (const filter of armament.filters) machine.setFilter(filter, true, () => this.#ask(filter));
  }

  #ask(filter: StopFilter): boolean {
    this.asked.set(filter, (this.asked.get(filter) ?? 0) + 1);
    return false;
  }

  run(): Stop {
    if (!this.#armament.slices) return this.#machine.run();
    const pace = new Pace();
    const keeper = new HistoryKeeper(this.#machine.history, this.#armament.history);
    keeper.begin();
    let viewsDue = performance.now() + VIEWS_MS;
    for (;;) {
      pace.begin();
      const stop = this.#machine.run({ instructions: pace.instructions });
      if (stop.kind !== 'limit') return stop;
      pace.end();
      keeper.sliced();
      if (!this.#armament.views || performance.now() < viewsDue) continue;
      this.viewed += readViews(this.#machine);
      viewsDue = performance.now() + VIEWS_MS;
    }
  }
}

/** Reads what all views of a debug session show at a stop; returns how many parts they have. */
export function readViews(machine: MachineControl): number {
  const parts = machine.vcpus.map((vcpu) => viewsOf(vcpu));
  return parts.reduce((sum, one) => sum + one, machine.virtqueues().length);
}

function viewsOf(vcpu: Vcpu): number {
  const { guest, ept } = vcpu.pagingRoots();
  const tables = [guest, ept].flatMap((table) => (table === undefined ? [] : vcpu.pagingChildren(table)));
  const { instructionAddress } = vcpu;
  vcpu.translate(instructionAddress, 'execute');
  vcpu.mode();
  return (
    vcpu.registers().length +
    (vcpu.vmcs()?.fields.length ?? 0) +
    vcpu.tlb().length +
    tables.length +
    vcpu.peek('linear', instructionAddress, 256).length
  );
}
