/** Local APICs of four processors, and what reaches these. */
import { beforeEach } from 'vitest';
import { ApicBus } from '../../engine/devices/apic-bus.ts';
import { APIC_REGISTER as REGISTER } from '../../engine/devices/apic-registers.ts';
import { LocalApic } from '../../engine/devices/local-apic.ts';
import { TestClock } from './support.ts';

export const TICK_NS = 40;
export const EXTERNAL_VECTOR = 0x21;
export const MASK = 1 << 16;
export const PERIODIC = 1 << 17;
export const LEVEL = 1 << 15;
/** Software-enabled, spurious vector FFH. */
export const ENABLED = 0x1ff;

export let clock: TestClock;
let bus: ApicBus;
/** What reached the processors: `2 init`. */
export let signals: string[];
export let cr8: number;
export let apics: LocalApic[];
export let apic: LocalApic;

export function makeApic(id: number): LocalApic {
  const tell = (what: string) => void signals.push(`${id} ${what}`);
  return new LocalApic({
    id,
    clock: clock.now,
    tickNs: TICK_NS,
    bus,
    processor: {
      interruptChanged: () => {},
      nmi: () => tell('nmi'),
      smi: () => tell('smi'),
      init: () => tell('init'),
      startUp: (vector) => tell(`start-up ${vector}`),
      taskPriorityClass: (priorityClass) => {
        cr8 = priorityClass;
      },
      acknowledgeExternal: () => EXTERNAL_VECTOR,
    },
  });
}

export const read = (offset: number, from = apic) => from.read(offset, 4);
export const write = (offset: number, value: number, to = apic) => to.write(offset, 4, value);
/** Takes everything that is deliverable, without EOI. */
export const drain = (from = apic) => {
  const vectors: number[] = [];
  while (from.interruptPending) vectors.push(from.acknowledge());
  return vectors;
};
export const sendIpi = (low: number, destination = 0, from = apic) => {
  write(REGISTER.ICR_HIGH, destination << 24, from);
  write(REGISTER.ICR_LOW, low, from);
};
/** Which APICs hold a vector. */
export const holders = (vector: number) => {
  const word = REGISTER.IRR + 16 * (vector >> 5);
  return apics.filter((each) => (each.peek(word, 4) >>> (vector & 31)) & 1).map(({ id }) => id);
};
export const passTo = (ns: number) => {
  clock.ns = ns;
  apic.service();
};

/** Each test of the file has four APICs anew; `apic` is the first. */
export function useApics(): void {
  beforeEach(() => {
    clock = new TestClock();
    bus = new ApicBus();
    signals = [];
    cr8 = 0;
    apics = [0, 1, 2, 3].map(makeApic);
    for (const each of apics) write(REGISTER.SVR, ENABLED, each);
    apic = apics[0] as LocalApic;
  });
}
