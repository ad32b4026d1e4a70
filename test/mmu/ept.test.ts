import { describe, expect, it } from 'vitest';
import { CR0 } from '../../engine/cpu/register-bits.ts';
import { Access } from '../../engine/mmu/access.ts';
import { PagingMode } from '../../engine/mmu/paging-structures.ts';
import {
  A,
  bench,
  D,
  EPT_ROOT,
  enable,
  enableEpt,
  exitOf,
  map,
  P,
  PS,
  R,
  RW,
  RWX,
  read64,
  thrown,
  W,
  WB,
  write64,
  X,
} from './machine.ts';

const LINEAR = 0x40_3000;
const EPT_A = 1n << 8n;
const EPT_D = 1n << 9n;
const EPTP_AD = 0x5e;

/** Exit qualification bits of EPT violations. */
const READ = 1n;
const WRITE = 2n;
const FETCH = 4n;
const ALLOWED = (rights: bigint) => rights << 3n;
const LINEAR_VALID = 1n << 7n;
/** The translation of the linear address; the page that the tests use is supervisor, writable and executable for the guest. */
const FINAL = (1n << 8n) | (1n << 10n);
/** Without paging, linear addresses are user-mode ones. */
const UNPAGED = 1n << 9n;

function nested(entry = 0x9000n | P | RW, eptpFlags?: number) {
  const b = bench();
  const at = map(b, PagingMode.Level4, LINEAR, entry);
  enable(b, PagingMode.Level4);
  const eptEntry = enableEpt(b, 1, eptpFlags);
  return { ...b, at, eptEntry };
}

describe('EPT violations', () => {
  it('an absent entry: what was tried, nothing allowed, both addresses', () => {
    const b = nested();
    write64(b, b.eptEntry(0x9000), 0n);
    const exit = exitOf(() => b.mmu.translate(LINEAR + 5, Access.Write));
    expect(exit.reason).toBe(48);
    expect(exit.qualification).toBe(WRITE | LINEAR_VALID | FINAL);
    expect(exit.guestPhysical).toBe(0x9005);
    expect(exit.guestLinear).toBe(LINEAR + 5);
  });

  it.each([
    ['write to read-only', Access.Write, R, WRITE],
    ['fetch from read-write', Access.Execute, R | W, FETCH],
    ['read of execute-only', Access.Read, X, READ],
  ] as const)('%s: bits 5:3 say what the entries allow', (_name, access, rights, tried) => {
    const b = nested();
    write64(b, b.eptEntry(0x9000), 0x9000n | rights | WB);
    const exit = exitOf(() => b.mmu.translate(LINEAR, access));
    expect(exit.qualification).toBe(tried | ALLOWED(rights) | LINEAR_VALID | FINAL);
  });

  it('bits 5:3 are the AND over all levels', () => {
    const b = nested();
    write64(b, EPT_ROOT, BigInt(EPT_ROOT + 0x1000) | R | X);
    b.state.cr0 = CR0.PE;
    const exit = exitOf(() => b.mmu.translate(0x9000, Access.Write));
    expect(exit.qualification).toBe(WRITE | ALLOWED(R | X) | LINEAR_VALID | FINAL | UNPAGED);
  });

  it('reading a guest paging-structure entry: bit 8 clear', () => {
    const b = nested();
    write64(b, b.eptEntry(0x3000), 0n);
    const exit = exitOf(() => b.mmu.translate(LINEAR, Access.Write));
    expect(exit.qualification).toBe(READ | LINEAR_VALID);
    expect(exit.guestPhysical).toBe(b.at.PDE);
  });

  it('setting A in a guest entry that EPT makes read-only: read and write', () => {
    const b = nested();
    write64(b, b.eptEntry(0x4000), 0x4000n | R | WB);
    const exit = exitOf(() => b.mmu.translate(LINEAR, Access.Read));
    expect(exit.qualification).toBe(READ | WRITE | ALLOWED(R) | LINEAR_VALID);
    write64(b, b.at.PTE, 0x9000n | P | RW | A | D);
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Write))).toBe('nothing');
  });

  it('with A/D flags for EPT, accesses to guest entries are writes', () => {
    const b = nested(0x9000n | P | RW | A | D, EPTP_AD);
    write64(b, b.eptEntry(0x4000), 0x4000n | R | WB);
    const exit = exitOf(() => b.mmu.translate(LINEAR, Access.Read));
    expect(exit.qualification).toBe(READ | WRITE | ALLOWED(R) | LINEAR_VALID);
  });

  it('a fault of the guest comes before a violation by the page', () => {
    const b = nested(0x9000n | P);
    write64(b, b.eptEntry(0x9000), 0n);
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Write))).toBe('#PF(3)');
  });

  it('bit 12 while IRET undoes blocking by NMI', () => {
    const b = nested();
    write64(b, b.eptEntry(0x9000), 0n);
    b.mmu.nmiUnblockingDueToIret = true;
    const exit = exitOf(() => b.mmu.translate(LINEAR, Access.Read));
    expect(exit.qualification).toBe(READ | LINEAR_VALID | FINAL | (1n << 12n));
  });
});

