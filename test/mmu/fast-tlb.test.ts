import { describe, expect, it } from 'vitest';
import { RAM_ADDRESS } from '../../engine/cpu/memory-map.ts';
import { CR0, CR4 } from '../../engine/cpu/register-bits.ts';
import { Access, Privilege } from '../../engine/mmu/access.ts';
import { PagingMode } from '../../engine/mmu/paging-structures.ts';
import { A, bench, CR3, D, enable, fastLookup, map, P, RAM_BYTES, RW, setCpl, thrown, US, write64 } from './machine.ts';

const LINEAR = -0x7fff_d000;
const AC = 1 << 18;

function mapped(entry = 0x9000n | P | RW | US) {
  const b = bench();
  const at = map(b, PagingMode.Level4, LINEAR, entry);
  enable(b, PagingMode.Level4);
  return {
    ...b,
    at,
    reads: (linear = LINEAR, size = 4) => fastLookup(b, linear, size, false),
    writes: (linear = LINEAR, size = 4) => fastLookup(b, linear, size, true),
  };
}

describe('filling', () => {
  it('a read fills for reads, a write for both', () => {
    const b = mapped();
    expect(b.reads()).toBeUndefined();
    b.mmu.readU8(LINEAR + 9);
    expect(b.reads(LINEAR + 0x10)).toBe(RAM_ADDRESS + 0x9010);
    expect(b.writes()).toBeUndefined();
    b.mmu.writeU8(LINEAR, 1);
    expect(b.writes(LINEAR + 0x10)).toBe(RAM_ADDRESS + 0x9010);
    b.mmu.readU8(LINEAR);
    expect(b.writes()).toBeDefined();
  });
  it('an access that leaves the page misses', () => {
    const b = mapped();
    b.mmu.readU8(LINEAR);
    expect(b.reads(LINEAR + 0xffc, 4)).toBeDefined();
    expect(b.reads(LINEAR + 0xffd, 4)).toBeUndefined();
  });
  it('page 0 does not hit in an empty table, and works once filled', () => {
    const b = bench();
    b.mmu.privilegeChanged();
    expect(fastLookup(b, 0, 1, false)).toBeUndefined();
    b.mmu.readU8(0);
    expect(fastLookup(b, 0, 1, false)).toBe(RAM_ADDRESS);
  });
  it('implicit supervisor accesses fill for the supervisor, whatever CPL is', () => {
    const b = mapped();
    setCpl(b, 3);
    b.mmu.readU8(LINEAR, Privilege.Supervisor);
    expect(b.reads()).toBeUndefined();
    setCpl(b, 0);
    expect(b.reads()).toBeDefined();
    expect(b.writes()).toBeUndefined();
  });
  it('user accesses by a supervisor do not fill', () => {
    const b = mapped();
    b.mmu.readU8(LINEAR, Privilege.User);
    expect(b.reads()).toBeUndefined();
  });
  it('MMIO pages never enter', () => {
    const b = mapped(BigInt(RAM_BYTES) | P | RW);
    b.mmu.writeU32(LINEAR, 1);
    expect(b.reads()).toBeUndefined();
    expect(b.writes()).toBeUndefined();
  });
  it('pages of decoded code take the slow path for writes', () => {
    const b = mapped();
    b.memory.codePages[9] = 1;
    b.mmu.writeU8(LINEAR, 1);
    expect(b.reads()).toBeDefined();
    expect(b.writes()).toBeUndefined();
  });
  it('filling for writes marks the page dirty', () => {
    const b = mapped(0x9000n | P | RW | A | D);
    b.memory.dirtyPages.fill(0);
    b.mmu.readU8(LINEAR);
    expect(b.memory.dirtyPages[9]).toBe(0);
    b.mmu.writeU8(LINEAR, 1);
    expect(b.memory.dirtyPages[9]).toBe(1);
  });
});

describe('sets', () => {
  it('supervisor mode, user mode and supervisor mode with AC under SMAP are apart', () => {
    const b = mapped();
    b.mmu.writeU8(LINEAR, 1);
    setCpl(b, 3);
    expect(b.reads()).toBeUndefined();
    b.mmu.readU8(LINEAR);
    expect(b.reads()).toBeDefined();
    setCpl(b, 0);
    expect(b.writes()).toBeDefined();
    b.state.flagsOther = 2 | AC;
    b.mmu.writeCr4(b.state.cr4 | CR4.SMAP);
    b.mmu.readU8(LINEAR);
    expect(b.reads()).toBeDefined();
    b.state.flagsOther = 2;
    b.mmu.privilegeChanged();
    expect(b.reads()).toBeUndefined();
    expect(thrown(() => b.mmu.readU8(LINEAR))).toBe('#PF(1)');
  });
  it('AC exempts explicit accesses from SMAP, never implicit ones', () => {
    const b = mapped();
    b.mmu.writeCr4(b.state.cr4 | CR4.SMAP);
    b.state.flagsOther = 2 | AC;
    b.mmu.privilegeChanged();
    b.mmu.writeU8(LINEAR, 1);
    expect(b.writes()).toBeDefined();
    expect(thrown(() => b.mmu.readU8(LINEAR, Privilege.Supervisor))).toBe('#PF(1)');
    expect(thrown(() => b.mmu.probeWrite(LINEAR, 1, Privilege.Supervisor))).toBe('#PF(3)');
    expect(b.writes()).toBeUndefined();
  });
});

