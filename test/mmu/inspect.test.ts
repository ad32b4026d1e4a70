import { describe, expect, it } from 'vitest';
import { CR4 } from '../../engine/cpu/register-bits.ts';
import { mappedRanges, pagingChildren, pagingRoots } from '../../engine/inspect/page-tables.ts';
import { tlbEntries } from '../../engine/inspect/tlb.ts';
import { explainTranslation } from '../../engine/inspect/translation.ts';
import { Access, Privilege } from '../../engine/mmu/access.ts';
import { PagingMode } from '../../engine/mmu/paging-structures.ts';
import {
  A,
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
  R,
  RW,
  RWX,
  US,
  W,
  WB,
  write64,
  XD,
} from './machine.ts';

const LINEAR = 0x40_3000;

function paged(entry = 0x9000n | P | RW | US, mode: PagingMode = PagingMode.Level4) {
  const b = bench();
  b.state.pat = 0x0007_0406_0007_0406n;
  const at = map(b, mode, LINEAR, entry);
  enable(b, mode);
  return { ...b, at };
}

describe('explainTranslation', () => {
  it('lists every guest entry with its address, index, value and the rights so far', () => {
    const b = paged(0x9000n | P | US | XD);
    const view = explainTranslation(b.mmu, { linear: LINEAR + 0x21 });
    expect(
      view.steps.map((step) => [step.level, step.index, step.entryAddress.guestPhysical, step.entryValue]),
    ).toEqual([
      ['PML4E', 0, 0x1000, 0x2007n],
      ['PDPTE', 0, 0x2000, 0x3007n],
      ['PDE', 2, 0x3010, 0x4007n],
      ['PTE', 3, 0x4018, 0x9005n | XD],
    ]);
    expect(view.steps[2]?.rights).toEqual({ read: true, write: true, execute: true, user: true });
    expect(view.steps[3]?.rights).toEqual({ read: true, write: false, execute: false, user: true });
    expect(view.steps[3]?.flagsWrite?.flags).toEqual(['A']);
    expect(view.result).toEqual({ kind: 'mapped', physical: 0x9021 });
    expect(view.guestPhysical).toBe(0x9021);
    expect(view.pageBytes).toEqual({ guest: 4096, effective: 4096 });
    expect(view.rights.write).toEqual({ allowed: false, deniedBy: "the guest's PTE 3 denies writes (R/W = 0)" });
    expect(view.rights.execute.deniedBy).toBe("the guest's PTE 3 denies instruction fetches (XD = 1)");
    expect(view.rights.user.allowed).toBe(true);
    expect(view.memoryType).toEqual({ pat: 'WB', base: 'WB', baseFrom: 'MTRR', effective: 'WB' });
  });

  it('has no side effects', () => {
    const b = paged();
    const before = b.memory.bytes.slice(0, 0x10000);
    explainTranslation(b.mmu, { linear: LINEAR, access: Access.Write });
    expect(Buffer.compare(b.memory.bytes.slice(0, 0x10000), before)).toBe(0);
    expect(b.mmu.tlb.linear.size).toBe(0);
  });

  it('says which entry makes the access fault, in words', () => {
    const b = paged(0x9000n | P);
    write64(b, b.at.PDE, 0x4000n | P | US);
    const write = explainTranslation(b.mmu, { linear: LINEAR, access: Access.Write });
    expect(write.result).toEqual({
      kind: 'page fault',
      code: { value: 3, bits: ['P: caused by a page-level protection violation', 'W: caused by a write'] },
      because: "the guest's PDE 2 denies writes (R/W = 0)",
    });
    const user = explainTranslation(b.mmu, { linear: LINEAR, privilege: Privilege.User });
    expect(user.result).toMatchObject({ because: "the guest's PTE 3 denies user-mode accesses (U/S = 0)" });
    const absent = explainTranslation(b.mmu, { linear: LINEAR + 0x1000 });
    expect(absent.result).toMatchObject({ code: { value: 0 }, because: "the guest's PTE 4 is not present" });
    expect(absent.rights.read.deniedBy).toBe("the guest's PTE 4 is not present");
    write64(b, b.at.PTE, 0x9000n | P | (1n << 40n));
    expect(explainTranslation(b.mmu, { linear: LINEAR }).result).toMatchObject({
      because: "the guest's PTE 3 has a reserved bit set",
    });
    expect(explainTranslation(b.mmu, { linear: 2 ** 47 }).result.kind).toBe('not canonical');
  });

  it('names the controls that deny: SMAP and SMEP', () => {
    const b = paged();
    b.mmu.writeCr4(b.state.cr4 | CR4.SMAP | CR4.SMEP);
    const { rights } = explainTranslation(b.mmu, { linear: LINEAR });
    expect(rights.read.deniedBy).toBe('CR4.SMAP denies supervisor mode accesses to a user page');
    expect(rights.execute.deniedBy).toBe('CR4.SMEP denies supervisor mode fetches from a user page');
  });

  it('shows the nested steps of every guest entry and of the page', () => {
    const b = paged(0x9000n | P | RW | US);
    const eptEntry = enableEpt(b);
    write64(b, eptEntry(0x9000), 0xa000n | R | W | WB);
    const view = explainTranslation(b.mmu, { linear: LINEAR + 1, access: Access.Write });
    expect(view.steps.map((step) => step.nestedSteps.length)).toEqual([4, 4, 4, 4]);
    expect(view.steps[3]?.nestedSteps[3]).toMatchObject({
      table: 'EPT',
      level: 'PTE',
      entryAddress: { hostPhysical: eptEntry(0x4000) },
      rights: { read: true, write: true, execute: true },
    });
    expect(view.steps[3]?.flagsWrite).toMatchObject({ flags: ['A', 'D'] });
    expect(view.steps[3]?.flagsWrite?.nestedSteps).toHaveLength(4);
    expect(view.finalSteps.map((step) => step.index)).toEqual([0, 0, 0, 9]);
    expect(view.guestPhysical).toBe(0x9001);
    expect(view.result).toEqual({ kind: 'mapped', physical: 0xa001 });
    expect(view.rights.execute.deniedBy).toBe('the EPT PTE 9 denies instruction fetches (X = 0)');
    expect(view.memoryType).toEqual({ pat: 'WB', base: 'WB', baseFrom: 'EPT', effective: 'WB' });
  });

  it('explains an EPT violation by the page, and one during the page walk', () => {
    const b = paged(0x9000n | P | RW | US);
    const eptEntry = enableEpt(b);
    write64(b, eptEntry(0x9000), 0x9000n | R | WB);
    const page = explainTranslation(b.mmu, { linear: LINEAR, access: Access.Write });
    expect(page.result).toMatchObject({
      kind: 'EPT violation',
      qualification: { value: 0x78a },
      because: 'the EPT PTE 9 denies writes (W = 0)',
    });
    expect(page.guestPhysical).toBe(0x9000);
    write64(b, eptEntry(0x3000), 0n);
    const walk = explainTranslation(b.mmu, { linear: LINEAR });
    expect(walk.result).toMatchObject({ qualification: { value: 0x81 }, because: 'the EPT PTE 3 is not present' });
    expect(walk.steps).toHaveLength(2);
    expect(walk.finalSteps).toHaveLength(4);
    write64(b, eptEntry(0x3000), 0x3000n | W);
    expect(explainTranslation(b.mmu, { linear: LINEAR }).result).toEqual({
      kind: 'EPT misconfiguration',
      because: 'the EPT PTE 3 allows writes but not reads',
    });
  });

  it('shows what the TLB holds, and that it is stale', () => {
    const b = paged();
    expect(explainTranslation(b.mmu, { linear: LINEAR }).cached).toBeUndefined();
    b.mmu.translate(LINEAR, Access.Read);
    expect(explainTranslation(b.mmu, { linear: LINEAR }).cached).toMatchObject({ physical: 0x9000, stale: undefined });
    write64(b, b.at.PTE, 0xc000n | P);
    const view = explainTranslation(b.mmu, { linear: LINEAR });
    expect(view.result).toEqual({ kind: 'mapped', physical: 0xc000 });
    expect(view.cached?.stale?.reason).toBe('the tables now map the page to physical address 0xc000');
  });

  it('walks another address space on request, and the PDPTE registers of PAE paging', () => {
    const b = paged();
    write64(b, 0x20000, 0x2000n | P | RW);
    const other = explainTranslation(b.mmu, { linear: LINEAR, cr3: 0x20000 });
    expect(other.steps[0]?.entryAddress.guestPhysical).toBe(0x20000);
    expect(other.rights.user.deniedBy).toBe("the guest's PML4E 0 (U/S = 0)");
    const pae = paged(0x9000n | P, PagingMode.PAE);
    const view = explainTranslation(pae.mmu, { linear: LINEAR });
    expect(view.steps[0]).toMatchObject({ level: 'PDPTE', entryAddress: { guestPhysical: undefined }, present: true });
    expect(view.result).toEqual({ kind: 'mapped', physical: 0x9000 });
  });
});