describe('EPT misconfigurations', () => {
  it.each([
    ['write without read', 0x9000n | W | WB],
    ['write and execute without read', 0x9000n | W | X | WB],
    ['memory type 2', 0x9000n | RWX | (2n << 3n)],
    ['memory type 7', 0x9000n | RWX | (7n << 3n)],
    ['an address bit beyond MAXPHYADDR', 0x9000n | RWX | WB | (1n << 39n)],
  ])('%s', (_name, entry) => {
    const b = nested();
    write64(b, b.eptEntry(0x9000), entry);
    const exit = exitOf(() => b.mmu.translate(LINEAR, Access.Read));
    expect(exit.reason).toBe(49);
    expect(exit.guestPhysical).toBe(0x9000);
  });

  it.each([
    ['bit 7 of a PML4E', EPT_ROOT, 1n << 7n],
    ['bit 3 of a PML4E', EPT_ROOT, 1n << 3n],
    ['bit 6 of a PDPTE', EPT_ROOT + 0x1000, 1n << 6n],
    ['bit 12 of a 2-MByte page', EPT_ROOT + 0x2000, PS | WB | (1n << 12n)],
  ])('%s', (_name, address, bits) => {
    const b = nested();
    const entry = bits & PS && address !== EPT_ROOT ? RWX : read64(b, address);
    write64(b, address, entry | bits);
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Read))).toBe('exit 49');
  });
});

describe('large EPT pages', () => {
  it('2 MBytes and 1 GByte', () => {
    const b = nested();
    write64(b, EPT_ROOT + 0x2000, RWX | WB | PS);
    expect(b.mmu.translate(LINEAR + 7, Access.Read)).toBe(0x9007);
    write64(b, EPT_ROOT + 0x1000, RWX | WB | PS);
    b.mmu.invept(2, 0);
    expect(b.mmu.translate(LINEAR + 7, Access.Read)).toBe(0x9007);
  });
});

describe('A/D flags for EPT', () => {
  it('are set in every entry used, D where data or guest entries are written', () => {
    const b = nested(0x9000n | P | RW, EPTP_AD);
    b.mmu.translate(LINEAR, Access.Read);
    expect(read64(b, b.eptEntry(0x9000)) & (EPT_A | EPT_D)).toBe(EPT_A);
    expect(read64(b, b.eptEntry(0x4000)) & (EPT_A | EPT_D)).toBe(EPT_A | EPT_D);
    expect(read64(b, EPT_ROOT) & (EPT_A | EPT_D)).toBe(EPT_A);
    b.mmu.translate(LINEAR, Access.Write);
    expect(read64(b, b.eptEntry(0x9000)) & (EPT_A | EPT_D)).toBe(EPT_A | EPT_D);
  });
  it('stay untouched if the EPTP does not enable them', () => {
    const b = nested();
    b.mmu.translate(LINEAR, Access.Write);
    expect(read64(b, b.eptEntry(0x9000)) & (EPT_A | EPT_D)).toBe(0n);
  });
});

describe('without guest paging', () => {
  it('EPT alone translates, through guest-physical mappings', () => {
    const b = bench();
    enable(b, PagingMode.None);
    const eptEntry = enableEpt(b);
    write64(b, eptEntry(0x9000), 0xa000n | RWX | WB);
    expect(b.mmu.translate(0x9010, Access.Execute)).toBe(0xa010);
    write64(b, eptEntry(0x9000), 0n);
    expect(b.mmu.translate(0x9010, Access.Read)).toBe(0xa010);
    b.mmu.invept(1, EPT_ROOT | 0x1e);
    expect(thrown(() => b.mmu.translate(0x9010, Access.Read))).toBe('exit 48');
  });
});

it('PDPTEs are read through EPT, and a violation there has no linear address', () => {
  const b = bench();
  map(b, PagingMode.PAE, LINEAR, 0x9000n | P);
  enable(b, PagingMode.PAE);
  const eptEntry = enableEpt(b);
  write64(b, eptEntry(0x5000), 0n);
  const exit = exitOf(() => b.mmu.writeCr3(0x5000));
  expect(exit.qualification).toBe(READ);
  expect(exit.guestLinear).toBeUndefined();
  expect(exit.guestPhysical).toBe(0x5000);
});
