import { describe, expect, it } from 'vitest';
import { APIC_REGISTER as REGISTER } from '../../engine/devices/apic-registers.ts';
import { apic, clock, drain, MASK, PERIODIC, passTo, read, TICK_NS, useApics, write } from './local-apics.ts';

useApics();

describe('local APIC: timer', () => {
  it.each([
    [0b0000, 2],
    [0b0001, 4],
    [0b0010, 8],
    [0b0011, 16],
    [0b1000, 32],
    [0b1001, 64],
    [0b1010, 128],
    [0b1011, 1],
  ])('divide configuration %i: by %i', (configuration, divisor) => {
    write(REGISTER.DIVIDE_CONFIGURATION, configuration);
    write(REGISTER.LVT_TIMER, 0x70);
    write(REGISTER.INITIAL_COUNT, 10);
    expect(apic.deadlineNs()).toBe(10 * divisor * TICK_NS);
    clock.ns = 3 * divisor * TICK_NS;
    expect(read(REGISTER.CURRENT_COUNT)).toBe(7);
    clock.ns += divisor * TICK_NS - 1;
    expect(read(REGISTER.CURRENT_COUNT)).toBe(7);
  });

  const start = (lvt: number, count: number) => {
    write(REGISTER.DIVIDE_CONFIGURATION, 0xb);
    write(REGISTER.LVT_TIMER, lvt);
    write(REGISTER.INITIAL_COUNT, count);
  };

  it('one-shot: interrupts once and stands at 0', () => {
    start(0x70, 100);
    passTo(100 * TICK_NS - 1);
    expect(apic.interruptPending).toBe(false);
    passTo(100 * TICK_NS);
    expect(drain()).toEqual([0x70]);
    expect([read(REGISTER.CURRENT_COUNT), apic.deadlineNs()]).toEqual([0, undefined]);
  });

  it('periodic: starts again from the initial count, without drift', () => {
    start(0x70 | PERIODIC, 100);
    passTo(100 * TICK_NS + 17);
    expect(drain()).toEqual([0x70]);
    expect(apic.deadlineNs()).toBe(200 * TICK_NS);
    clock.ns = 130 * TICK_NS;
    expect(read(REGISTER.CURRENT_COUNT)).toBe(70);
  });

  it('periodic: periods that passed unserved are one interrupt', () => {
    start(0x70 | PERIODIC, 100);
    passTo(1050 * TICK_NS);
    expect(drain()).toEqual([0x70]);
    expect(apic.deadlineNs()).toBe(1100 * TICK_NS);
  });

  it('masked: counts on without an interrupt, and asks for no service', () => {
    start(0x70 | PERIODIC | MASK, 100);
    expect(apic.deadlineNs()).toBe(undefined);
    clock.ns = 250 * TICK_NS;
    expect(read(REGISTER.CURRENT_COUNT)).toBe(50);
    write(REGISTER.LVT_TIMER, 0x70 | PERIODIC);
    expect([apic.interruptPending, apic.deadlineNs()]).toEqual([false, 300 * TICK_NS]);
  });

  it('initial count 0 stops it; the last count is what a restart begins with', () => {
    start(0x70, 100);
    write(REGISTER.INITIAL_COUNT, 0);
    expect([apic.deadlineNs(), read(REGISTER.CURRENT_COUNT)]).toEqual([undefined, 0]);
    clock.ns = 5000;
    write(REGISTER.INITIAL_COUNT, 10);
    expect(apic.deadlineNs()).toBe(5000 + 10 * TICK_NS);
  });

  it('goes on from its count when the divide configuration changes', () => {
    start(0x70, 100);
    clock.ns = 50 * TICK_NS;
    write(REGISTER.DIVIDE_CONFIGURATION, 0);
    expect(apic.deadlineNs()).toBe(150 * TICK_NS);
  });
});
