import { describe, expect, it } from 'vitest';
import { CR4 } from '../../engine/cpu/register-bits.ts';
import { Access, MappingFlag, Privilege } from '../../engine/mmu/access.ts';
import { PagingMode } from '../../engine/mmu/paging-structures.ts';
import { NO_EPT } from '../../engine/mmu/tlb.ts';
import { TranslationContext } from '../../engine/mmu/translation-context.ts';
import {
  bench,
  CR3,
  D,
  EPT_ROOT,
  enable,
  enableEpt,
  G,
  map,
  P,
  PS,
  RW,
  RWX,
  read64,
  thrown,
  US,
  WB,
  write64,
} from './machine.ts';

const LINEAR = 0x40_3000;
const STALE = 0x9000;
const FRESH = 0xa000;

/** A page that the TLB holds at 0x9000 while its PTE says 0xa000 by now. */
function stale(bits = 0n, prepare: (b: ReturnType<typeof bench>) => void = () => {}) {
  const b = bench();
  const at = map(b, PagingMode.Level4, LINEAR, BigInt(STALE) | P | RW | bits);
  enable(b, PagingMode.Level4);
  prepare(b);
  b.mmu.translate(LINEAR, Access.Read);
  write64(b, at.PTE, BigInt(FRESH) | P | RW | bits);
  return { ...b, at, now: () => b.mmu.translate(LINEAR, Access.Read) };
}
const withPcid = (b: ReturnType<typeof bench>) => b.mmu.writeCr4(b.state.cr4 | CR4.PCIDE);

describe('a stale mapping translates until it is invalidated', () => {
  it('nothing but an invalidation notices the change', () => {
    const b = stale();
    expect(b.now()).toBe(STALE);
    b.mmu.writeEfer(b.state.efer);
    expect(b.now()).toBe(STALE);
  });
  it('INVLPG of the page', () => {
    const b = stale();
    b.mmu.invlpg(LINEAR + 0x1000);
    expect(b.now()).toBe(STALE);
    b.mmu.invlpg(LINEAR + 0xfff);
    expect(b.now()).toBe(FRESH);
  });
  it('INVLPG of a global page', () => {
    const b = stale(G);
    b.mmu.invlpg(LINEAR);
    expect(b.now()).toBe(FRESH);
  });
  it('MOV to CR3, but not of global pages', () => {
    const b = stale();
    b.mmu.writeCr3(CR3);
    expect(b.now()).toBe(FRESH);
    const global = stale(G);
    global.mmu.writeCr3(CR3);
    expect(global.now()).toBe(STALE);
  });
  it('without CR4.PGE the G bit means nothing', () => {
    const b = stale(G, (one) => one.mmu.writeCr4(one.state.cr4 & ~CR4.PGE));
    b.mmu.writeCr3(CR3);
    expect(b.now()).toBe(FRESH);
  });
  it('MOV to CR4 that changes PGE: global pages too', () => {
    const b = stale(G);
    b.mmu.writeCr4(b.state.cr4 & ~CR4.PGE);
    expect(b.now()).toBe(FRESH);
  });
  it('MOV to CR4 that sets SMEP, but not one that clears it', () => {
    const b = stale();
    b.mmu.writeCr4(b.state.cr4 | CR4.SMEP);
    expect(b.now()).toBe(FRESH);
    const clears = stale(0n, (one) => one.mmu.writeCr4(one.state.cr4 | CR4.SMEP));
    clears.mmu.writeCr4(clears.state.cr4 & ~CR4.SMEP);
    expect(clears.now()).toBe(STALE);
  });
  it('MOV to CR0 that clears PG: everything', () => {
    const b = stale(G);
    b.mmu.writeCr0(1);
    expect(b.mmu.tlb.linear.size).toBe(0);
  });
  it('a page fault on the address', () => {
    const b = stale();
    expect(thrown(() => b.mmu.translate(LINEAR, Access.Read, Privilege.User))).toBe('#PF(5)');
    expect(b.now()).toBe(FRESH);
  });
  it('a first write walks, because the mapping was not dirty', () => {
    const b = stale();
    expect(b.mmu.translate(LINEAR, Access.Write)).toBe(FRESH);
    expect(read64(b, b.at.PTE) & D).toBe(D);
  });
});

