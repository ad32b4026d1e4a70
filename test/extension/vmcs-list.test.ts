/** All VMCSs in the VMCS view, and one beside itself at an earlier exit. */
import { expect, it } from 'vitest';
import type { WireEntryCheck } from '../../debug-adapter/protocol/requests.ts';
import { vmcsView } from '../../extension/views/vmcs.ts';
import { asking, childrenOf, rowAt } from './support.ts';

const [FIRST, SECOND] = ['0x5000', '0x6000'];
const rip = {
  name: 'Guest RIP',
  encoding: 0x681e,
  group: 'Guest-state area',
  widthBits: 64,
  value: '0x8002',
  description: '',
  parts: [],
};
const differences = [{ field: 'Guest RIP', group: 'Guest-state area', widthBits: 64, before: '0x8000', now: '0x8002' }];

const broken = {
  id: 'guest-rip-canonical',
  fields: [{ name: 'Guest RIP', group: 'Guest-state area', widthBits: 64, value: '0x8002' }],
  text: 'Guest RIP must be canonical.',
  manual: 'SDM volume 3' as const,
  section: 'Checks on Guest RIP',
};
let check: WireEntryCheck = { instruction: 'VMRESUME', vmcs: FIRST, isPossible: true, outcome: 'fine', violated: [] };
const view = (shown: Parameters<typeof vmcsView>[1], compared: () => typeof differences = () => differences) =>
  vmcsView(
    false,
    shown,
  )(
    asking({
      'ringside/vmcs': ({ address = FIRST }) => ({
        vmcs: { structure: 'VMCS', address, launchState: 'launched', fields: [rip] },
        changed: [],
      }),
      'ringside/vmcsList': () => ({
        vmcss: [
          {
            structure: 'VMCS',
            address: FIRST,
            launchState: 'launched',
            currentOn: [0],
            isShadow: false,
            hasRevision: true,
          },
          {
            structure: 'VMCS',
            address: SECOND,
            launchState: 'clear',
            currentOn: [],
            isShadow: true,
            hasRevision: false,
          },
        ],
      }),
      'ringside/checkVmEntry': () => check,
      'ringside/compareVmcs': ({ address = FIRST, exit }) => {
        expect(exit).toBe(12);
        return { address, differences: compared() };
      },
    }),
  );

it('lists every VMCS with its launch state, whether it is current, and whether a shadow', async () => {
  const list = await rowAt(await view({}), 'vmcss');
  expect(await childrenOf(list)).toEqual([
    '0x5000: launched · current on vCPU 0',
    '0x6000: clear · shadow · no revision identifier: overwritten',
  ]);
  const [first] = (await list.children?.()) ?? [];
  expect(first).toMatchObject({ icon: 'eye', vmcs: FIRST, click: 'ringside.vmcs.show', memory: 'hpa:0x5000' });
});

it('shows another one, which cannot be edited', async () => {
  const field = ['Guest-state area', 'Guest-state area/Guest RIP'];
  expect(await rowAt(await view({}), ...field)).toHaveProperty('field');
  const other = await view({ address: SECOND });
  expect(other).toMatchObject({ description: '0x6000, launched', message: expect.stringContaining('picked') });
  expect(await rowAt(other, ...field)).not.toHaveProperty('field');
});

it('shows what has changed since an exit, then and now', async () => {
  const row = await rowAt(await view({ since: 12 }), 'since/12');
  expect(row).toMatchObject({ label: 'Since VM exit #12', description: '1 field changed', expanded: true });
  expect(await childrenOf(row)).toEqual(['Guest RIP: 0x8000 → 0x8002']);
  expect(await rowAt(await view({ since: 12 }, () => []), 'since/12')).toMatchObject({
    description: 'no field differs',
  });
});

it('tells what a VM entry would come to now, each broken rule with its field', async () => {
  expect(await rowAt(await view({}), 'check')).toMatchObject({
    label: 'VMRESUME now',
    description: 'passes all checks',
    icon: 'pass',
  });
  check = { ...check, isPossible: false, outcome: 'error 7', violated: [broken] };
  const row = await rowAt(await view({}), 'check');
  expect(row).toMatchObject({ description: '1 rule broken', expanded: true, icon: 'error' });
  expect(await childrenOf(row)).toEqual(['Guest RIP = 0x8002: Guest RIP must be canonical.']);
  const [rule] = (await row.children?.()) ?? [];
  expect(rule).toMatchObject({
    click: 'ringside.vmcs.showField',
    reveals: { group: 'Guest-state area', name: 'Guest RIP' },
  });
});

it('says why it cannot compare, and shows the VMCS all the same', async () => {
  const content = await view({ since: 12 }, () => {
    throw new Error('There is no way back to VM exit 12');
  });
  expect(await rowAt(content, 'since/12')).toMatchObject({ description: 'There is no way back to VM exit 12' });
  expect(await rowAt(content, 'Guest-state area')).toMatchObject({ description: '1' });
});