describe('pagingRoots, pagingChildren', () => {
  it('reads one level at a time, and joins empty entries', () => {
    const b = paged();
    const { guest, ept } = pagingRoots(b.mmu);
    expect(ept).toBeUndefined();
    if (!guest) throw new Error('expected a guest tree');
    const [first, rest] = pagingChildren(b.mmu, guest);
    expect(first).toMatchObject({ kind: 'entry', level: 'PML4E', firstIndex: 0, first: 0, last: 2 ** 39 - 1 });
    expect(rest).toMatchObject({ kind: 'empty', firstIndex: 1, lastIndex: 511, first: 2 ** 39, last: -1 });
    const pdpt = first?.table && pagingChildren(b.mmu, first.table)[0]?.table;
    const pd = pdpt && pagingChildren(b.mmu, pdpt);
    expect(pd?.map((node) => [node.kind, node.firstIndex, node.lastIndex])).toEqual([
      ['empty', 0, 1],
      ['entry', 2, 2],
      ['empty', 3, 511],
    ]);
    const pte = pd?.[1]?.table && pagingChildren(b.mmu, pd[1].table)[1];
    expect(pte).toMatchObject({
      first: LINEAR,
      last: LINEAR + 0xfff,
      hostPhysical: 0x4018,
      table: undefined,
      entry: { maps: 'page', target: 0x9000 },
    });
  });

  it('shows EPT trees, and guest tables that EPT hides as unreadable', () => {
    const b = paged();
    const eptEntry = enableEpt(b);
    const { guest, ept } = pagingRoots(b.mmu);
    expect(ept && pagingChildren(b.mmu, ept)[0]).toMatchObject({ level: 'PML4E', hostPhysical: EPT_ROOT });
    write64(b, eptEntry(CR3), 0n);
    expect(guest && pagingChildren(b.mmu, guest)).toMatchObject([
      { kind: 'unreadable', reason: 'EPT does not map the guest-physical address 0x1000 of this table' },
    ]);
  });

  it('PAE trees begin with the registers, 32-bit trees have 1024 entries', () => {
    const pae = paged(0x9000n | P, PagingMode.PAE);
    const root = pagingRoots(pae.mmu).guest;
    expect(root && pagingChildren(pae.mmu, root).map((node) => [node.kind, node.lastIndex])).toEqual([
      ['entry', 0],
      ['empty', 3],
    ]);
    const legacy = paged(0x9000n | P, PagingMode.Bits32);
    const root32 = pagingRoots(legacy.mmu).guest;
    expect(root32 && pagingChildren(legacy.mmu, root32).at(-1)).toMatchObject({ lastIndex: 1023, last: 0xffff_ffff });
  });
});

