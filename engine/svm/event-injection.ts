/** The event that VMRUN delivers to the guest (AMD64 APM volume 2, "Event Injection"). */

import { Vector } from '../cpu/events.ts';
import { deliverEvent } from '../cpu/interrupts.ts';
import { type CpuEvent, EventType } from '../cpu/processor.ts';
import type { LinearAddress } from '../isa/linear-address.ts';
import { decodeEvent, InjectedType } from './event-information.ts';
import { SHADOWS, type SvmParts } from './svm-parts.ts';
import { vmcbOffset } from './vmcb-fields.ts';

const EVENTINJ = vmcbOffset('EVENTINJ');
const NEXT_RIP = vmcbOffset('nRIP');

const eventTypes: Readonly<Record<number, EventType>> = {
  [InjectedType.interrupt]: EventType.externalInterrupt,
  [InjectedType.nmi]: EventType.nmi,
  [InjectedType.exception]: EventType.hardwareException,
  [InjectedType.softwareInterrupt]: EventType.softwareInterrupt,
};

/** Delivers what EVENTINJ holds, if it holds a valid event. Its intercepts are not asked. May throw `VmExit`. */
export function injectEvent(parts: SvmParts): void {
  const { processor, state, vmcb } = parts;
  const { vector, type, hasErrorCode, isValid } = decodeEvent(vmcb.u32(EVENTINJ));
  if (!isValid) return;
  state.interruptibility &= ~SHADOWS;
  const errorCode = hasErrorCode ? vmcb.u32(EVENTINJ + 4) : undefined;
  const eventType = eventTypes[type] as EventType;
  const event: CpuEvent = {
    type: eventType,
    vector: type === InjectedType.nmi ? Vector.NMI : vector,
    errorCode,
    returnIp: returnsToNext(type, vector) ? nextRip(parts) : state.rip,
  };
  deliverEvent(processor, event);
}

/** Software interrupts, INT3 and INTO return behind their instruction. */
const returnsToNext = (type: number, vector: number): boolean =>
  type === InjectedType.softwareInterrupt ||
  (type === InjectedType.exception && (vector === Vector.BP || vector === Vector.OF));

/** Where the processor saves nRIP, VMRUN reads it too. */
const nextRip = ({ processor, state, vmcb }: SvmParts): LinearAddress =>
  processor.model.has('NRIPS') ? vmcb.linear(NEXT_RIP) : state.rip;
