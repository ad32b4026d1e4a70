import { describe, expect, it } from 'vitest';
import { Access } from '../../engine/mmu/access.ts';
import { PagingMode } from '../../engine/mmu/paging-structures.ts';
import { pageTablesView } from '../../extension/views/page-tables.ts';
import { tlbView } from '../../extension/views/tlb.ts';
import { bench, EPT_ROOT, enable, enableEpt, map, P, RW, RWX, US, WB, write64 } from '../mmu/machine.ts';
import { allIds, askingMmu, childrenOf, rowAt } from './support.ts';

const LINEAR = 0x40_3000;

function paged() {
  const b = bench();
  const at = map(b, PagingMode.Level4, LINEAR, 0x9000n | P | RW | US);
  enable(b, PagingMode.Level4);
  return { ...b, at };
}

describe('the page tables view', () => {
  it('opens the guest’s tables level by level, down to the page', async () => {
    const content = await pageTablesView(askingMmu(paged()));
    const root = await rowAt(content, 'guest');
    expect(root).toMatchObject({ label: 'Guest paging', description: '0x1000', memory: 'gpa:0x1000' });
    expect(await childrenOf(root)).toEqual([
      'PML4E 0: 0x00000000–0x0000007fffffffff → 0x2000 · P R/W U/S',
      'PML4E 1–511: not present · 0x0000008000000000–0xffffffffffffffff',
    ]);
    const page = await rowAt(content, 'guest', 'guest/0', 'guest/0/0', 'guest/0/0/2', 'guest/0/0/2/3');
    expect(page).toMatchObject({
      label: 'PTE 3',
      description: '0x00403000–0x00403fff → 4 KiB page 0x9000 · P R/W U/S',
      translate: '0x00403000',
      memory: 'gpa:0x4018',
      watch: 'qword gpa:[0x4018]',
    });
    expect(page.children).toBeUndefined();
  });

  it('says that there is no EPT, and shows it where there is', async () => {
    const b = paged();
    const without = await pageTablesView(askingMmu(b));
    expect(await rowAt(without, 'ept')).toMatchObject({ description: 'no ept', color: 'disabledForeground' });
    const eptEntry = enableEpt(b);
    const content = await pageTablesView(askingMmu(b));
    expect(await rowAt(content, 'ept')).toMatchObject({ memory: `hpa:0x${EPT_ROOT.toString(16)}` });
    expect((await childrenOf(await rowAt(content, 'ept')))[0]).toContain('· R W X');
    write64(b, eptEntry(0x1000), 0n);
    const hidden = await pageTablesView(askingMmu(b));
    expect(await rowAt(hidden, 'guest', 'guest/unreadable')).toMatchObject({ icon: 'error' });
  });

  it('has rows that differ by id and keep theirs', async () => {
    const b = paged();
    const before = await allIds((await pageTablesView(askingMmu(b))).rows, 5);
    expect(new Set(before).size).toBe(before.length);
    b.mmu.translate(LINEAR, Access.Write);
    expect(await allIds((await pageTablesView(askingMmu(b))).rows, 5)).toEqual(before);
  });
});

describe('the TLB view', () => {
  it('says when it is empty', async () => {
    expect(await tlbView(askingMmu(paged()))).toEqual({ rows: [], message: 'The TLB holds no entry.' });
  });

  it('shows an entry with size, rights and tags', async () => {
    const b = paged();
    b.mmu.translate(LINEAR, Access.Write);
    const content = await tlbView(askingMmu(b));
    expect(content.description).toBe('1 entry');
    const [entry] = (await (await rowAt(content, 'linear')).children?.()) ?? [];
    expect(entry).toMatchObject({
      label: '0x00403000',
      description: '→ 0x9000 · 4 KiB · RWXU D · VPID 0 PCID 0',
      icon: 'symbol-array',
      memory: 'hpa:0x9000',
    });
    expect(entry?.tooltip).toContain('A walk made now gives the same.');
  });

  it('marks what a fresh walk contradicts, puts it first and says why', async () => {
    const b = paged();
    b.mmu.translate(LINEAR, Access.Read);
    map(b, PagingMode.Level4, LINEAR - 0x1000, 0x8000n | P);
    b.mmu.translate(LINEAR - 0x1000, Access.Read);
    write64(b, b.at.PTE, 0xc000n | P);
    const content = await tlbView(askingMmu(b));
    expect(content.description).toBe('2 entries, 1 stale');
    const [stale, fresh] = (await (await rowAt(content, 'linear')).children?.()) ?? [];
    expect(stale).toMatchObject({ label: '0x00403000', icon: 'warning', color: 'list.warningForeground' });
    expect(stale?.description).toMatch(/^stale: the tables now map the page to physical address 0xc000 · /);
    expect(stale?.spoken).toMatch(/^Warning, stale entry, the tables now map/);
    expect(stale?.tooltip).toContain('until it is invalidated');
    expect(fresh).toMatchObject({ label: '0x00402000', icon: 'symbol-array' });
  });

  it('groups combined and guest-physical mappings by kind', async () => {
    const b = paged();
    const eptEntry = enableEpt(b, 7);
    b.mmu.translate(LINEAR, Access.Read);
    write64(b, eptEntry(0x9000), 0xb000n | RWX | WB);
    const content = await tlbView(askingMmu(b));
    expect(content.rows.map(({ label, description }) => [label, description])).toEqual([
      ['Combined mappings', '1, 1 stale'],
      ['Guest-physical mappings', '5, 1 stale'],
    ]);
    const ids = await allIds(content.rows, 2);
    expect(new Set(ids).size).toBe(ids.length);
  });
});
