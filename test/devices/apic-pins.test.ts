import { describe, expect, it } from 'vitest';
import { APIC_REGISTER as REGISTER } from '../../engine/devices/apic-registers.ts';
import { apic, drain, EXTERNAL_VECTOR, LEVEL, MASK, makeApic, read, signals, useApics, write } from './local-apics.ts';

useApics();

describe('local APIC: pins', () => {
  it('ExtINT: the external controller gives the vector, above all priorities', () => {
    write(REGISTER.LVT_LINT0, 0x700);
    write(REGISTER.TPR, 0xf0);
    apic.setPin(0, true);
    expect(apic.interruptPending).toBe(true);
    expect(apic.acknowledge()).toBe(EXTERNAL_VECTOR);
    apic.setPin(0, false);
    expect(apic.interruptPending).toBe(false);
    expect(read(REGISTER.ISR + 0x10)).toBe(0);
  });

  it('masked: nothing passes', () => {
    write(REGISTER.LVT_LINT0, 0x700 | MASK);
    apic.setPin(0, true);
    expect(apic.interruptPending).toBe(false);
  });

  it('of an APIC that IA32_APIC_BASE disables: INTR and NMI of the processor', () => {
    apic.setPresent(false);
    apic.setPin(0, true);
    apic.setPin(1, true);
    expect(apic.acknowledge()).toBe(EXTERNAL_VECTOR);
    expect(signals).toEqual(['0 nmi']);
  });

  it('fixed, edge-triggered: once for each rise', () => {
    write(REGISTER.LVT_LINT0, 0x50);
    apic.setPin(0, true);
    expect(drain()).toEqual([0x50]);
    write(REGISTER.EOI, 0);
    expect(apic.interruptPending).toBe(false);
    apic.setPin(0, false);
    apic.setPin(0, true);
    expect(drain()).toEqual([0x50]);
  });

  it('fixed, level-triggered: again after EOI while the level stays, remote IRR in between', () => {
    write(REGISTER.LVT_LINT0, 0x50 | LEVEL);
    apic.setPin(0, true);
    expect(read(REGISTER.LVT_LINT0)).toBe(0x50 | LEVEL | (1 << 14));
    expect(read(REGISTER.TMR + 0x20)).toBe(1 << 16);
    expect(drain()).toEqual([0x50]);
    write(REGISTER.EOI, 0);
    expect(drain()).toEqual([0x50]);
    apic.setPin(0, false);
    write(REGISTER.EOI, 0);
    expect(apic.interruptPending).toBe(false);
    expect(read(REGISTER.LVT_LINT0)).toBe(0x50 | LEVEL);
  });

  it('NMI through LINT1, once for each rise', () => {
    write(REGISTER.LVT_LINT1, 0x400);
    apic.setPin(1, true);
    apic.setPin(1, true);
    expect(signals).toEqual(['0 nmi']);
  });

  it('disabling the APIC by software masks every entry, and keeps it so', () => {
    write(REGISTER.LVT_LINT0, 0x700);
    write(REGISTER.SVR, 0xff);
    expect(read(REGISTER.LVT_LINT0)).toBe(0x700 | MASK);
    write(REGISTER.LVT_LINT0, 0x700);
    expect(read(REGISTER.LVT_LINT0)).toBe(0x700 | MASK);
  });

  it('virtual wire mode, as firmware leaves the bootstrap processor', () => {
    const fresh = makeApic(7);
    fresh.enterVirtualWireMode();
    const registers = [REGISTER.SVR, REGISTER.LVT_LINT0, REGISTER.LVT_LINT1];
    expect(registers.map((offset) => read(offset, fresh))).toEqual([0x1ff, 0x700, 0x400]);
  });
});
