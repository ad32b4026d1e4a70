import { describe, expect, it } from 'vitest';
import { APIC_REGISTER as REGISTER } from '../../engine/devices/apic-registers.ts';
import type { LocalApic } from '../../engine/devices/local-apic.ts';
import {
  apic,
  apics,
  cr8,
  drain,
  holders,
  MASK,
  PERIODIC,
  read,
  sendIpi,
  signals,
  TICK_NS,
  useApics,
  write,
} from './local-apics.ts';

useApics();

describe('local APIC: state after power-up or INIT', () => {
  it.each([
    ['ID', REGISTER.ID, 0x0200_0000],
    ['version', REGISTER.VERSION, 0x0005_0015],
    ['TPR', REGISTER.TPR, 0],
    ['LDR', REGISTER.LDR, 0],
    ['DFR', REGISTER.DFR, 0xffff_ffff],
    ['SVR: disabled', REGISTER.SVR, 0xff],
    ['ESR', REGISTER.ESR, 0],
    ['ICR', REGISTER.ICR_LOW, 0],
    ['LVT timer: masked', REGISTER.LVT_TIMER, MASK],
    ['LVT LINT0: masked', REGISTER.LVT_LINT0, MASK],
    ['LVT LINT1: masked', REGISTER.LVT_LINT1, MASK],
    ['LVT error: masked', REGISTER.LVT_ERROR, MASK],
    ['initial count', REGISTER.INITIAL_COUNT, 0],
    ['divide configuration', REGISTER.DIVIDE_CONFIGURATION, 0],
  ])('%s', (_name, offset, value) => {
    const used = apics[2] as LocalApic;
    for (const register of Object.values(REGISTER)) if (register !== REGISTER.ICR_LOW) write(register, 0xff, used);
    used.receive(0, 0x40);
    used.reset();
    expect(read(offset, used)).toBe(value);
    expect(used.interruptPending).toBe(false);
  });
});

describe('local APIC: what of a register can be written', () => {
  it.each([
    ['ID is fixed', REGISTER.ID, 0],
    ['version is fixed', REGISTER.VERSION, 0x0005_0015],
    ['TPR', REGISTER.TPR, 0xff],
    ['LDR', REGISTER.LDR, 0xff00_0000],
    ['DFR reads ones below bit 28', REGISTER.DFR, 0xffff_ffff],
    ['SVR', REGISTER.SVR, 0x3ff],
    ['ICR, high', REGISTER.ICR_HIGH, 0xff00_0000],
    ['LVT timer: no TSC-deadline mode', REGISTER.LVT_TIMER, 0x0003_00ff],
    ['LVT thermal monitor', REGISTER.LVT_THERMAL, 0x0001_07ff],
    ['LVT performance counter', REGISTER.LVT_PERFORMANCE, 0x0001_07ff],
    ['LVT LINT0: status and remote IRR are read-only', REGISTER.LVT_LINT0, 0x0001_a7ff],
    ['LVT LINT1', REGISTER.LVT_LINT1, 0x0001_a7ff],
    ['LVT error', REGISTER.LVT_ERROR, 0x0001_00ff],
    ['divide configuration: bit 2 is 0', REGISTER.DIVIDE_CONFIGURATION, 0xb],
  ])('%s', (_name, offset, value) => {
    write(offset, 0xffff_ffff);
    expect(read(offset)).toBe(value);
  });

  it('is written 32 bits wide at a multiple of 16, or not at all', () => {
    apic.write(REGISTER.TPR, 1, 0x20);
    apic.write(REGISTER.TPR, 2, 0x20);
    apic.write(REGISTER.TPR + 4, 4, 0x20);
    expect(read(REGISTER.TPR)).toBe(0);
  });

  it('gives parts of a register to narrower reads', () => {
    expect([0, 1, 2, 3].map((byte) => apic.read(REGISTER.VERSION + byte, 1))).toEqual([0x15, 0, 5, 0]);
    expect(apic.read(REGISTER.VERSION + 2, 2)).toBe(5);
  });
});