describe('PCIDs', () => {
  it('mappings of another PCID do not translate, and stay', () => {
    const b = stale(0n, withPcid);
    b.mmu.writeCr3(CR3 | 5, true);
    expect(b.now()).toBe(FRESH);
    b.mmu.writeCr3(CR3, true);
    expect(b.now()).toBe(STALE);
  });
  it('MOV to CR3 with bit 63 clear invalidates the new PCID only', () => {
    const b = stale(0n, withPcid);
    b.mmu.writeCr3(CR3 | 5);
    b.mmu.writeCr3(CR3, true);
    expect(b.now()).toBe(STALE);
    b.mmu.writeCr3(CR3);
    expect(b.now()).toBe(FRESH);
  });
  it('global mappings serve every PCID', () => {
    const b = stale(G, withPcid);
    b.mmu.writeCr3(CR3 | 5);
    expect(b.now()).toBe(STALE);
  });
  it('clearing CR4.PCIDE invalidates all PCIDs and global mappings', () => {
    const b = stale(G, withPcid);
    b.mmu.writeCr4(b.state.cr4 & ~CR4.PCIDE);
    expect(b.mmu.tlb.linear.size).toBe(0);
  });
  it.each([
    ['INVPCID 0, the address and PCID', 0, 0, LINEAR, 0n, FRESH],
    ['INVPCID 0, another PCID', 0, 1, LINEAR, 0n, STALE],
    ['INVPCID 0 spares global mappings', 0, 0, LINEAR, G, STALE],
    ['INVPCID 1, the PCID', 1, 0, 0, 0n, FRESH],
    ['INVPCID 1, another PCID', 1, 1, 0, 0n, STALE],
    ['INVPCID 1 spares global mappings', 1, 0, 0, G, STALE],
    ['INVPCID 2, everything', 2, 0, 0, G, FRESH],
    ['INVPCID 3, everything', 3, 0, 0, 0n, FRESH],
    ['INVPCID 3 spares global mappings', 3, 0, 0, G, STALE],
  ])('%s', (_name, type, pcid, linear, bits, expected) => {
    const b = stale(bits, withPcid);
    b.mmu.invpcid(type, pcid, linear);
    expect(b.now()).toBe(expected);
  });
});

describe('large pages', () => {
  it('INVLPG of any address in a 2-MByte page invalidates it', () => {
    const b = stale();
    write64(b, b.at.PDE, 0x60_0000n | P | PS);
    b.mmu.invlpg(LINEAR);
    expect(b.now()).toBe(0x60_3000);
    write64(b, b.at.PDE, 0x80_0000n | P | PS);
    expect(b.now()).toBe(0x60_3000);
    b.mmu.invlpg(0x5f_ffff);
    expect(b.now()).toBe(0x80_3000);
  });
  it('a 2-MByte page in 4-KByte EPT pages is cached in pieces, which one INVLPG invalidates', () => {
    const b = bench();
    const at = map(b, PagingMode.Level4, LINEAR, 0n);
    write64(b, at.PDE, 0x20_0000n | P | PS);
    enable(b, PagingMode.Level4);
    enableEpt(b);
    b.mmu.translate(LINEAR, Access.Read);
    b.mmu.translate(LINEAR + 0x1000, Access.Read);
    expect(b.mmu.tlb.linear.entries().map((entry) => [entry.pageShift, entry.guestPageShift])).toEqual([
      [12, 21],
      [12, 21],
    ]);
    b.mmu.invlpg(0x5f_f000);
    expect(b.mmu.tlb.linear.size).toBe(0);
  });
});

describe('VPIDs and EPT', () => {
  /** A guest with VPID `vpid`, one page cached at 0x9000; its PTE says 0xa000 by now. */
  const guest = (vpid: number, bits = 0n) => stale(bits, (b) => enableEpt(b, vpid));
  const reenter = (b: ReturnType<typeof guest>, vpid: number) => {
    b.mmu.enterRoot();
    b.mmu.enterNonRoot(vpid, EPT_ROOT | 0x1e);
  };

  it('mappings of a VPID survive VM exit and VM entry', () => {
    const b = guest(1);
    reenter(b, 1);
    expect(b.now()).toBe(STALE);
  });
  it('another VPID does not use them', () => {
    const b = guest(1, G);
    reenter(b, 2);
    expect(b.now()).toBe(FRESH);
  });
  it('without VPIDs, VM exits and entries invalidate linear and combined mappings, global ones too', () => {
    const b = guest(0, G);
    b.mmu.enterRoot();
    expect(b.mmu.tlb.linear.size).toBe(0);
    expect(b.mmu.tlb.guestPhysical.size).not.toBe(0);
  });
  it('without VPIDs the host loses its mappings as well', () => {
    const b = stale();
    b.mmu.enterNonRoot(0, undefined);
    expect(b.mmu.tlb.linear.size).toBe(0);
  });
  it.each([
    ['INVVPID 0, the address and VPID', 0, 1, LINEAR, G, FRESH],
    ['INVVPID 0, another address', 0, 1, LINEAR + 0x1000, 0n, STALE],
    ['INVVPID 0, another VPID', 0, 2, LINEAR, 0n, STALE],
    ['INVVPID 1, the VPID', 1, 1, 0, G, FRESH],
    ['INVVPID 1, another VPID', 1, 2, 0, 0n, STALE],
    ['INVVPID 2, everything but VPID 0000H', 2, 0, 0, G, FRESH],
    ['INVVPID 3 spares global mappings', 3, 1, 0, G, STALE],
    ['INVVPID 3, the rest', 3, 1, 0, 0n, FRESH],
  ])('%s', (_name, type, vpid, linear, bits, expected) => {
    const b = guest(1, bits);
    b.mmu.enterRoot();
    b.mmu.invvpid(type, vpid, linear);
    b.mmu.enterNonRoot(1, EPT_ROOT | 0x1e);
    expect(b.now()).toBe(expected);
  });
  it('INVVPID 2 spares VPID 0000H', () => {
    const b = stale();
    b.mmu.invvpid(2, 0, 0);
    expect(b.now()).toBe(STALE);
  });
  it('INVVPID leaves guest-physical mappings, INVEPT does not', () => {
    const b = guest(1);
    const before = b.mmu.tlb.guestPhysical.size;
    b.mmu.invvpid(1, 1, 0);
    expect(b.mmu.tlb.guestPhysical.size).toBe(before);
    b.mmu.invept(1, EPT_ROOT | 0x1e);
    expect(b.mmu.tlb.guestPhysical.size).toBe(0);
  });
  it.each([
    ['INVEPT 1, the EPTRTA', 1, EPT_ROOT | 0x1e, FRESH],
    ['INVEPT 1, another EPTRTA', 1, 0x70_001e, STALE],
    ['INVEPT 2, all of them', 2, 0, FRESH],
  ])('%s', (_name, type, eptp, expected) => {
    const b = guest(1, G);
    b.mmu.invept(type, eptp);
    expect(b.now()).toBe(expected);
  });
  it('INVEPT leaves linear mappings', () => {
    const b = stale();
    b.mmu.invept(2, 0);
    expect(b.now()).toBe(STALE);
  });
  it('a changed EPT entry is not seen before INVEPT; INVLPG is not enough', () => {
    const b = bench();
    map(b, PagingMode.Level4, LINEAR, 0x9000n | P | RW | US);
    enable(b, PagingMode.Level4);
    const eptEntry = enableEpt(b);
    b.mmu.translate(LINEAR, Access.Write);
    write64(b, eptEntry(0x9000), 0xb000n | RWX | WB);
    b.mmu.invlpg(LINEAR);
    expect(b.mmu.translate(LINEAR, Access.Read)).toBe(0x9000);
    b.mmu.invept(1, EPT_ROOT | 0x1e);
    expect(b.mmu.translate(LINEAR, Access.Read)).toBe(0xb000);
  });
});

