import { describe, expect, it } from 'vitest';
import { entryRules } from '../../engine/vmx/entry-checks/rules.ts';
import { offsetOf, VMCS_REVISION } from '../../engine/vmx/vmcs.ts';
import { violations } from './entry-rule-violations.ts';
import { insn, OTHER_VMCS, VMCS_REGION, VmxMachine } from './machine.ts';

/** A guest that was entered and left twice, so that its VMCS counts as checked. */
function checkedGuest(): VmxMachine {
  const m = new VmxMachine().inGuest();
  m.step(insn.cpuid);
  m.step(insn.vmresume);
  m.step(insn.cpuid);
  return m;
}

describe('a VMCS that has passed is checked again where it changed', () => {
  const plain = entryRules.filter(({ id }) => !violations[id]?.prepare);
  it.each(plain.map(({ id }) => id))('%s, broken by a write to the VMCS', (id) => {
    const m = checkedGuest().write(violations[id]?.values ?? {});
    const failures: string[] = [];
    m.vmx.onVmEntryFailure = ({ violated }) => failures.push(...violated.map((rule) => rule.id));
    m.step(insn.vmresume);
    expect(m.state.nonRoot).toBe(0);
    expect(failures).toContain(id);
  });

  it('by a plain store to the region', () => {
    const m = checkedGuest();
    m.u64(VMCS_REGION + offsetOf('Guest RFLAGS'), 0n);
    m.step(insn.vmresume);
    expect(m.exitReason).toBe(0x8000_0021);
  });

  it('by a change outside the VMCS that a rule looks at', () => {
    const m = new VmxMachine().ready({ 'VMCS link pointer': OTHER_VMCS });
    m.u32(OTHER_VMCS, VMCS_REVISION);
    m.step(insn.vmlaunch);
    m.step(insn.cpuid);
    m.step(insn.vmresume);
    m.step(insn.cpuid);
    m.u32(OTHER_VMCS, 0);
    m.step(insn.vmresume);
    expect(m.exitReason).toBe(0x8000_0021);
  });

  it.each([
    ['TF', 'without what it demands of a pending trap', 0x102, { 'Guest interruptibility state': 2 }],
    ['IF', 'with blocking by STI', 2, { 'Guest interruptibility state': 1, 'Guest RFLAGS': 0x202 }],
    ['VM', 'in IA-32e mode', 0x2_0002, {}],
    ['a reserved flag', 'which is fixed', 0x2a, {}],
  ] as const)('by %s of Guest RFLAGS alone, %s', (_flag, _why, flags, values) => {
    const m = checkedGuest().write(values);
    const failures: number[] = [];
    m.vmx.onVmEntryFailure = ({ violated }) => failures.push(violated.length);
    m.step(insn.vmresume);
    expect(failures).toEqual([]);
    m.step(insn.cpuid);
    m.write({ ...values, 'Guest RFLAGS': flags });
    m.step(insn.vmresume);
    expect(failures).not.toEqual([]);
  });

  it('not by the status flags, and then still by others', () => {
    const m = checkedGuest().write({ 'Guest RFLAGS': 0xcd7 });
    m.step(insn.vmresume);
    expect(m.state.nonRoot).toBe(1);
    m.step(insn.cpuid);
    m.write({ 'Guest RFLAGS': 0xcd5 });
    m.step(insn.vmresume);
    expect(m.exitReason).toBe(0x8000_0021);
  });

  it('as often as another VMCS was current in between', () => {
    const m = checkedGuest();
    m.u32(OTHER_VMCS, VMCS_REVISION);
    m.withPointer(insn.vmclear, OTHER_VMCS).withPointer(insn.vmptrld, OTHER_VMCS);
    m.step(insn.vmlaunch);
    expect(m.status()).toBe(7);
    m.u64(VMCS_REGION + offsetOf('Guest RFLAGS'), 0n);
    m.withPointer(insn.vmptrld, VMCS_REGION).step(insn.vmresume);
    expect(m.exitReason).toBe(0x8000_0021);
  });

  it('by VMWRITE, and by VMCLEAR with another content of the region', () => {
    const m = checkedGuest();
    m.state.setGpr(0, 0x6820n);
    m.state.setGpr(1, 0n);
    m.step(insn.vmwriteRaxRcx);
    m.withPointer(insn.vmclear, VMCS_REGION).withPointer(insn.vmptrld, VMCS_REGION).step(insn.vmlaunch);
    expect(m.exitReason).toBe(0x8000_0021);
    m.write({ 'Guest RFLAGS': 2 }).step(insn.vmlaunch);
    expect(m.state.nonRoot).toBe(1);
  });

  it('by IA32_EFER of the host, which a rule compares with', () => {
    const m = checkedGuest();
    m.state.efer &= ~0x400;
    m.step(insn.vmresume);
    expect(m.status()).toBe(8);
  });

  it('and passes again once it is right', () => {
    const m = checkedGuest().write({ 'Guest RFLAGS': 0 });
    m.step(insn.vmresume);
    m.write({ 'Guest RFLAGS': 2 });
    m.step(insn.vmresume);
    expect(m.state.nonRoot).toBe(1);
  });
});
