/** The levels of virtualization as the CPU mode view shows them. */
import { hex } from '../cpu/hexadecimal.ts';
import { usesEpt } from './kernel/nested/nested-entry.ts';
import { NO_VMCS } from './kernel/nested/nested-state.ts';
import type { VirtualCpu } from './kernel/virtual-cpu.ts';

/** A level of virtualization: 0 is the built-in hypervisor, 1 its guest, 2 a guest of that guest. */
export interface VirtualizationLevel {
  readonly level: 0 | 1 | 2;
  /** Whether the vCPU executes this level's code, or works for an exit of the level above. */
  readonly isRunning: boolean;
  readonly description: string;
}

/** Outermost first; of a virtual processor that is loaded. */
export function levelsOf(vcpu: VirtualCpu): VirtualizationLevel[] {
  const { nested, parts } = vcpu;
  const running = !parts.state.nonRoot ? 0 : nested.isL2 ? 2 : 1;
  const descriptions = [
    'the built-in hypervisor, in VMX root operation',
    guestDescription(vcpu),
    ...(nested.current === NO_VMCS ? [] : [nestedDescription(vcpu)]),
  ];
  return descriptions.map((description, index) => {
    const level = index as 0 | 1 | 2;
    return { level, isRunning: level === running, description };
  });
}

function guestDescription({ addresses, nested, vpid }: VirtualCpu): string {
  const role = nested.isOn ? 'the guest, a hypervisor itself' : 'the guest';
  return `${role}: VMCS at host-physical ${hex(addresses.vmcs)}, VPID ${vpid}`;
}

function nestedDescription({ nested, nestedVpid }: VirtualCpu): string {
  const { vmcs12, current, vmcs02, ept } = nested;
  const tables = usesEpt(vmcs12) ? `, its EPT shadowed by EPTP ${hex(ept.pointer)}` : '';
  const merged = `merged into the one at host-physical ${hex(vmcs02)}, VPID ${nestedVpid}`;
  return `the guest of the guest: VMCS at guest-physical ${hex(current)}, ${merged}${tables}`;
}
