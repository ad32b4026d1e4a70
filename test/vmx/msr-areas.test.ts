import { describe, expect, it } from 'vitest';
import { insn, MSR_AREA, VMCS_REGION, VmxMachine } from './machine.ts';

const LSTAR = 0xc000_0082;
const STAR = 0xc000_0081;
const FS_BASE = 0xc000_0100;
const ABORT_INDICATOR = VMCS_REGION + 4;
const SHUTDOWN = 2;

const area = (m: VmxMachine, ...entries: readonly (readonly [number, bigint, number?])[]) => {
  for (const [index, [msr, value, reserved = 0]] of entries.entries()) {
    m.u32(MSR_AREA + index * 16, msr);
    m.u32(MSR_AREA + index * 16 + 4, reserved);
    m.u64(MSR_AREA + index * 16 + 8, value);
  }
};

describe('VM-entry MSR-load area', () => {
  const entry = { 'VM-entry MSR-load count': 2, 'VM-entry MSR-load address': MSR_AREA };
  it('loads its MSRs', () => {
    const m = new VmxMachine().ready(entry);
    area(m, [STAR, 0x11n], [LSTAR, 0x22n]);
    m.step(insn.vmlaunch);
    expect([m.state.star, m.state.lstar]).toEqual([0x11n, 0x22n]);
  });
  it.each([
    ['an MSR that there is not', [0x4000_0000, 0n] as const],
    ['a value that WRMSR refuses', [LSTAR, 1n << 56n] as const],
    ['reserved bytes that are not 0', [STAR, 0n, 1] as const],
    ['FS base, which the guest-state area has', [FS_BASE, 0n] as const],
    ['a read-only MSR', [0x480, 0n] as const],
  ])('%s: VM-entry failure 34, the number of the entry as qualification', (_, bad) => {
    const m = new VmxMachine().ready(entry);
    area(m, [STAR, 0x11n], bad);
    m.step(insn.vmlaunch);
    expect(m.exitReason).toBe(0x8000_0022);
    expect(m.read('Exit qualification')).toBe(2n);
    expect(m.physical.readU32(VMCS_REGION + 8), 'launch state').toBe(0);
  });
  it('more entries than IA32_VMX_MISC recommends are refused', () => {
    const m = new VmxMachine().ready({ ...entry, 'VM-entry MSR-load count': 0xffff_ffff >>> 8 });
    for (let index = 0; index < 513; index++) m.u32(MSR_AREA + index * 16, STAR);
    m.step(insn.vmlaunch);
    expect(m.read('Exit qualification')).toBe(513n);
  });
});

describe('VM-exit MSR areas', () => {
  it('the store area receives the guest’s values, the load area gives the host’s', () => {
    const m = new VmxMachine().inGuest({
      'VM-exit MSR-store count': 1,
      'VM-exit MSR-store address': MSR_AREA,
      'VM-exit MSR-load count': 1,
      'VM-exit MSR-load address': MSR_AREA + 16,
    });
    area(m, [STAR, 0n], [STAR, 0x33n]);
    m.state.star = 0x44n;
    m.step(insn.cpuid);
    expect(m.physical.readU64(MSR_AREA + 8)).toBe(0x44n);
    expect(m.state.star).toBe(0x33n);
  });

  it.each([
    ['storing', 'VM-exit MSR-store', 1],
    ['loading', 'VM-exit MSR-load', 4],
  ])('a failure of %s is a VMX abort: indicator written, shutdown', (_, prefix, indicator) => {
    const m = new VmxMachine().inGuest({ [`${prefix} count`]: 1, [`${prefix} address`]: MSR_AREA });
    area(m, [0x4000_0000, 0n]);
    const aborts: number[] = [];
    m.vmx.onVmxAbort = (abort) => aborts.push(abort);
    m.step(insn.cpuid);
    expect(aborts).toEqual([indicator]);
    expect(m.physical.readU32(ABORT_INDICATOR)).toBe(indicator);
    expect(m.state.activityState).toBe(SHUTDOWN);
  });
});
