/** EVENTINJ and EXITINTINFO, which have one format (AMD64 APM volume 2, "Event Injection"). */
import { type CpuEvent, EventType } from '../cpu/processor.ts';

/** Values of TYPE; all others are reserved. */
export const InjectedType = { interrupt: 0, nmi: 2, exception: 3, softwareInterrupt: 4 } as const;

export const EVENT = { VECTOR: 0xff, TYPE: 7 << 8, EV: 1 << 11, V: 0x8000_0000 } as const;
const TYPE_SHIFT = 8;

export interface EventInformation {
  readonly vector: number;
  readonly type: number;
  readonly hasErrorCode: boolean;
  readonly isValid: boolean;
}

export const decodeEvent = (low: number): EventInformation => ({
  vector: low & EVENT.VECTOR,
  type: (low & EVENT.TYPE) >>> TYPE_SHIFT,
  hasErrorCode: (low & EVENT.EV) !== 0,
  isValid: (low & EVENT.V) !== 0,
});

const typeOf: Readonly<Record<EventType, number>> = {
  [EventType.externalInterrupt]: InjectedType.interrupt,
  [EventType.nmi]: InjectedType.nmi,
  [EventType.hardwareException]: InjectedType.exception,
  [EventType.softwareInterrupt]: InjectedType.softwareInterrupt,
  [EventType.privilegedSoftwareException]: InjectedType.exception,
  [EventType.softwareException]: InjectedType.exception,
};

/** EXITINTINFO of an event whose delivery was interrupted: low half, and the error code above it. */
export function encodeEvent({ type, vector, errorCode }: CpuEvent): bigint {
  const low = (vector | (typeOf[type] << TYPE_SHIFT) | (errorCode === undefined ? 0 : EVENT.EV) | EVENT.V) >>> 0;
  return BigInt(low) | (BigInt(errorCode ?? 0) << 32n);
}
