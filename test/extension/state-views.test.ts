import { describe, expect, it } from 'vitest';
import type { WireCpuMode, WireVmcsField } from '../../debug-adapter/protocol/requests.ts';
import { cpuModeView } from '../../extension/views/cpu-mode.ts';
import { vmcsView } from '../../extension/views/vmcs.ts';
import { allIds, asking, childrenOf, rowAt } from './support.ts';

const mode: WireCpuMode = {
  vcpu: 0,
  virtualization: 'VT-x',
  vmxOperation: 'non-root',
  ring: 3,
  operatingMode: '64-bit mode',
  codeSize: 64,
  pagingMode: '4-level paging',
  nestedPaging: 'EPT',
  activityState: 'active',
  interruptibility: [],
  interruptsEnabled: true,
  vpid: 1,
  currentVmcs: '0x5000',
  levels: [],
};

const modes = (...vcpus: readonly WireCpuMode[]) => asking({ 'ringside/cpuMode': () => ({ vcpus, current: 0 }) });

describe('the CPU mode view', () => {
  it('shows the only vCPU at once', async () => {
    const { rows, description } = await cpuModeView(modes(mode));
    expect(description).toBe('non-root · ring 3 · 64-bit mode');
    expect(rows.map(({ label, description }) => `${label}: ${description}`)).toEqual([
      'VMX operation: non-root (the guest of a hypervisor)',
      'Ring: 3 (user)',
      'Operating mode: 64-bit mode',
      'Paging: 4-level paging',
      'Nested paging: EPT',
      'Activity state: active',
      'Interrupts: enabled',
      'VPID: 1',
      'Current VMCS: 0x5000',
    ]);
  });

  it('shows the levels of virtualization under the built-in hypervisor', async () => {
    const levels = [
      { level: 0, isRunning: false, description: 'the built-in hypervisor' },
      { level: 1, isRunning: false, description: 'the guest' },
      { level: 2, isRunning: true, description: 'the guest of the guest' },
    ] as const;
    const content = await cpuModeView(modes({ ...mode, levels }));
    expect(content.rows.slice(-3).map(({ label, description }) => `${label}: ${description}`)).toEqual([
      'Level 0: the built-in hypervisor',
      'Level 1: the guest',
      'Level 2: running: the guest of the guest',
    ]);
  });

  it('says what holds interrupts up', async () => {
    const blocked = { ...mode, interruptsEnabled: false, interruptibility: ['blocking by STI'] };
    const content = await cpuModeView(modes(blocked));
    expect(await rowAt(content, 'vcpu0/Interrupts')).toMatchObject({
      description: 'disabled (RFLAGS.IF = 0), blocking by STI',
      icon: 'bell-slash',
    });
  });

  it('has a row for each of several vCPUs', async () => {
    const content = await cpuModeView(modes(mode, { ...mode, vcpu: 1, vmxOperation: 'off', ring: 0 }));
    expect(content.rows.map(({ label, description }) => [label, description])).toEqual([
      ['vCPU 0', 'non-root · ring 3 · 64-bit mode'],
      ['vCPU 1', 'ring 0 · 64-bit mode'],
    ]);
    const ids = await allIds(content.rows, 2);
    expect(new Set(ids).size).toBe(ids.length);
  });
});

const field = (name: string, value: string, more: Partial<WireVmcsField> = {}): WireVmcsField => ({
  name,
  encoding: 0x681e,
  group: 'Guest-state area',
  widthBits: 64,
  value,
  description: 'a field',
  parts: [],
  ...more,
});

const controls = field('Pin-based VM-execution controls', '0x9', {
  group: 'VM-execution control fields',
  widthBits: 32,
  parts: [
    { name: 'External-interrupt exiting', value: '1', description: 'exits on interrupts' },
    { name: 'NMI exiting', value: '0', description: 'exits on NMIs' },
  ],
});
const fields = [field('Guest RIP', '0x8000'), field('Guest RSP', '0x0'), controls];

