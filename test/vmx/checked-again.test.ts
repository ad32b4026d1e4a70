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

  it('and passes again once it is right', () => {
    const m = checkedGuest().write({ 'Guest RFLAGS': 0 });
    m.step(insn.vmresume);
    m.write({ 'Guest RFLAGS': 2 });
    m.step(insn.vmresume);
    expect(m.state.nonRoot).toBe(1);
  });
});
