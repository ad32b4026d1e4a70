/** What the views of paging say of five levels, at the end of the addresses of 57 bits. */
import { expect, it } from 'vitest';
import { pagingChildren, pagingRoots } from '../../engine/inspect/page-tables.ts';
import { explainTranslation } from '../../engine/inspect/translation.ts';
import { linearAddressOf } from '../../engine/isa/linear-address.ts';
import { PagingMode } from '../../engine/mmu/paging-structures.ts';
import { bench, enable, map, P } from './machine.ts';

const LINEAR = linearAddressOf((1n << 56n) - 0x1000n + 5n);

function mapped() {
  const b = bench();
  map(b, PagingMode.Level5, LINEAR, 0x9000n | P);
  enable(b, PagingMode.Level5);
  return b;
}

it('a translation goes by a PML5E, and keeps the low bits', () => {
  const view = explainTranslation(mapped().mmu, { linear: LINEAR });
  expect(view.pagingMode).toBe('5-level paging');
  expect(view.steps.map(({ level, index }) => [level, index])).toEqual([
    ['PML5E', 255],
    ['PML4E', 511],
    ['PDPTE', 511],
    ['PDE', 511],
    ['PTE', 511],
  ]);
  expect(view).toMatchObject({ linear: LINEAR, guestPhysical: 0x9005, result: { kind: 'mapped', physical: 0x9005 } });
});

it('an address beyond is not canonical', () => {
  const { result } = explainTranslation(mapped().mmu, { linear: linearAddressOf(1n << 56n) });
  expect(result).toMatchObject({ kind: 'not canonical', because: 'bits 63:56 of the address are not all equal' });
});

it('the tree begins with the PML5, whose entries say what they cover', () => {
  const { mmu } = mapped();
  const { guest } = pagingRoots(mmu);
  const entry = guest && pagingChildren(mmu, guest).find(({ kind }) => kind === 'entry');
  expect(entry).toMatchObject({
    level: 'PML5E',
    firstIndex: 255,
    first: linearAddressOf(255n << 48n),
    last: linearAddressOf((1n << 56n) - 1n),
  });
});
