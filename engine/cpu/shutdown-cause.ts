/** Why a processor shuts down, in words: what came up first, and the faults that its delivery raised one by one. */

import { type GuestFault, Vector } from './events.ts';
import { hex } from './hexadecimal.ts';
import { isIa32e, isRealMode } from './modes.ts';
import { type CpuEvent, EventType, type Processor } from './processor.ts';

const VECTOR_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(Vector).map(([name, vector]) => [vector, vector === Vector.NMI ? name : `#${name}`]),
);

function faultName(vector: number, errorCode: number | undefined, linear: bigint | number | undefined): string {
  const name = VECTOR_NAMES.get(vector) ?? `vector ${vector}`;
  const code = errorCode === undefined ? '' : `(${hex(errorCode)})`;
  return `${name}${code}${linear === undefined ? '' : ` for ${hex(linear)}`}`;
}

function eventName({ state }: Processor, { type, vector, errorCode }: CpuEvent, faults: readonly GuestFault[]): string {
  if (type === EventType.externalInterrupt) return `interrupt ${hex(vector)}`;
  if (type === EventType.softwareInterrupt) return `INT ${hex(vector)}`;
  // CR2 is that of the last page fault.
  const isLast = faults.every(({ linear }) => linear === undefined);
  return faultName(vector, errorCode, vector === Vector.PF && isLast ? state.cr2 : undefined);
}

function tableNote({ state }: Processor, vector: number): string {
  const gateBytes = isRealMode(state) ? 4 : isIa32e(state) ? 16 : 8;
  const table = `the interrupt table at ${hex(state.idtrBase)} (limit ${hex(state.idtrLimit)})`;
  return (vector + 1) * gateBytes - 1 > state.idtrLimit
    ? `${table} ends before the entry of vector ${vector}`
    : `its entry is number ${vector} of ${table}`;
}

/** @param faults what the delivery of `event` raised, in turn: the last in the delivery of the double fault */
export function describeShutdown(processor: Processor, event: CpuEvent, faults: readonly GuestFault[]): string {
  const names = faults.map(({ vector, errorCode, linear }) => faultName(vector, errorCode, linear));
  const last = names.pop() ?? '';
  const before = names.length === 0 ? '' : `raised ${names.join(', then ')}, and the delivery of the double fault `;
  const first = `It began with ${eventName(processor, event, faults)} at RIP ${hex(event.returnIp)}`;
  return `${first}: ${tableNote(processor, event.vector)}. The delivery ${before}raised ${last}.`;
}
