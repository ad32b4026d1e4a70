import { describe, expect, it } from 'vitest';
import { GuestFault, VmExit } from '../../engine/cpu/events.ts';
import { Access } from '../../engine/mmu/access.ts';
import { SECONDARY as SECONDARY_BITS } from '../../engine/vmx/controls.ts';
import { PAGE_TABLES, sel } from '../cpu/machine.ts';
import { bareHypervisor, EPT_ROOT } from './bare-hypervisor.ts';
import { controls, EPT, insn, MSR_AREA, type Values, VmxMachine } from './machine.ts';

const SECONDARY = 'Secondary processor-based VM-execution controls';
const secondary = (...names: string[]): Values => ({
  [SECONDARY]: controls('secondary', 'Enable EPT', 'Enable VPID', ...names),
});
const PAGE = 0x6_0000;
const LOG = 0x5_0000;
const AREA = 0x5_1000;
const HANDLER = 0x6800;
const [EPT_VIOLATION, LOG_FULL] = [48, 62];
const DIRTY = 0x200n;
const SUPPRESS_VE = 1n << 63n;

/** Runs an access as the run loop does: with what it throws dealt with. */
function attempt(m: VmxMachine, access: () => void): VmxMachine {
  try {
    access();
  } catch (event) {
    if (!(event instanceof VmExit || event instanceof GuestFault)) throw event;
    m.vmx.handleEvent(event, 0);
  }
  return m;
}
const write = (m: VmxMachine, address: number): VmxMachine => attempt(m, () => m.mmu.writeU32(address, 1));

describe('page-modification logging', () => {
  const logging = (index: number, eptp = EPT | 0x5e): VmxMachine =>
    new VmxMachine().inGuest({
      ...secondary('Enable PML'),
      'EPT pointer': eptp,
      'PML address': LOG,
      'PML index': index,
    });
  const entry = (m: VmxMachine, index: number): bigint => m.physical.readU64(LOG + index * 8);

  it('a write that sets a dirty flag of EPT is logged, and the index goes down', () => {
    // The guest's page tables are written first, as their accessed flags are.
    const m = logging(511);
    m.mmu.readU32(PAGE + 0x1000);
    const before = Number(m.read('PML index'));
    write(m, PAGE + 0x123);
    expect(entry(m, before)).toBe(BigInt(PAGE));
    expect(m.read('PML index')).toBe(BigInt(before - 1));
    expect(m.physical.readU64(m.eptEntry(PAGE)) & DIRTY).toBe(DIRTY);
  });
  it('only once', () => {
    const m = write(logging(511), PAGE);
    const index = m.read('PML index');
    write(m, PAGE + 8);
    m.mmu.invept(2, 0);
    write(m, PAGE + 16);
    expect(m.read('PML index')).toBe(index);
  });
  it('a read is not logged', () => {
    const m = logging(511);
    m.mmu.readU32(PAGE);
    const index = m.read('PML index');
    m.mmu.readU32(PAGE + 0x1000);
    expect(m.read('PML index')).toBe(index);
  });
  it.each([
    ['0 is the last entry', 0, 0, 0xffff],
    ['below it the log is full', 0xffff, LOG_FULL, 0xffff],
    ['so it is above its entries', 512, LOG_FULL, 512],
  ])('index %s', (_, index, reason, after) => {
    const m = logging(511);
    m.mmu.readU32(PAGE);
    m.write({ 'PML index': index });
    write(m, PAGE);
    expect(m.read('PML index')).toBe(BigInt(after));
    expect(m.state.nonRoot).toBe(reason === 0 ? 1 : 0);
    if (reason === 0) return;
    expect(m.exitReason).toBe(reason);
    expect(m.physical.readU64(m.eptEntry(PAGE)) & DIRTY).toBe(0n);
    expect(m.read('Guest RFLAGS') & 0x1_0000n, 'RF').toBe(0x1_0000n);
  });
  it('without dirty flags there is nothing to log', () => {
    expect(write(logging(511, EPT | 0x1e), PAGE).read('PML index')).toBe(511n);
  });
  it('peeks are not logged', () => {
    const m = logging(511);
    m.mmu.readU32(PAGE);
    const index = m.read('PML index');
    m.mmu.peekTranslate(PAGE, Access.Write);
    expect(m.read('PML index')).toBe(index);
  });
});

