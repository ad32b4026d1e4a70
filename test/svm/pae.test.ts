/**
 * PAE paging and nested paging: the guest's PDPTEs are not registers but entries that walks read (AMD64 APM volume 2,
 * "Legacy PAE Mode"), and so are those of a host.
 */
import { expect, test } from 'vitest';
import { CR0, CR4, EFER } from '../../engine/cpu/register-bits.ts';
import { mappedRanges, nestedRoot, pagingChildren, pagingRoots } from '../../engine/inspect/page-tables.ts';
import { ExitCode, FirstCode } from '../../engine/svm/exit-codes.ts';
import { GUEST_RIP, insn, STACK, SvmMachine, sel, VMCB } from './machine.ts';

/** The host's tables for the guest: the first 2 MiB. */
const NESTED = 0x4_0000;
/** The guest's: four PDPTEs, of which the first leads to a page directory. */
const GUEST = 0x5_0000;
const PAGE_FAULT = FirstCode.exception + 14;

/** A guest in 32-bit protected mode with PAE paging, its memory as the host's. */
function paeGuest(): SvmMachine {
  const machine = new SvmMachine();
  const { physical } = machine;
  for (const [at, value] of [
    [NESTED, (NESTED + 0x1000) | 7],
    [NESTED + 0x1000, (NESTED + 0x2000) | 7],
    [NESTED + 0x2000, 0x87],
    [GUEST, (GUEST + 0x1000) | 1],
    [GUEST + 0x1000, 0x87],
  ] as const)
    physical.writeU32(at, value);
  machine.set({ NP_ENABLE: 1, N_CR3: NESTED, CR3: GUEST, CR0: (CR0.PG | CR0.PE | CR0.ET) >>> 0, CR4: CR4.PAE });
  machine.set({ EFER: EFER.SVME, 'CS selector': sel.code32, 'CS attributes': 0xc9b, RIP: GUEST_RIP, RSP: STACK });
  return machine
    .set({ 'DS attributes': 0xc93, 'DS limit': 0xffff_ffff })
    .intercept(PAGE_FAULT, FirstCode.exception + 13);
}
/** SGDT to 18000H, in 32-bit code. */
const store = '0f 01 05 00 80 01 00';

test('a guest’s PDPTE leads on, without rights or accessed flag', () => {
  const machine = paeGuest().enter();
  machine.step(store);
  expect(machine.state.svmGuest).toBe(1);
  expect(machine.physical.readU32(0x1_8000) & 0xffff).toBe(machine.state.gdtrLimit);
  expect(machine.physical.readU32(GUEST)).toBe((GUEST + 0x1000) | 1);
});

test('reserved bits are a page fault of the walk that meets them, not of VMRUN or MOV to CR3', () => {
  const machine = paeGuest();
  machine.physical.writeU32(GUEST, (GUEST + 0x1000) | 3);
  machine.enter();
  expect(machine.state.svmGuest).toBe(1);
  machine.state.setGpr(0, BigInt(GUEST));
  machine.step('0f 22 d8');
  expect([machine.state.svmGuest, machine.state.cr3]).toEqual([1, GUEST]);
  machine.step(store);
  expect(machine.exitOf()).toMatchObject({ code: PAGE_FAULT, info1: 0xbn, info2: 0x1_8000n });
});

test('a change takes effect without a load of CR3, once no translation is cached', () => {
  const machine = paeGuest();
  machine.enter();
  machine.physical.writeU32(GUEST, 0);
  machine.step(store);
  expect(machine.exitOf()).toMatchObject({ code: PAGE_FAULT, info1: 2n });
});

test('without nested paging, VMRUN loads and checks them', () => {
  const machine = paeGuest().set({ NP_ENABLE: 0 });
  machine.physical.writeU32(GUEST, (GUEST + 0x1000) | 3);
  expect(machine.enter().exitOf().code).toBe(ExitCode.INVALID);
});

test('a host with PAE paging has PDPTEs for its guest without rights and accessed flags', () => {
  const machine = paeGuest();
  const { state, physical } = machine;
  // N_CR3 names four PDPTEs, by the host's mode.
  physical.writeU32(NESTED, (NESTED + 0x1000) | 1);
  physical.writeU32(NESTED + 0x1000, 0x87);
  state.efer &= ~(EFER.LME | EFER.LMA);
  state.vmcb = VMCB;
  const context = machine.svm.nestedPaging;
  const { mmu } = machine;
  const root = context && nestedRoot(mmu, context);
  expect(root).toMatchObject({ structure: 'nested', level: 'PDPTE', depth: 0 });
  if (!root || !context) return;
  expect(mappedRanges(mmu, root, { ...mmu.currentSpace(), ept: context })).toEqual({
    ranges: [{ first: 0, last: 0x1f_ffff, target: 0, rights: 'RWXU' }],
    complete: true,
  });
  machine.enter();
  machine.step(store);
  expect(state.svmGuest).toBe(1);
  expect(physical.readU32(NESTED)).toBe((NESTED + 0x1000) | 1);
});

test('both trees: the guest’s from its PDPTEs in memory, the nested one from N_CR3', () => {
  const machine = paeGuest().enter();
  const { guest, ept } = pagingRoots(machine.mmu);
  expect([guest, ept]).toMatchObject([
    { structure: 'guest', level: 'PDPTE', depth: 0, address: GUEST },
    { structure: 'nested', level: 'PML4E', address: NESTED },
  ]);
  if (!guest || !ept) return;
  expect(mappedRanges(machine.mmu, guest).ranges).toEqual([{ first: 0, last: 0x1f_ffff, target: 0, rights: 'RWXU' }]);
  const [entry] = pagingChildren(machine.mmu, ept);
  expect(entry).toMatchObject({ kind: 'entry', hostPhysical: NESTED, table: { structure: 'nested', level: 'PDPTE' } });
  machine.step(insn.vmmcall);
  expect(pagingRoots(machine.mmu).ept).toBeUndefined();
});
