import { describe, expect, it } from 'vitest';
import { CR0, CR4, EFER } from '../../engine/cpu/register-bits.ts';
import { Access, Privilege } from '../../engine/mmu/access.ts';
import { PagingMode, pagingModeNames } from '../../engine/mmu/paging-structures.ts';
import {
  A,
  type Bench,
  bench,
  CR3,
  D,
  enable,
  MODES,
  map,
  P,
  PS,
  RW,
  read64,
  setCpl,
  thrown,
  US,
  write64,
  XD,
} from './machine.ts';

const LINEAR = 0x40_3000;
const PAGE = 0x9000n;
const AC = 1 << 18;

function mapped(mode: PagingMode, entry: bigint): Bench & { at: ReturnType<typeof map> } {
  const b = bench();
  const at = map(b, mode, LINEAR, entry);
  enable(b, mode);
  return { ...b, at };
}

describe.each(MODES.map((mode) => [pagingModeNames[mode], mode] as const))('%s', (_name, mode) => {
  it('translates an address through its tables', () => {
    const { mmu } = mapped(mode, PAGE | P);
    expect(mmu.translate(LINEAR + 0x123, Access.Read)).toBe(0x9123);
  });

  it('a page that is not present faults with P = 0, W and U by the access', () => {
    const b = mapped(mode, PAGE);
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Read))).toBe('#PF(0)');
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Write))).toBe('#PF(2)');
    setCpl(b, 3);
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Read))).toBe('#PF(4)');
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Write))).toBe('#PF(6)');
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Read, Privilege.Supervisor))).toBe('#PF(0)');
  });

  it('user-mode accesses need U/S = 1 in every entry', () => {
    const b = mapped(mode, PAGE | P | RW);
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Read, Privilege.User))).toBe('#PF(5)');
    b.memory.writeU32(b.at.PTE, Number(PAGE | P | RW | US));
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Write, Privilege.User))).toBe('nothing');
    b.memory.writeU32(b.at.PDE, Number(0x4000n | P | RW));
    b.mmu.invlpg(LINEAR);
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Read, Privilege.User))).toBe('#PF(5)');
  });

  it('writes need R/W = 1: always in user mode, in supervisor mode with CR0.WP', () => {
    const b = mapped(mode, PAGE | P | US);
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Write))).toBe('#PF(3)');
    b.mmu.writeCr0((CR0.PE | CR0.PG) >>> 0);
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Write))).toBe('nothing');
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Write, Privilege.User))).toBe('#PF(7)');
  });

  it('SMEP denies supervisor-mode fetches from user pages and reports fetches', () => {
    const b = mapped(mode, PAGE | P | US);
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Execute))).toBe('nothing');
    b.mmu.writeCr4(b.state.cr4 | CR4.SMEP);
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Execute))).toBe('#PF(17)');
    setCpl(b, 3);
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Execute))).toBe('nothing');
  });

  it('SMAP denies supervisor-mode data accesses to user pages unless AC, which does not help implicit ones', () => {
    const b = mapped(mode, PAGE | P | US | RW);
    b.mmu.writeCr4(b.state.cr4 | CR4.SMAP);
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Read))).toBe('#PF(1)');
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Execute))).toBe('nothing');
    b.state.flagsOther = 2 | AC;
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Write))).toBe('nothing');
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Read, Privilege.Supervisor))).toBe('#PF(1)');
  });

  it('sets A in every entry used, D in the one that maps the page and only on writes', () => {
    const b = mapped(mode, PAGE | P | RW);
    b.mmu.translate(LINEAR, Access.Read);
    expect(b.memory.readU32(b.at.PTE) & 0x60).toBe(Number(A));
    expect(b.memory.readU32(b.at.PDE) & 0x60).toBe(Number(A));
    b.mmu.translate(LINEAR, Access.Write);
    expect(b.memory.readU32(b.at.PTE) & 0x60).toBe(Number(A | D));
    expect(b.memory.readU32(b.at.PDE) & 0x60).toBe(Number(A));
  });

  it('an access that is denied sets no flag in the entry that maps the page', () => {
    const b = mapped(mode, PAGE | P);
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Write))).toBe('#PF(3)');
    expect(b.memory.readU32(b.at.PTE) & 0x60).toBe(0);
  });

  it('peekTranslate has no effects: no flags, no TLB entry', () => {
    const b = mapped(mode, PAGE | P | RW);
    expect(b.mmu.peekTranslate(LINEAR, Access.Write).physical).toBe(0x9000);
    expect(b.memory.readU32(b.at.PTE) & 0x60).toBe(0);
    expect(b.mmu.tlb.linear.size).toBe(0);
  });
});

