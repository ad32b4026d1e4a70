/** What the judges do not show of random guests, besides what they do not show of any. */
import type { Departures, MemoryDeparture } from '../compare.ts';
import { QEMU_DEPARTURES } from '../qemu/registers.ts';
import type { Judge } from '../traces.ts';
import { ABSENT, entriesOf, READ_ONLY, SUPERVISOR } from './surroundings.ts';

const ACCESSED = 0x20;

/** Pages that they mark accessed by what faults: the read-only and the supervisor's one, and that before the absent one. */
const REFUSED = [READ_ONLY, ABSENT - 0x1000, SUPERVISOR].flatMap(entriesOf);
const refusedIsAccessed: MemoryDeparture = (address, difference) =>
  difference === ACCESSED && REFUSED.includes(address);

const { state = [], memory = [] } = QEMU_DEPARTURES;

export const RANDOM_DEPARTURES: Readonly<Record<Judge, Departures>> = {
  kvm: { memory: [refusedIsAccessed] },
  qemu: { state, memory: [...memory, refusedIsAccessed] },
};