describe('mode-based execute control', () => {
  const EXECUTE_SUPERVISOR = 4n;
  const EXECUTE_USER = 1n << 10n;
  const READ_WRITE = 0x33n;
  /** The page tables of the tests map user-mode pages; `user` = false makes them supervisor pages. */
  function fetch(rights: bigint, user: boolean, more: readonly string[] = ['Mode-based execute control for EPT']) {
    const m = new VmxMachine().inGuest(secondary(...more));
    const pde = PAGE_TABLES + 0x2000;
    if (!user) m.u64(pde, m.physical.readU64(pde) & ~4n);
    for (const at of [EPT, EPT + 0x1000, EPT + 0x2000]) m.u64(at, m.physical.readU64(at) | EXECUTE_USER);
    m.u64(m.eptEntry(PAGE), BigInt(PAGE) | READ_WRITE | rights);
    m.mmu.invept(2, 0);
    m.mmu.invpcid(3, 0, 0);
    return attempt(m, () => m.mmu.translate(PAGE, Access.Execute));
  }
  it.each([
    ['a user-mode address by bit 10', EXECUTE_USER, true, true],
    ['a user-mode address not by bit 2', EXECUTE_SUPERVISOR, true, false],
    ['a supervisor-mode address by bit 2', EXECUTE_SUPERVISOR, false, true],
    ['a supervisor-mode address not by bit 10', EXECUTE_USER, false, false],
    ['without the control by bit 2', EXECUTE_SUPERVISOR, true, true, []],
    ['without the control not by bit 10', EXECUTE_USER, true, false, []],
  ])('%s', (_, rights, user, allowed, more?: readonly string[]) => {
    const m = fetch(rights, user, more);
    expect(m.state.nonRoot).toBe(allowed ? 1 : 0);
    if (!allowed) expect(m.exitReason).toBe(EPT_VIOLATION);
  });
  it('the qualification tells both rights', () => {
    expect(fetch(EXECUTE_SUPERVISOR, true).read('Exit qualification') & 0x7fn).toBe(0x3cn);
    expect(fetch(EXECUTE_USER, true, []).read('Exit qualification') & 0x7fn).toBe(0x1cn);
  });
  it.each([
    ['by bit 10', EXECUTE_USER, true],
    ['not by bit 2', EXECUTE_SUPERVISOR, false],
  ])('without paging, addresses count as user-mode ones: %s', (_, rights, allowed) => {
    const m = new VmxMachine().inGuest({
      ...secondary('Mode-based execute control for EPT', 'Unrestricted guest'),
      'VM-entry controls': controls('entry'),
      'Guest CR0': 0x21,
      'Guest CR4': 0x2000,
      'Guest CS access rights': 0xc09b,
    });
    for (const at of [EPT, EPT + 0x1000, EPT + 0x2000]) m.u64(at, m.physical.readU64(at) | EXECUTE_USER);
    m.u64(m.eptEntry(PAGE), BigInt(PAGE) | READ_WRITE | rights);
    attempt(m, () => m.mmu.translate(PAGE, Access.Execute));
    expect(m.state.nonRoot).toBe(allowed ? 1 : 0);
    if (!allowed) expect(m.read('Exit qualification')).toBe(0x7bcn);
  });
  it('the cached guest-physical mapping keeps both', () => {
    const m = fetch(EXECUTE_USER, true);
    expect(m.state.nonRoot).toBe(1);
    m.mmu.invpcid(3, 0, 0);
    m.u64(m.eptEntry(PAGE), 0n);
    expect(m.mmu.translate(PAGE, Access.Execute)).toBe(PAGE);
  });
});

