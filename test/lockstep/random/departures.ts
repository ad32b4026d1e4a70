/** What the judges do not show of random guests, besides what they do not show of any. */
import type { Departures, MemoryDeparture } from '../compare.ts';
import { QEMU_DEPARTURES } from '../qemu/registers.ts';
import type { Judge } from '../traces.ts';
import { ABSENT, entriesOf, READ_ONLY, SUPERVISOR } from './surroundings.ts';

const ACCESSED = 0x20;

const DIRTY = 0x40;

/** Pages that they mark accessed though they refuse the access. */
const REFUSED = [READ_ONLY, SUPERVISOR].flatMap(entriesOf);
/** Pages that they mark accessed or dirty by what begins there, and is refused by the next one. */
const BEFORE_REFUSED = [READ_ONLY, ABSENT, SUPERVISOR].flatMap((page) => entriesOf(page - 0x1000));
const refusedIsAccessed: MemoryDeparture = (address, difference) =>
  (difference === ACCESSED && REFUSED.includes(address)) ||
  ((difference & ~(ACCESSED | DIRTY)) === 0 && BEFORE_REFUSED.includes(address));

const { state = [], memory = [] } = QEMU_DEPARTURES;

export const RANDOM_DEPARTURES: Readonly<Record<Judge, Departures>> = {
  kvm: { memory: [refusedIsAccessed] },
  qemu: { state, memory: [...memory, refusedIsAccessed] },
};