describe('execute disable', () => {
  it.each([PagingMode.PAE, PagingMode.Level4])('XD denies fetches and is reserved without NXE (mode %i)', (mode) => {
    const b = mapped(mode, PAGE | P | XD);
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Execute))).toBe('#PF(17)');
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Read))).toBe('nothing');
    b.mmu.writeEfer(b.state.efer & ~EFER.NXE);
    b.mmu.invlpg(LINEAR);
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Read))).toBe('#PF(9)');
  });
});

describe('reserved bits', () => {
  const rows: readonly [string, PagingMode, 'PML4E' | 'PDPTE' | 'PDE' | 'PTE', bigint][] = [
    ['4-level: PS in a PML4E', PagingMode.Level4, 'PML4E', PS],
    ['4-level: bit 39 with MAXPHYADDR 39', PagingMode.Level4, 'PTE', 1n << 39n],
    ['4-level: bit 51', PagingMode.Level4, 'PDE', 1n << 51n],
    ['4-level: bit 13 of a 1-GByte page', PagingMode.Level4, 'PDPTE', PS | (1n << 13n)],
    ['4-level: bit 20 of a 2-MByte page', PagingMode.Level4, 'PDE', PS | (1n << 20n)],
    ['PAE: bit 62 of a PTE', PagingMode.PAE, 'PTE', 1n << 62n],
    ['PAE: bit 52 of a PDE', PagingMode.PAE, 'PDE', 1n << 52n],
    ['32-bit: bit 21 of a 4-MByte page', PagingMode.Bits32, 'PDE', PS | (1n << 21n)],
    ['32-bit: bit 20 of a 4-MByte page, with MAXPHYADDR 39', PagingMode.Bits32, 'PDE', PS | (1n << 20n)],
  ];
  it.each(rows)('%s', (_name, mode, level, bits) => {
    const b = mapped(mode, PAGE | P);
    const address = b.at[level] ?? 0;
    const other = mode === PagingMode.Bits32 ? 0n : read64(b, address) & ~0xfffff000n;
    if (mode === PagingMode.Bits32) b.memory.writeU32(address, Number(P | bits));
    else write64(b, address, (bits & PS ? other : read64(b, address)) | bits);
    b.mmu.invlpg(LINEAR);
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Write))).toBe('#PF(11)');
  });

  it('4-level: bits 62:52 are ignored', () => {
    const b = mapped(PagingMode.Level4, PAGE | P | (0x7ffn << 52n));
    expect(b.mmu.translate(LINEAR, Access.Read)).toBe(0x9000);
  });
});