describe('virtualization exceptions', () => {
  const values: Values = {
    ...secondary('EPT-violation #VE'),
    'Virtualization-exception information address': AREA,
    'EPTP index': 5,
  };
  const guest = (more: Values = {}): VmxMachine => {
    const m = new VmxMachine();
    m.gate(20, sel.code64, HANDLER);
    m.inGuest({ ...values, ...more });
    m.u64(m.eptEntry(PAGE), 0n);
    return m;
  };
  it('an EPT violation becomes #VE, with what it was about in the information area', () => {
    const m = write(guest(), PAGE + 8);
    expect([m.state.nonRoot, m.state.rip]).toEqual([1, HANDLER]);
    expect(m.physical.readU32(AREA)).toBe(EPT_VIOLATION);
    expect(m.physical.readU32(AREA + 4)).toBe(0xffff_ffff);
    expect(m.physical.readU64(AREA + 8)).toBe(0x782n);
    expect(m.physical.readU64(AREA + 16)).toBe(BigInt(PAGE + 8));
    expect(m.physical.readU64(AREA + 24)).toBe(BigInt(PAGE + 8));
    expect(m.physical.readU16(AREA + 32)).toBe(5);
  });
  it('the filter of exceptions stops at it, before the information is written', async () => {
    const run = await bareHypervisor({
      guest: 'mov eax, [0x40000000]',
      secondary: SECONDARY_BITS['Enable EPT'] | SECONDARY_BITS['EPT-violation #VE'],
      fields: { 'EPT pointer': EPT_ROOT | 0x1e, 'Virtualization-exception information address': 0x29_0000 },
      setUp: `mov dword [${EPT_ROOT + 0x1008}], 0\n mov rax, cr3\n mov rax, [rax]\n and rax, -4096\n mov dword [rax + 8], 0x40000083\n`,
    });
    run.machine.setFilter('exception', true, ({ values }) => values.name === '#VE');
    const stop = run.machine.run({ instructions: 100_000 });
    expect(stop).toMatchObject({ kind: 'event', event: { filter: 'exception', values: { vector: 20n } } });
    expect(run.machine.host.physical.readU32(0x29_0004)).toBe(0);
    run.machine.run({ instructions: 1 });
    expect(run.machine.host.physical.readU32(0x29_0004)).toBe(0xffff_ffff);
  });
  const exits = (m: VmxMachine): void => {
    expect(write(m, PAGE).exitReason).toBe(EPT_VIOLATION);
    expect(m.physical.readU32(AREA)).toBe(0);
  };
  it('not if the entry suppresses it', () => {
    const m = guest();
    m.u64(m.eptEntry(PAGE), SUPPRESS_VE);
    exits(m);
  });
  it('of a page that is mapped, its last entry counts', () => {
    const m = guest();
    m.u64(m.eptEntry(PAGE), BigInt(PAGE) | 0x31n | SUPPRESS_VE);
    exits(m);
    const other = guest();
    other.u64(other.eptEntry(PAGE), BigInt(PAGE) | 0x31n);
    expect(write(other, PAGE).state.rip).toBe(HANDLER);
  });
  it('not while the information area is in use', () => {
    const m = guest();
    m.u32(AREA + 4, 1);
    exits(m);
  });
  it('not without the control', () => {
    exits(guest(secondary()));
  });
  it('not while an event is delivered', () => {
    const m = guest({ 'Guest RSP': PAGE + 0x100 });
    m.gate(6, sel.code64, HANDLER);
    m.step('0f 0b');
    expect(m.exitReason).toBe(EPT_VIOLATION);
  });
  it('the exception bitmap makes it exit', () => {
    const m = write(guest({ 'Exception bitmap': 1 << 20 }), PAGE);
    expect(m.exitReason).toBe(0);
    expect(m.read('VM-exit interruption information')).toBe(0x8000_0314n);
  });
  it('EPTP switching keeps the EPTP index', () => {
    const names = ['EPT-violation #VE', 'Enable VM functions'];
    const m = guest({ ...secondary(...names), 'VM-function controls': 1, 'EPTP-list address': MSR_AREA });
    m.u64(MSR_AREA + 3 * 8, BigInt(EPT) | 0x1en);
    m.state.setGpr(0, 0n);
    m.state.setGpr(1, 3n);
    m.step(insn.vmfunc);
    expect(m.read('EPTP index')).toBe(3n);
  });
});

describe('EPT with a page-walk length of 5', () => {
  const PML5 = 0x5_2000;
  const FIVE_LEVELS = 0x26;
  const guest = (entry = BigInt(EPT) | 7n): VmxMachine => {
    const m = new VmxMachine().ready({ 'EPT pointer': PML5 | FIVE_LEVELS });
    m.u64(PML5, entry);
    m.step(insn.vmlaunch);
    expect(m.state.nonRoot).toBe(1);
    return m;
  };
  const read = (m: VmxMachine): VmxMachine => attempt(m, () => m.mmu.readU32(PAGE));
  it('goes by a PML5E to the PML4E', () => {
    const m = guest();
    m.u32(PAGE, 0x1234);
    expect(m.mmu.readU32(PAGE)).toBe(0x1234);
  });
  it('the rights of the PML5E count', () => {
    const m = guest(BigInt(EPT) | 5n);
    expect(read(m).state.nonRoot).toBe(1);
    expect(write(m, PAGE).exitReason).toBe(EPT_VIOLATION);
    expect(m.read('Exit qualification') & 0x3fn).toBe(0x2an);
  });
  it('one that is not present is a violation', () => {
    expect(read(guest(0n)).exitReason).toBe(EPT_VIOLATION);
  });
  it.each([3, 4, 5, 6, 7])('bit %i of it is reserved', (bit) => {
    expect(read(guest(BigInt(EPT) | 7n | (1n << BigInt(bit)))).exitReason).toBe(49);
  });
  it('a length of 4 takes the same table for PML4Es', () => {
    const m = new VmxMachine().inGuest({ 'EPT pointer': EPT | 0x1e });
    m.u32(PAGE, 0x1234);
    expect(m.mmu.readU32(PAGE)).toBe(0x1234);
  });
});

