/** Every rule of VMRUN, broken by itself: #VMEXIT(INVALID), with the host as it was and GIF 0. */
import { expect, test } from 'vitest';
import { consistencyRules, violations } from '../../engine/svm/consistency-checks.ts';
import { ExitCode } from '../../engine/svm/exit-codes.ts';
import type { VmcbFieldName } from '../../engine/svm/vmcb-fields.ts';
import { SvmMachine, VMCB } from './machine.ts';

type Values = Partial<Record<VmcbFieldName, bigint | number>>;

/** What breaks a rule and no other. */
const breaks: Readonly<Record<string, Values>> = {
  'efer-svme': { EFER: 0xd01 },
  'cr0-cd-nw': { CR0: 0xa001_0031 },
  'cr0-high': { CR0: 0x1_8001_0031n },
  'cr3-mbz': { CR3: 1n << 40n },
  'cr4-mbz': { CR4: 0x20 | (1 << 13) },
  'dr6-high': { DR6: 1n << 32n },
  'dr7-high': { DR7: 1n << 32n },
  'efer-mbz': { EFER: 0x1d03 },
  'long-mode-pae': { CR4: 0 },
  'long-mode-pe': { CR0: 0x8001_0030 },
  'long-mode-cs': { 'CS attributes': 0xe9b },
  'vmrun-intercept': { 'Intercept vector 4': 2 },
  'msrpm-address': { MSRPM_BASE_PA: (1n << 39n) - 0x1000n },
  'iopm-address': { IOPM_BASE_PA: (1n << 39n) - 0x2000n },
  'asid-zero': { 'Guest ASID': 0 },
  'asid-range': { 'Guest ASID': 0x8000 },
  'n-cr3-mbz': { NP_ENABLE: 1, N_CR3: 1n << 40n },
  'g-pat': { NP_ENABLE: 1, G_PAT: 2 },
  'event-injection': { EVENTINJ: 0x8000_0132 },
};

test.each(Object.entries(breaks))('%s', (id, values) => {
  const machine = new SvmMachine().set(values).enter();
  expect(machine.exitOf().code).toBe(ExitCode.INVALID);
  expect(violations(machine.svm.parts).map((rule) => rule.id)).toEqual([id]);
  const { state } = machine;
  expect([state.svmGuest, state.globalInterruptFlag, state.gpr(0)]).toEqual([0, 0, BigInt(VMCB)]);
});

test('nested paging needs a host with paging', () => {
  const machine = new SvmMachine().set({ NP_ENABLE: 1 });
  machine.state.cr0 &= 0x7fff_ffff;
  machine.state.vmcb = VMCB;
  expect(violations(machine.svm.parts).map((rule) => rule.id)).toContain('nested-paging-host');
});

test('every rule is here, or in the test above', () => {
  const ids = consistencyRules.map(({ id }) => id).filter((id) => id !== 'nested-paging-host');
  expect(Object.keys(breaks).sort()).toEqual(ids.sort());
});

test.each([
  ['an exception that 64-bit code cannot meet', 0x8000_0304, true],
  ['a page fault', 0x8000_0b0e, false],
  ['nothing, whatever the other bits', 0x0000_0132, false],
])('injection of %s', (_name, low, isRefused) => {
  const machine = new SvmMachine().set({ EVENTINJ: low });
  machine.state.vmcb = VMCB;
  expect(violations(machine.svm.parts).length > 0).toBe(isRefused);
});
