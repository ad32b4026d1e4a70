/** The local APIC as a debugger shows it: registers with their meaning in words. */
import { hex } from '../cpu/hexadecimal.ts';
import {
  APIC_REGISTER,
  DELIVERY,
  deliveryMode,
  deliveryNames,
  esrNames,
  ICR,
  LVT,
  LVT_BIT,
  lvtEntries,
  SVR,
  shorthandNames,
} from './apic-registers.ts';
import type { ApicRequests } from './apic-requests.ts';
import type { ApicTimer } from './apic-timer.ts';
import { bitNames, type DeviceView, type RegisterView } from './device.ts';
import type { VectorSet } from './vector-set.ts';

/** `value` gives a register by its offset, without side effects. */
export function describeApic(
  device: string,
  requests: ApicRequests,
  timer: ApicTimer,
  value: (offset: number) => number,
): DeviceView {
  const row = (name: string, offset: number, meaning: string): RegisterView => ({
    name,
    value: value(offset),
    widthBits: 32,
    meaning,
  });
  const at = APIC_REGISTER;
  const svr = value(at.SVR);
  const vectors = (name: string, set: VectorSet, offset: number): RegisterView => ({
    ...row(name, offset, `vectors: ${set.describe()}`),
    value: Math.max(0, set.highest()),
    widthBits: 8,
  });
  return {
    device,
    registers: [
      row('ID', at.ID, `APIC ID ${value(at.ID) >>> 24}`),
      row('Version', at.VERSION, `version ${hex(value(at.VERSION) & 0xff)}`),
      row('TPR', at.TPR, `priority class ${value(at.TPR) >> 4}`),
      row('PPR', at.PPR, `priority class ${value(at.PPR) >> 4}`),
      row('LDR', at.LDR, `logical APIC ID ${hex(value(at.LDR) >>> 24, 2)}`),
      row('DFR', at.DFR, value(at.DFR) >>> 28 === 0xf ? 'flat model' : 'cluster model'),
      row('SVR', at.SVR, `${svr & SVR.ENABLE ? 'enabled' : 'disabled'}; spurious vector ${hex(svr & 0xff, 2)}`),
      vectors('ISR, highest', requests.isr, at.ISR),
      vectors('TMR, highest', requests.tmr, at.TMR),
      vectors('IRR, highest', requests.irr, at.IRR),
      row('ESR', at.ESR, bitNames(value(at.ESR), esrNames)),
      row('ICR, low', at.ICR_LOW, command(value(at.ICR_LOW))),
      row('ICR, high', at.ICR_HIGH, `destination ${hex(value(at.ICR_HIGH) >>> 24, 2)}`),
      ...lvtEntries.map(({ name }, index) => {
        const offset = at.LVT_TIMER + 16 * index;
        return row(name, offset, localVector(index, value(offset)));
      }),
      row('Initial Count', at.INITIAL_COUNT, value(at.INITIAL_COUNT) === 0 ? 'stopped' : 'as started'),
      row('Current Count', at.CURRENT_COUNT, value(at.CURRENT_COUNT) === 0 ? 'stands' : 'counts down'),
      row('Divide Configuration', at.DIVIDE_CONFIGURATION, `input clock / ${timer.divisor}`),
    ],
  };
}

function command(icr: number): string {
  const shorthand = shorthandNames[(icr >>> 18) & 3];
  const destination = icr & ICR.LOGICAL ? 'logical destination' : 'physical destination';
  return `${deliveryNames[deliveryMode(icr)]}, vector ${hex(icr & 0xff, 2)}, ${shorthand || destination}`;
}

function localVector(index: number, entry: number): string {
  const masked = entry & LVT_BIT.MASK ? 'masked; ' : '';
  if (index === LVT.TIMER) {
    return `${masked}vector ${hex(entry & 0xff, 2)}, ${entry & LVT_BIT.PERIODIC ? 'periodic' : 'one-shot'}`;
  }
  const mode = deliveryMode(entry);
  return masked + (mode === DELIVERY.FIXED ? `vector ${hex(entry & 0xff, 2)}` : (deliveryNames[mode] ?? ''));
}