describe('local APIC: priorities', () => {
  it('gives the highest vector first, the next ones after its EOI', () => {
    for (const vector of [0x31, 0x52, 0x41]) apic.receive(0, vector);
    expect(drain()).toEqual([0x52]);
    expect(read(REGISTER.PPR)).toBe(0x50);
    write(REGISTER.EOI, 0);
    expect(drain()).toEqual([0x41]);
    write(REGISTER.EOI, 0);
    expect(drain()).toEqual([0x31]);
  });

  it('lets a higher class interrupt a lower one, but not the same class', () => {
    apic.receive(0, 0x42);
    apic.acknowledge();
    apic.receive(0, 0x4f);
    expect(apic.interruptPending).toBe(false);
    apic.receive(0, 0x50);
    expect(drain()).toEqual([0x50]);
  });

  it.each([
    { tpr: 0x3f, vector: 0x40, delivered: true },
    { tpr: 0x40, vector: 0x4f, delivered: false },
    { tpr: 0x41, vector: 0x4f, delivered: false },
    { tpr: 0xf0, vector: 0xff, delivered: false },
  ])('TPR $tpr, vector $vector: delivered $delivered', ({ tpr, vector, delivered }) => {
    write(REGISTER.TPR, tpr);
    apic.receive(0, vector);
    expect(apic.interruptPending).toBe(delivered);
    write(REGISTER.TPR, 0);
    expect(apic.interruptPending).toBe(true);
  });

  it('is the task priority if that is not below what is in service', () => {
    apic.receive(0, 0x42);
    apic.acknowledge();
    write(REGISTER.TPR, 0x45);
    expect(read(REGISTER.PPR)).toBe(0x45);
    write(REGISTER.TPR, 0x3f);
    expect(read(REGISTER.PPR)).toBe(0x40);
  });

  it('shows requests and service in IRR and ISR, 32 vectors a register', () => {
    apic.receive(0, 0x85);
    expect(read(REGISTER.IRR + 0x40)).toBe(1 << 5);
    apic.acknowledge();
    expect([read(REGISTER.IRR + 0x40), read(REGISTER.ISR + 0x40)]).toEqual([0, 1 << 5]);
    write(REGISTER.EOI, 0);
    expect(read(REGISTER.ISR + 0x40)).toBe(0);
  });

  it('holds one request of a vector while the same is in service', () => {
    apic.receive(0, 0x40);
    apic.acknowledge();
    apic.receive(0, 0x40);
    apic.receive(0, 0x40);
    write(REGISTER.EOI, 0);
    expect(drain()).toEqual([0x40]);
    write(REGISTER.EOI, 0);
    expect(drain()).toEqual([]);
  });

  it('keeps CR8 and TPR together', () => {
    write(REGISTER.TPR, 0x57);
    expect(cr8).toBe(5);
    apic.setTaskPriorityClass(9);
    expect(read(REGISTER.TPR)).toBe(0x90);
  });

  it('answers an acknowledge without a request with the spurious vector, not in service', () => {
    write(REGISTER.SVR, 0x1ef);
    expect(apic.acknowledge()).toBe(0xef);
    expect(read(REGISTER.ISR + 0x70)).toBe(0);
  });
});

describe('local APIC: destinations', () => {
  const FIXED = 0x4050;
  const LOGICAL = 1 << 11;
  it.each([
    { name: 'physical', low: FIXED, destination: 2, targets: [2] },
    { name: 'physical, nobody there', low: FIXED, destination: 9, targets: [] },
    { name: 'physical broadcast', low: FIXED, destination: 0xff, targets: [0, 1, 2, 3] },
    { name: 'self', low: FIXED | (1 << 18), destination: 3, targets: [0] },
    { name: 'all including self', low: FIXED | (2 << 18), destination: 0, targets: [0, 1, 2, 3] },
    { name: 'all excluding self', low: FIXED | (3 << 18), destination: 0, targets: [1, 2, 3] },
    { name: 'flat logical', low: FIXED | LOGICAL, destination: 0b0110, targets: [1, 2] },
    { name: 'flat logical broadcast', low: FIXED | LOGICAL, destination: 0xff, targets: [0, 1, 2, 3] },
  ])('$name', ({ low, destination, targets }) => {
    for (const each of apics) write(REGISTER.LDR, (1 << each.id) << 24, each);
    sendIpi(low, destination);
    expect(holders(0x50)).toEqual(targets);
  });

  it.each([
    { destination: 0x11, targets: [0] },
    { destination: 0x13, targets: [0, 1] },
    { destination: 0x21, targets: [2] },
    { destination: 0x23, targets: [2, 3] },
    { destination: 0x31, targets: [] },
    { destination: 0xf1, targets: [0, 2] },
    { destination: 0xff, targets: [0, 1, 2, 3] },
  ])('cluster model, destination $destination', ({ destination, targets }) => {
    [0x11, 0x12, 0x21, 0x22].forEach((id, index) => {
      write(REGISTER.DFR, 0x0fff_ffff, apics[index]);
      write(REGISTER.LDR, id << 24, apics[index]);
    });
    sendIpi(FIXED | LOGICAL, destination);
    expect(holders(0x50)).toEqual(targets);
  });

  it('lowest priority: the one with the lowest TPR, among those that are enabled', () => {
    [0x30, 0x20, 0x10, 0].forEach((tpr, id) => {
      write(REGISTER.TPR, tpr, apics[id]);
    });
    write(REGISTER.SVR, 0xff, apics[3]);
    sendIpi(0x4150, 0xff);
    expect(holders(0x50)).toEqual([2]);
  });

  it.each([
    { name: 'NMI', low: 0x4400, signal: '1 nmi' },
    { name: 'SMI', low: 0x4200, signal: '1 smi' },
    { name: 'INIT', low: 0x4500, signal: '1 init' },
    { name: 'INIT, level-triggered assert', low: 0xc500, signal: '1 init' },
    { name: 'start-up', low: 0x4608, signal: '1 start-up 8' },
  ])('$name reaches a processor whose APIC is disabled by software', ({ low, signal }) => {
    write(REGISTER.SVR, 0xff, apics[1]);
    sendIpi(low, 1);
    expect(signals).toEqual([signal]);
  });

  it('INIT level de-assert does nothing', () => {
    sendIpi(0x8500, 1);
    expect(signals).toEqual([]);
  });

  it('fixed interrupts are not accepted by an APIC that is disabled by software', () => {
    write(REGISTER.SVR, 0xff, apics[1]);
    sendIpi(FIXED, 1);
    expect(holders(0x50)).toEqual([]);
  });

  it.each([0x4350, 0x4750])('a reserved delivery mode (ICR %i) delivers nothing', (low) => {
    sendIpi(low, 1);
    expect([holders(0x50), signals]).toEqual([[], []]);
  });

  it('nothing reaches an APIC that IA32_APIC_BASE disables', () => {
    apics[1]?.setPresent(false);
    sendIpi(0x4500, 0xff);
    expect(signals).toEqual(['0 init', '2 init', '3 init']);
  });

  it('the delivery status is idle, the rest of ICR reads back', () => {
    sendIpi(0xffff_f050, 0x12);
    expect([read(REGISTER.ICR_LOW), read(REGISTER.ICR_HIGH)]).toEqual([0x000c_c050, 0x1200_0000]);
  });
});

