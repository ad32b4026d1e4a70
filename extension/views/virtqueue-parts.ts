/** What a virtqueue consists of, as rows: descriptors, chains, the available and the used ring. */
import type { WireVirtioDevice } from '../../debug-adapter/protocol/requests.ts';
import { colors, type Row } from './row.ts';
import { counted, hex } from './text.ts';

type Queue = WireVirtioDevice['queues'][number];
type Chain = Queue['chainsInFlight'][number];
type Descriptor = Chain['descriptors'][number];

const inShort = (flagNames: string): string => flagNames.replaceAll('VIRTQ_DESC_F_', '');

/** A buffer: where, how long, for whom. */
export function descriptorRow(id: string, label: string, descriptor: Descriptor): Row {
  const { addr, len, next, flagNames } = descriptor;
  const flags = inShort(flagNames);
  const hasNext = flags.includes('NEXT');
  const words = [`${hex(addr)}, ${counted(len, 'byte')}`, flags, hasNext ? `next ${next}` : ''];
  const isUnused = addr === 0 && len === 0;
  return {
    id,
    label,
    description: words.filter((word) => word !== '').join(' · '),
    ...(isUnused ? { icon: 'circle-large-outline', color: colors.off } : { icon: 'symbol-array' }),
    value: hex(addr),
    ...(isUnused ? {} : { memory: `gpa:${hex(addr)}` }),
  };
}

const stateWords = { available: 'waits for the device', taken: 'the device works on it' } as const;

/** `at`: its place among the chains in flight; a broken driver may offer one head several times. */
export function chainRow(parent: string, { head, state, descriptors, error }: Chain, at: number): Row {
  const id = `${parent}/${at}`;
  const total = descriptors.reduce((sum, { len }) => sum + len, 0);
  const summary = `${stateWords[state]} · ${counted(descriptors.length, 'descriptor')}, ${counted(total, 'byte')}`;
  return {
    id,
    label: `Chain at ${head}`,
    description: error === undefined ? summary : `${error} · ${summary}`,
    ...(error === undefined ? { icon: 'link' } : { icon: 'warning', color: colors.warning }),
    children: () =>
      descriptors.map((one, i) => descriptorRow(`${id}/${i}`, one.flags & 2 ? 'device writes' : 'device reads', one)),
  };
}

/** The rings; a ring that lies outside RAM is not among them. */
export function ringRows(id: string, queue: Queue): Row[] {
  return [availableRow(`${id}/available`, queue), usedRow(`${id}/used`, queue)].filter((row) => row !== undefined);
}

interface Ring {
  readonly address: number;
  readonly idx: number;
  readonly flags: number;
}

function ringRow(id: string, label: string, ring: Ring, position: string, slots: () => readonly Row[]): Row {
  return {
    id,
    label,
    description: `idx ${ring.idx}, flags ${ring.flags}, ${position}`,
    icon: 'sync',
    value: hex(ring.address),
    memory: `gpa:${hex(ring.address)}`,
    children: slots,
  };
}

/** The slot that comes next is marked: `→`. */
const slotLabel = (slot: number, next: number, size: number): string => `${slot === next % size ? '→ ' : ''}${slot}`;

function availableRow(id: string, { availableRing: ring, nextAvailable, size }: Queue): Row | undefined {
  if (!ring) return undefined;
  const event = ring.usedEvent === undefined ? '' : `, used_event ${ring.usedEvent}`;
  return ringRow(id, 'Available ring', ring, `device is at ${nextAvailable}${event}`, () =>
    ring.ring.map((head, slot) => ({
      id: `${id}/${slot}`,
      label: slotLabel(slot, nextAvailable, size),
      description: `chain at ${head}`,
      value: String(head),
    })),
  );
}

function usedRow(id: string, { usedRing: ring, nextUsed, size }: Queue): Row | undefined {
  if (!ring) return undefined;
  const event = ring.availEvent === undefined ? '' : `, avail_event ${ring.availEvent}`;
  return ringRow(id, 'Used ring', ring, `device is at ${nextUsed}${event}`, () =>
    ring.ring.map((used, slot) => ({
      id: `${id}/${slot}`,
      label: slotLabel(slot, nextUsed, size),
      description: `chain at ${used.id}, ${counted(used.len, 'byte')} written`,
      value: String(used.id),
    })),
  );
}