describe('dropping', () => {
  const filled = () => {
    const b = mapped();
    b.mmu.writeU8(LINEAR, 1);
    expect(b.writes()).toBeDefined();
    return b;
  };
  it('write tags, when a snapshot is taken', () => {
    const b = filled();
    b.mmu.dropWriteTags();
    expect(b.writes()).toBeUndefined();
    expect(b.reads()).toBeDefined();
  });
  it('write tags of a page, when it becomes a code page', () => {
    const b = filled();
    b.mmu.dropWriteTagsOfPage(8);
    expect(b.writes()).toBeDefined();
    b.mmu.dropWriteTagsOfPage(9);
    expect(b.writes()).toBeUndefined();
    expect(b.reads()).toBeDefined();
  });
  it('a watched page, which then reports its accesses', () => {
    const b = filled();
    const seen: unknown[] = [];
    b.mmu.onWatchedAccess = (linear, physical, length, access) => seen.push([linear, physical, length, access]);
    b.mmu.watch(0x9123, false, true);
    expect(b.writes()).toBeUndefined();
    b.mmu.readU8(LINEAR);
    expect(b.reads()).toBeDefined();
    b.mmu.writeU16(LINEAR + 2, 7);
    expect(b.writes()).toBeUndefined();
    expect(seen).toEqual([[LINEAR + 2, 0x9002, 2, Access.Write]]);
    b.mmu.watch(0x9000, true, true);
    b.mmu.readU32(LINEAR);
    expect(b.reads()).toBeUndefined();
    expect(seen).toHaveLength(2);
    b.mmu.watch(0x9000, false, false);
    b.mmu.writeU8(LINEAR, 1);
    expect(b.writes()).toBeDefined();
  });
  it.each([
    ['INVLPG', (b: ReturnType<typeof filled>) => b.mmu.invlpg(LINEAR)],
    ['MOV to CR3', (b: ReturnType<typeof filled>) => b.mmu.writeCr3(CR3)],
    ['CR0.WP', (b: ReturnType<typeof filled>) => b.mmu.writeCr0((CR0.PE | CR0.PG) >>> 0)],
    ['VM entry', (b: ReturnType<typeof filled>) => b.mmu.enterNonRoot(1, undefined)],
    ['INVVPID', (b: ReturnType<typeof filled>) => b.mmu.invvpid(1, 0, 0)],
  ])('on %s', (_name, change) => {
    const b = filled();
    change(b);
    expect(b.reads()).toBeUndefined();
    expect(b.writes()).toBeUndefined();
  });
  it('a mapping that leaves the architectural TLB leaves the fast one', () => {
    const b = bench();
    map(b, PagingMode.Level4, 0, 0n);
    enable(b, PagingMode.Level4);
    for (let i = 0; i < 512; i++) write64(b, 0x4000 + i * 8, (BigInt(i % 64) * 0x1000n) | P | RW);
    for (let i = 0; i < 512; i++) write64(b, 0x3000 + i * 8, 0x4000n | P | RW);
    // 128 sets of 4-KByte pages repeat every 512 KBytes; the fast TLB would keep up to 8 of these, the sets 12.
    for (let i = 0; i <= 12; i++) b.mmu.readU8(0x5000 + i * 0x8_0000);
    for (const entry of b.mmu.fast.entries()) expect(b.mmu.cachedMapping(entry.page)).toBeDefined();
    expect(b.mmu.cachedMapping(0x5000)).toBeUndefined();
  });
  it('sweeps everything after more fills than it remembers one by one', () => {
    const pages = 10_000;
    const b = bench(pages * 0x1000);
    for (let page = 0; page < pages; page++) b.mmu.writeU8(page * 0x1000, 1);
    expect(b.mmu.fast.entries().length).toBe(pages);
    b.mmu.contextChanged();
    expect(b.mmu.fast.entries()).toEqual([]);
  });
});
