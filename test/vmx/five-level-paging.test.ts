/** VM entries and VM exits with 5-level paging (SDM volume 3, "VM Entries", "VM Exits"; "5-Level Paging and 5-Level EPT"). */
import { describe, expect, it, test } from 'vitest';
import { CR4 } from '../../engine/cpu/register-bits.ts';
import { linearAddressOf } from '../../engine/isa/linear-address.ts';
import { type BareHypervisor, writeAll } from './bare-hypervisor.ts';
import { insn, type Values, VmxMachine } from './machine.ts';
import { observed, pairOf, rounds } from './world-switch-pair.ts';

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

/** Each exit goes to a host with five levels, at an address that 48 bits do not have; the guest has four, or five as well. */
function fiveLevelHost(isGuestToo: boolean): BareHypervisor {
  const pml5 = 0x26_0000;
  const program = rounds(400);
  const host = {
    'Host CR4': 'r8',
    'Host CR3': pml5,
    'Host RIP': '0x00ff000000000000 + vm_exit',
    'Host GS base': '0x00ff000000001234',
  };
  const guest = { 'Guest CR4': 'r8', 'Guest CR3': pml5, 'Guest RIP': '0xff00000000000000 + guest' };
  const setUp = `
    ${program.setUp}
    mov rax, cr3
    or al, 3
    mov [${pml5}], rax
    mov [${pml5 + 8 * 0xff}], rax
    mov [${pml5 + 8 * 0x100}], rax
    mov r8, cr4
    or r8, ${CR4.LA57}
    ${writeAll(isGuestToo ? { ...host, ...guest } : host)}`;
  return { ...program, setUp };
}

describe.each([
  ['four levels', false],
  ['five levels', true],
])('compiled VM exits of a guest with %s to a host with five', (_name, isGuestToo) => {
  test('are as those made step by step', async () => {
    const { planned, stepwise, switches } = await pairOf(fiveLevelHost(isGuestToo));
    expect(planned.run()).toEqual(stepwise.run());
    expect(observed(planned)).toEqual(observed(stepwise));
    expect(planned.exitLog().total).toBeGreaterThan(1200);
    expect(switches()).toBeGreaterThan(600);
    const { nonRoot, cr4, rip } = planned.host.state;
    expect([nonRoot, cr4 & CR4.LA57]).toEqual([0, CR4.LA57]);
    expect(rip).toBeGreaterThan(0x00ff_0000_0000_0000);
  });

  test.each([13, 1000])('and in slices of %i instructions', async (instructions) => {
    const { planned, stepwise } = await pairOf(fiveLevelHost(isGuestToo));
    for (let slice = 0; slice < 20; slice++) {
      expect(planned.run({ instructions })).toEqual(stepwise.run({ instructions }));
      expect(observed(planned)).toEqual(observed(stepwise));
    }
  });
});