const noVmcs = { instruction: 'VMLAUNCH', isPossible: false, outcome: '', violated: [] } as const;
const vmcs = (changed: readonly string[], hideZeroFields = false) =>
  vmcsView(hideZeroFields)(
    asking({
      'ringside/vmcs': () => ({
        vmcs: { structure: 'VMCS', address: '0x5000', launchState: 'launched', fields },
        changed,
      }),
      'ringside/vmcsList': () => ({ vmcss: [] }),
      'ringside/checkVmEntry': () => noVmcs,
    }),
  );

describe('the VMCS view', () => {
  it('groups the fields, and copies values in their width', async () => {
    const content = await vmcs([]);
    expect(content.description).toBe('0x5000, launched');
    expect(content.rows.map(({ label, description }) => [label, description])).toEqual([
      ['Guest-state area', '2'],
      ['VM-execution control fields', '1'],
    ]);
    expect(await childrenOf(await rowAt(content, 'Guest-state area'))).toEqual(['Guest RIP: 0x8000', 'Guest RSP: 0x0']);
  });

  it('shows controls bit by bit', async () => {
    const id = 'VM-execution control fields';
    const row = await rowAt(await vmcs([]), id, `${id}/Pin-based VM-execution controls`);
    expect(row).toMatchObject({
      description: '0x9 · External-interrupt exiting',
      field: 'Pin-based VM-execution controls',
      watch: 'vmcs:Pin-based VM-execution controls',
    });
    expect(await childrenOf(row)).toEqual(['External-interrupt exiting: 1', 'NMI exiting: 0']);
  });

  it('names the exit reason', async () => {
    const parts = [{ name: 'basic exit reason', value: '48', description: 'EPT violation' }];
    const reason = field('Exit reason', '0x30', { group: 'VM-exit information', parts });
    const answer = {
      vmcs: { structure: 'VMCS' as const, address: '0x5000', launchState: 'launched' as const, fields: [reason] },
      changed: ['Exit reason'],
    };
    const content = await vmcsView(false)(
      asking({
        'ringside/vmcs': () => answer,
        'ringside/vmcsList': () => ({ vmcss: [] }),
        'ringside/checkVmEntry': () => noVmcs,
      }),
    );
    const row = await rowAt(content, 'VM-exit information', 'VM-exit information/Exit reason');
    expect(row.description).toBe('0x30 · EPT violation (48) · changed');
  });

  it('marks what changed, on the field and on its group', async () => {
    const content = await vmcs(['Guest RIP']);
    expect(await rowAt(content, 'Guest-state area')).toMatchObject({
      description: '2, 1 changed',
      icon: 'circle-filled',
    });
    expect(await rowAt(content, 'Guest-state area', 'Guest-state area/Guest RIP')).toMatchObject({
      description: '0x8000 · changed',
      icon: 'circle-filled',
      spoken: 'Guest RIP, 0x8000, changed since the last stop',
    });
    expect(await allIds(content.rows, 3)).toEqual(await allIds((await vmcs([])).rows, 3));
  });

  it('can leave out zero fields, but none that changed', async () => {
    const hidden = await vmcs([], true);
    expect(await childrenOf(await rowAt(hidden, 'Guest-state area'))).toEqual(['Guest RIP: 0x8000']);
    const changed = await vmcs(['Guest RSP'], true);
    expect(await childrenOf(await rowAt(changed, 'Guest-state area'))).toHaveLength(2);
  });

  it('says that there is none', async () => {
    const content = await vmcsView(false)(
      asking({
        'ringside/vmcs': () => ({ changed: [] }),
        'ringside/vmcsList': () => ({ vmcss: [] }),
        'ringside/checkVmEntry': () => noVmcs,
      }),
    );
    expect(content).toEqual({
      rows: [],
      message: 'No VMCS is current on this vCPU. VMPTRLD makes one current; of AMD-V, VMRUN names the VMCB.',
    });
  });
});