describe('mappedRanges', () => {
  it('joins neighbours with the same rights', () => {
    const b = paged();
    write64(b, b.at.PTE + 8, 0xa000n | P | RW | US);
    write64(b, b.at.PTE + 16, 0xb000n | P | US | XD);
    write64(b, b.at.PDE + 8, 0x20_0000n | P | PS | RW);
    const root = pagingRoots(b.mmu).guest;
    expect(root && mappedRanges(b.mmu, root)).toEqual({
      complete: true,
      ranges: [
        { first: LINEAR, last: LINEAR + 0x1fff, target: 0x9000, rights: 'RWXU' },
        { first: LINEAR + 0x2000, last: LINEAR + 0x2fff, target: 0xb000, rights: 'R--U' },
        { first: 0x60_0000, last: 0x7f_ffff, target: 0x20_0000, rights: 'RWX-' },
      ],
    });
  });
  it('ends on tables that reference themselves', () => {
    const b = paged();
    for (let i = 0; i < 512; i++) write64(b, CR3 + i * 8, BigInt(CR3) | P | RW);
    const root = pagingRoots(b.mmu).guest;
    expect(root && mappedRanges(b.mmu, root, b.mmu.currentSpace(), 20).complete).toBe(false);
  });
});

describe('tlbEntries', () => {
  const cachedThen = (change: (b: ReturnType<typeof paged>) => void) => {
    const b = paged(0x9000n | P | RW | US | A | D);
    b.mmu.translate(LINEAR, Access.Write);
    change(b);
    return tlbEntries(b.mmu)[0];
  };
  it('shows tags, rights, size and dirty state', () => {
    expect(cachedThen(() => {})).toEqual({
      kind: 'linear',
      slot: expect.any(Number),
      page: LINEAR,
      physical: 0x9000,
      pageBytes: 4096,
      guestPageBytes: 4096,
      vpid: 0,
      pcid: 0,
      eptrta: undefined,
      global: false,
      dirty: true,
      rights: { read: true, write: true, execute: true, user: true },
      usable: true,
      stale: undefined,
      unknown: undefined,
    });
  });
  it.each([
    ['not present', 0n, 'the page is not present any more'],
    ['another address', 0xa000n | P | RW | US, 'the tables now map the page to physical address 0xa000'],
    ['fewer rights', 0x9000n | P | US, 'the tables now deny writes'],
    ['more rights', 0x9000n | P | RW | US, undefined],
    ['no user mode', 0x9000n | P | RW, 'the tables now deny user-mode accesses'],
    ['execute disabled', 0x9000n | P | RW | US | XD, 'the tables now deny instruction fetches'],
    ['reserved bit', 0x9000n | P | RW | US | (1n << 45n), 'a reserved bit is set in its tables'],
  ])('marks stale entries: %s', (_name, entry, reason) => {
    expect(cachedThen((b) => write64(b, b.at.PTE, entry))?.stale?.reason).toBe(reason);
  });
  it('holds entries of another PCID against the tables they came from', () => {
    const b = paged(0x9000n | P);
    b.mmu.writeCr4(b.state.cr4 | CR4.PCIDE);
    b.mmu.translate(LINEAR, Access.Read);
    b.mmu.writeCr3(0x20000 | 3, true);
    expect(tlbEntries(b.mmu)[0]).toMatchObject({ pcid: 0, usable: false, stale: undefined });
    write64(b, b.at.PTE, 0n);
    expect(tlbEntries(b.mmu)[0]?.stale?.reason).toBe('the page is not present any more');
  });
  it('an entry kept over a MOV to CR3 without flush is stale for the new tables', () => {
    const b = paged(0x9000n | P | G);
    b.mmu.translate(LINEAR, Access.Read);
    b.mmu.writeCr3(0x20000);
    expect(tlbEntries(b.mmu)[0]).toMatchObject({ global: true, usable: true });
    expect(tlbEntries(b.mmu)[0]?.stale?.reason).toBe('the page is not present any more');
  });
  it('shows combined and guest-physical mappings, stale by EPT, from root operation too', () => {
    const b = paged(0x9000n | P | RW);
    const eptEntry = enableEpt(b, 7);
    b.mmu.translate(LINEAR, Access.Read);
    const kinds = tlbEntries(b.mmu).map((entry) => entry.kind);
    expect(kinds.filter((kind) => kind === 'combined')).toHaveLength(1);
    expect(kinds.filter((kind) => kind === 'guest-physical')).toHaveLength(5);
    expect(tlbEntries(b.mmu).every((entry) => entry.stale === undefined)).toBe(true);
    write64(b, eptEntry(0x9000), 0xb000n | RWX | WB);
    b.mmu.enterRoot();
    const stale = tlbEntries(b.mmu).filter((entry) => entry.stale);
    expect(stale.map((entry) => [entry.kind, entry.page, entry.vpid, entry.usable])).toEqual([
      ['combined', LINEAR, 7, false],
      ['guest-physical', 0x9000, undefined, false],
    ]);
  });
});