describe('sub-page write permissions', () => {
  const TABLE = 0x5_2000;
  const SUB_PAGES = 1n << 61n;
  const SPP = 66;
  const MISS = 0x800n;
  const vectorAt = TABLE + 0x3000 + (PAGE / 4096) * 8;
  /** The page can be read; of its sub-pages, those of the vector can be written. */
  const guest = (vector: bigint, entry = BigInt(PAGE) | 0x35n | SUB_PAGES): VmxMachine => {
    const names = ['Sub-page write permissions for EPT'];
    const m = new VmxMachine().inGuest({ ...secondary(...names), 'Sub-page-permission-table pointer': TABLE });
    for (const at of [0, 0x1000, 0x2000]) m.u64(TABLE + at, BigInt(TABLE + at + 0x1000) | 1n);
    m.u64(vectorAt, vector);
    m.u64(m.eptEntry(PAGE), entry);
    return m;
  };
  it('a write to a sub-page whose bit is 1 is made, again and again', () => {
    const m = guest(1n << 6n);
    m.mmu.readU32(PAGE);
    for (const value of [1, 2, 3]) {
      m.mmu.writeU32(PAGE + 3 * 128 + 4, value);
      expect(m.physical.readU32(PAGE + 3 * 128 + 4)).toBe(value);
    }
  });
  it.each([
    ['the sub-page below', 2 * 128 + 124],
    ['the sub-page above', 4 * 128],
  ])('%s is not', (_, offset) => {
    const m = write(guest(1n << 6n), PAGE + offset);
    expect(m.exitReason).toBe(EPT_VIOLATION);
    expect(m.read('Exit qualification') & 0x3fn).toBe(0x2an);
  });
  it('the last sub-page has bit 62', () => {
    expect(write(guest(1n << 62n), PAGE + 31 * 128).state.nonRoot).toBe(1);
  });
  it('a write across the end needs both', () => {
    const across = (vector: bigint) => attempt(guest(vector), () => {}).mmu;
    expect(() => across(1n << 6n).writeU32(PAGE + 3 * 128 + 126, 1)).toThrow(VmExit);
    expect(() => across((1n << 6n) | (1n << 8n)).writeU32(PAGE + 3 * 128 + 126, 1)).not.toThrow();
  });
  it('a page walk that sets accessed flags does not ask: it is a violation', () => {
    const m = guest(-1n & 0x5555_5555_5555_5555n);
    m.u64(PAGE_TABLES + 0x2000 + 8, BigInt(PAGE) | 7n);
    m.u64(PAGE, 0x7_0007n);
    attempt(m, () => m.mmu.readU32(0x20_0000));
    expect(m.exitReason).toBe(EPT_VIOLATION);
    expect(m.read('Exit qualification')).toBe(0xabn);
  });
  it('without bit 61 of the entry, or the control, a write is a violation', () => {
    expect(write(guest(-1n, BigInt(PAGE) | 0x35n), PAGE).exitReason).toBe(EPT_VIOLATION);
  });
  it.each([
    ['an entry that is not valid: a miss', (m: VmxMachine) => m.u64(TABLE + 0x1000, 0n), MISS],
    ['a reserved bit of an entry', (m: VmxMachine) => m.u64(TABLE + 0x1000, BigInt(TABLE + 0x2000) | 3n), 0n],
    ['a reserved bit of the vector', (m: VmxMachine) => m.u64(vectorAt, 3n), 0n],
  ])('%s', (_, change, qualification) => {
    const m = guest(1n);
    change(m);
    expect(write(m, PAGE).exitReason).toBe(SPP);
    expect(m.read('Exit qualification')).toBe(qualification);
    expect(m.read('Guest-physical address')).toBe(BigInt(PAGE));
    expect(m.read('Guest-linear address')).toBe(BigInt(PAGE));
  });
});
