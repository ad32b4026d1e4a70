/** The nested page tables as a tree, in the guest and after its #VMEXIT. */
import { expect, test } from 'vitest';
import type { Vcpu } from '../../engine/machine/machine-api.ts';
import { bootSourceFile } from '../support/source-guests.ts';
import { SAMPLE } from './sample-file.ts';

test('from N_CR3 down to a page, whoever runs', () => {
  const { machine } = bootSourceFile(SAMPLE, { mode: 'protected', cpu: { model: 'epyc' } });
  const vcpu = machine.vcpus[0] as Vcpu;
  expect(vcpu.pagingRoots()).not.toHaveProperty('nestedOfGuest');
  machine.setFilter('vm-entry', true);
  machine.run();
  const root = { structure: 'nested', level: 'PML4E', depth: 0, address: Number(vcpu.readVmcs('N_CR3')) };
  const { ept } = vcpu.pagingRoots();
  expect(ept).toMatchObject(root);
  const levels: string[] = [];
  for (let table = ept; table; table = vcpu.pagingChildren(table)[0]?.table) levels.push(table.level);
  expect(levels.slice(0, 3)).toEqual(['PML4E', 'PDPTE', 'PDE']);
  machine.setFilter('vm-entry', false);
  machine.setFilter('vm-exit', true);
  machine.run();
  const { ept: none, nestedOfGuest } = vcpu.pagingRoots();
  expect([none, nestedOfGuest]).toMatchObject([undefined, root]);
  const nodes = nestedOfGuest ? vcpu.pagingChildren(nestedOfGuest) : [];
  expect(nodes[0]).toMatchObject({ kind: 'entry', entry: { structure: 'guest', maps: 'table' } });
});