describe('capacity', () => {
  it('a set holds 12 pages; the oldest leaves first', () => {
    const b = bench();
    map(b, PagingMode.Level4, LINEAR, 0n);
    write64(b, 0x3000, 0x20_0000n | P | PS);
    enable(b, PagingMode.Level4);
    // 128 sets of 2-MByte pages repeat every 256 MBytes, so addresses 1 GByte apart share a set.
    for (let i = 0; i < 13; i++) write64(b, 0x2000 + i * 8, 0x3000n | P | RW);
    for (let i = 0; i < 13; i++) b.mmu.translate(i * 0x4000_0000, Access.Read);
    const pages = b.mmu.tlb.linear.entries().map((entry) => entry.page / 0x4000_0000);
    expect(pages.sort((x, y) => x - y)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  });
});

describe('vCPUs', () => {
  it('each has its own TLB', () => {
    const b = stale();
    const first = b.mmu.vcpu;
    b.mmu.vcpu = new TranslationContext();
    expect(b.now()).toBe(FRESH);
    b.mmu.vcpu = first;
    expect(b.now()).toBe(STALE);
  });
  it('save and restore bring stale mappings back', () => {
    const b = stale();
    const saved = b.mmu.save();
    b.mmu.reset();
    expect(b.now()).toBe(FRESH);
    b.mmu.restore(saved);
    expect(b.now()).toBe(STALE);
  });
});

it('says when fetched pages change their translation', () => {
  const b = stale();
  const changes: (number | undefined)[] = [];
  b.mmu.onCodeMappingsChanged = (linear) => changes.push(linear);
  b.mmu.invlpg(LINEAR);
  expect(changes).toEqual([]);
  b.mmu.translate(LINEAR, Access.Execute);
  b.mmu.invlpg(LINEAR);
  expect(changes).toEqual([LINEAR]);
  b.mmu.writeCr3(CR3);
  expect(changes).toEqual([LINEAR, undefined]);
});

it('a mapping that only guests can have used does not take what is fast of the host with it', () => {
  const b = stale();
  const worlds: unknown[] = [];
  b.mmu.onCodeMappingsChanged = (_linear, _lengthBytes, world) => worlds.push(world);
  const tag = { vpid: 1, pcid: 0, eptRoot: NO_EPT, root: 0, mode: 0 };
  b.mmu.fillFor(LINEAR, Access.Read);
  b.mmu.tlb.linear.insert(LINEAR, 0, 12, 12, MappingFlag.Executed, tag);
  b.mmu.invvpid(1, 1, 0);
  expect(worlds).toEqual([1]);
  expect(b.mmu.fast.entries()).toHaveLength(1);
  b.mmu.tlb.linear.insert(LINEAR, 0, 12, 12, MappingFlag.Executed, { ...tag, vpid: 0, eptRoot: 0x1000 });
  b.mmu.invept(1, 0x101e);
  expect(worlds).toEqual([1, 1]);
  expect(b.mmu.fast.entries()).toHaveLength(1);
  b.mmu.invlpg(LINEAR);
  expect(b.mmu.fast.entries()).toHaveLength(0);
});
