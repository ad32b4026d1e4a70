/** The CPU mode view: what each vCPU is in at this moment. */
import type { WireCpuMode } from '../../debug-adapter/protocol/requests.ts';
import { colors, type Row, type View, type ViewContent } from './row.ts';
import { hex } from './text.ts';

const vmxWords: Readonly<Record<WireCpuMode['vmxOperation'], string>> = {
  off: 'off (VMXON has not been executed)',
  root: 'root (the hypervisor)',
  'non-root': 'non-root (the guest of a hypervisor)',
};

const svmWords: Readonly<Record<WireCpuMode['vmxOperation'], string>> = {
  off: 'off (EFER.SVME = 0)',
  root: 'host mode (the hypervisor)',
  'non-root': 'guest mode (the guest of a hypervisor)',
};
const svmShort = { off: 'off', root: 'host', 'non-root': 'guest' } as const;

const ringWords: Readonly<Record<number, string>> = { 0: '0 (kernel)', 3: '3 (user)' };

/** `non-root · ring 3 · 64-bit mode`: the status bar's text. */
export function modeInShort(mode: WireCpuMode): string {
  const word = mode.virtualization === 'AMD-V' ? svmShort[mode.vmxOperation] : mode.vmxOperation;
  const vmx = word === 'off' ? [] : [word];
  return [...vmx, `ring ${mode.ring}`, mode.operatingMode].join(' · ');
}

export const cpuModeView: View = async (ask): Promise<ViewContent> => {
  const { vcpus } = await ask('ringside/cpuMode', {});
  const [only, ...others] = vcpus;
  if (only && others.length === 0) return { rows: modeRows(only), description: modeInShort(only) };
  return { rows: vcpus.map(vcpuRow) };
};

function vcpuRow(mode: WireCpuMode): Row {
  return {
    id: `vcpu${mode.vcpu}`,
    label: `vCPU ${mode.vcpu}`,
    description: modeInShort(mode),
    icon: 'chip',
    expanded: true,
    children: () => modeRows(mode),
  };
}

function modeRows(mode: WireCpuMode): Row[] {
  const row = (name: string, description: string, more: Partial<Row> = {}): Row => ({
    id: `vcpu${mode.vcpu}/${name}`,
    label: name,
    description,
    value: description,
    ...more,
  });
  const isSvm = mode.virtualization === 'AMD-V';
  return [
    ...(isSvm
      ? [row('AMD-V', svmWords[mode.vmxOperation], { icon: 'vm' })]
      : [row('VMX operation', vmxWords[mode.vmxOperation], { icon: 'vm' })]),
    row('Ring', ringWords[mode.ring] ?? String(mode.ring), { icon: mode.ring === 0 ? 'shield' : 'account' }),
    row('Operating mode', modeWithSize(mode), { icon: 'chip' }),
    row('Paging', mode.pagingMode, { icon: 'layers' }),
    row('Nested paging', mode.nestedPaging ?? 'none', { icon: 'layers' }),
    row('Activity state', mode.activityState, { icon: 'pulse' }),
    interruptsRow(mode, row),
    isSvm
      ? row('ASID', mode.vpid === 0 ? '0 (the host)' : String(mode.vpid), { icon: 'tag' })
      : row('VPID', mode.vpid === 0 ? '0 (none)' : String(mode.vpid), { icon: 'tag' }),
    ...(mode.currentVmcs === undefined ? [] : [vmcsRow(isSvm ? 'VMCB' : 'Current VMCS', mode.currentVmcs, row)]),
    ...levelRows(mode, row),
  ];
}

/** The mode with the size of its code, which some modes have in their names. */
const modeWithSize = ({ operatingMode, codeSize }: WireCpuMode): string =>
  operatingMode.includes(`${codeSize}-bit`) ? operatingMode : `${operatingMode}, ${codeSize}-bit code`;

/** `Level 2 (running)`; nothing on the bare machine. */
const levelRows = ({ levels }: WireCpuMode, row: MakeRow): Row[] =>
  levels.map(({ level, isRunning, description }) =>
    row(`Level ${level}`, isRunning ? `running: ${description}` : description, {
      icon: isRunning ? 'debug-stackframe-focused' : 'server-environment',
    }),
  );

type MakeRow = (name: string, description: string, more?: Partial<Row>) => Row;

/** Whether an interrupt would be delivered now, and what holds it up. */
function interruptsRow(mode: WireCpuMode, row: MakeRow): Row {
  const blocked = [...(mode.interruptsEnabled ? [] : ['disabled (RFLAGS.IF = 0)']), ...mode.interruptibility];
  if (blocked.length === 0) return row('Interrupts', 'enabled', { icon: 'bell' });
  return row('Interrupts', blocked.join(', '), { icon: 'bell-slash', color: colors.warning });
}

function vmcsRow(name: string, address: string, row: MakeRow): Row {
  return row(name, hex(address), { icon: 'file-binary', memory: `hpa:${hex(address)}` });
}