describe('large pages', () => {
  it('4-level: 2 MBytes', () => {
    const b = mapped(PagingMode.Level4, 0n);
    write64(b, b.at.PDE, 0x60_0000n | P | PS | RW);
    expect(b.mmu.translate(0x41_2345, Access.Read)).toBe(0x61_2345);
  });
  it('4-level: 1 GByte', () => {
    const b = mapped(PagingMode.Level4, 0n);
    write64(b, b.at.PDPTE ?? 0, 0x4000_0000n | P | PS | RW);
    expect(b.mmu.translate(0x41_2345, Access.Read)).toBe(0x4041_2345);
  });
  it('PAE: 2 MBytes', () => {
    const b = mapped(PagingMode.PAE, 0n);
    write64(b, b.at.PDE, 0x60_0000n | P | PS);
    expect(b.mmu.translate(0x41_2345, Access.Read)).toBe(0x61_2345);
  });
  it('32-bit: 4 MBytes with CR4.PSE, a page table without it', () => {
    const b = mapped(PagingMode.Bits32, PAGE | P);
    b.memory.writeU32(b.at.PDE, Number(0x80_0000n | P | PS));
    expect(b.mmu.translate(0x41_2345, Access.Read)).toBe(0x81_2345);
    b.memory.writeU32(b.at.PDE, Number(0x4000n | P | PS));
    b.mmu.writeCr4(0);
    b.mmu.invlpg(LINEAR);
    expect(b.mmu.translate(LINEAR, Access.Read)).toBe(0x9000);
  });
  it('32-bit: PSE-36 takes address bits 38:32 from bits 19:13', () => {
    const b = mapped(PagingMode.Bits32, 0n);
    b.memory.writeU32(b.at.PDE, Number(0x80_0000n | P | PS | (0x7fn << 13n)));
    expect(b.mmu.translate(0x40_0001, Access.Read)).toBe(0x7f_0080_0001);
  });
});

describe('PDPTE registers', () => {
  it('are loaded by MOV to CR3 and keep translating when memory changes', () => {
    const b = mapped(PagingMode.PAE, PAGE | P);
    write64(b, b.at.PDPTE ?? 0, 0n);
    b.mmu.invlpg(LINEAR);
    expect(b.mmu.translate(LINEAR, Access.Read)).toBe(0x9000);
    b.mmu.writeCr3(CR3);
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Read))).toBe('#PF(0)');
  });
  it.each([1n << 1n, 1n << 5n, 1n << 8n, 1n << 39n, 1n << 63n])(
    'reserved bit %i raises #GP(0), CR3 unchanged',
    (bit) => {
      const b = mapped(PagingMode.PAE, PAGE | P);
      write64(b, 0x5008, P | bit);
      expect(thrown(() => b.mmu.writeCr3(0x5000))).toBe('#GP(0)');
      expect(b.state.cr3).toBe(CR3);
      write64(b, 0x5008, bit);
      expect(thrown(() => b.mmu.writeCr3(0x5000))).toBe('nothing');
    },
  );
});

describe('canonical addresses', () => {
  it('non-canonical ones raise #GP(0), through SS #SS(0)', () => {
    const { mmu } = mapped(PagingMode.Level4, PAGE | P);
    expect(thrown(() => mmu.translate(2 ** 47, Access.Read))).toBe('#GP(0)');
    expect(thrown(() => mmu.translate(-(2 ** 47) - 1, Access.Read))).toBe('#GP(0)');
    expect(thrown(() => mmu.translate(2 ** 47, Access.Write, Privilege.CurrentStack))).toBe('#SS(0)');
  });
  it('an access that runs over the end of the lower half raises #GP(0)', () => {
    const b = bench();
    map(b, PagingMode.Level4, 2 ** 47 - 0x1000, PAGE | P);
    enable(b, PagingMode.Level4);
    b.state.segment(1).attributes = 1 << 13;
    expect(thrown(() => b.mmu.readU32(2 ** 47 - 4))).toBe('nothing');
    expect(thrown(() => b.mmu.readU32(2 ** 47 - 3))).toBe('#GP(0)');
  });
  it('the upper half is translated', () => {
    const b = bench();
    map(b, PagingMode.Level4, -0x1000, PAGE | P);
    enable(b, PagingMode.Level4);
    expect(b.mmu.translate(-1, Access.Read)).toBe(0x9fff);
  });
});

it('without paging linear addresses are physical', () => {
  const { mmu } = bench();
  expect(mmu.translate(0x1234, Access.Execute)).toBe(0x1234);
  expect(mmu.tlb.linear.size).toBe(0);
});
