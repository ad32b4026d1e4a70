/** The VMCSs that debuggers list. */
import { expect, it } from 'vitest';
import { KnownVmcss, MAX_KNOWN_VMCSS } from '../../engine/vmx/known-vmcss.ts';
import { insn, OTHER_VMCS, VMCS_REGION, VmxMachine } from './machine.ts';

it('knows those that VMCLEAR and VMPTRLD were given, not those that failed', () => {
  const m = new VmxMachine().vmxon().current();
  const { known } = m.vmx.parts;
  expect(known.addresses).toEqual([VMCS_REGION]);
  m.withPointer(insn.vmclear, OTHER_VMCS + 8);
  expect(known.addresses).toEqual([VMCS_REGION]);
  m.withPointer(insn.vmclear, OTHER_VMCS);
  expect(known.addresses).toEqual([VMCS_REGION, OTHER_VMCS]);
});

it('forgets those named longest ago where a guest names too many', () => {
  const known = new KnownVmcss();
  for (let page = 0; page <= MAX_KNOWN_VMCSS; page++) {
    known.named(page);
    known.named(0);
  }
  expect(known.addresses).toHaveLength(MAX_KNOWN_VMCSS);
  expect(known.addresses.slice(0, 2)).toEqual([0, 2]);
});
