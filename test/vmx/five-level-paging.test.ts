/** VM entries and VM exits with 5-level paging (SDM volume 3, "VM Entries", "VM Exits"; "5-Level Paging and 5-Level EPT"). */
import { describe, expect, it, test } from 'vitest';
import { CR4 } from '../../engine/cpu/register-bits.ts';
import { linearAddressOf } from '../../engine/isa/linear-address.ts';
import { insn, type Values, VmxMachine } from './machine.ts';

/** The last address of 57 bits, and the first that 48 bits do not have. */
const LAST = (1n << 56n) - 1n;
const FIRST = 1n << 47n;

const broken = (values: Values): string[] =>
  new VmxMachine()
    .ready(values)
    .vmx.violatedRules()
    .map(({ id }) => id);
const hostCr4 = (): bigint => new VmxMachine().ready({}).read('Host CR4') | BigInt(CR4.LA57);
const guestCr4 = (): bigint => new VmxMachine().ready({}).read('Guest CR4') | BigInt(CR4.LA57);

describe('a check of VM entry', () => {
  test.each([FIRST, LAST])('Host RIP is canonical in the paging mode of the host: %s', (rip) => {
    expect(broken({ 'Host RIP': rip })).toEqual(['host-rip-canonical']);
    expect(broken({ 'Host RIP': rip, 'Host CR4': hostCr4() })).toEqual([]);
  });
  test.each([
    'Host GS base',
    'Host TR base',
    'Host GDTR base',
    'Host IA32_SYSENTER_EIP',
    'Guest GS base',
    'Guest IDTR base',
    'Guest RIP',
  ] as const)('%s is canonical for the processor, whatever the paging mode', (field) => {
    expect(broken({ [field]: LAST })).toEqual([]);
  });
});

it('enters and leaves a guest with all bits of its addresses', () => {
  const m = new VmxMachine().ready({ 'Guest CR4': guestCr4(), 'Guest RIP': LAST - 20n, 'Guest GS base': LAST - 2n });
  m.step(insn.vmlaunch);
  expect(m.state.nonRoot).toBe(1);
  expect(m.state.cr4 & CR4.LA57).toBe(CR4.LA57);
  expect(m.state.rip).toBe(linearAddressOf(LAST - 20n));
  m.step(insn.cpuid);
  expect(m.state.nonRoot).toBe(0);
  expect(m.state.cr4 & CR4.LA57).toBe(0);
  expect(m.read('Guest RIP')).toBe(LAST - 20n);
  expect(m.read('Guest GS base')).toBe(LAST - 2n);
  expect(m.read('Guest CR4') & BigInt(CR4.LA57)).toBe(BigInt(CR4.LA57));
});