describe('local APIC: errors', () => {
  /** A write to ESR latches what has happened since the last one. */
  const errors = () => {
    write(REGISTER.ESR, 0);
    return read(REGISTER.ESR);
  };
  it.each([
    { name: 'send illegal vector', cause: () => sendIpi(0x400f | (3 << 18)), bits: 0x20 },
    { name: 'receive illegal vector', cause: () => apic.receive(0, 0x0f), bits: 0x40 },
    { name: 'illegal register address, read', cause: () => read(0x40), bits: 0x80 },
    { name: 'illegal register address, write', cause: () => write(0x3f0, 1), bits: 0x80 },
  ])('$name', ({ cause, bits }) => {
    cause();
    expect(read(REGISTER.ESR)).toBe(0);
    expect(errors()).toBe(bits);
    expect(errors()).toBe(0);
  });

  it('raise the error interrupt', () => {
    write(REGISTER.LVT_ERROR, 0xe0);
    read(0x40);
    expect(drain()).toEqual([0xe0]);
  });

  it('do not chase their tail when the error vector is illegal itself', () => {
    write(REGISTER.LVT_ERROR, 0x05);
    read(0x40);
    expect(errors()).toBe(0xc0);
    expect(apic.interruptPending).toBe(false);
  });

  it('are not made by peeks', () => {
    apic.peek(0x40, 4);
    expect(errors()).toBe(0);
  });
});

describe('local APIC: for debuggers', () => {
  it('a restored state goes on where the saved one stood', () => {
    write(REGISTER.DIVIDE_CONFIGURATION, 0xb);
    write(REGISTER.LVT_TIMER, 0x70 | PERIODIC);
    write(REGISTER.INITIAL_COUNT, 100);
    apic.receive(0, 0x42);
    apic.acknowledge();
    apic.receive(0, 0x91);
    const saved = apic.saveState();
    const copy = JSON.parse(JSON.stringify(saved));
    write(REGISTER.EOI, 0);
    apic.reset();
    apic.restoreState(copy);
    expect(apic.saveState()).toEqual(saved);
    expect(drain()).toEqual([0x91]);
    expect(apic.deadlineNs()).toBe(100 * TICK_NS);
  });

  it('describes its registers in words', () => {
    write(REGISTER.LVT_TIMER, 0x70 | PERIODIC);
    apic.receive(0, 0x42);
    const meaning = (name: string) => apic.describe().registers.find((register) => register.name === name)?.meaning;
    expect(meaning('SVR')).toBe('enabled; spurious vector 0xff');
    expect(meaning('LVT Timer')).toBe('vector 0x70, periodic');
    expect(meaning('LVT LINT0')).toBe('masked; vector 0x00');
    expect(meaning('IRR, highest')).toBe('vectors: 0x42');
    sendIpi(0xc0600 | 8);
    expect(meaning('ICR, low')).toBe('start-up, vector 0x08, all excluding self');
  });
});
