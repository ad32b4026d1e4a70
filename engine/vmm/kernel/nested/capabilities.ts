/** What the guest's hypervisor may use of VT-x, and the capability MSRs that say so. */
import { GuestFault, Vector } from '../../../cpu/events.ts';
import { readMsr } from '../../../cpu/msrs.ts';
import type { Processor } from '../../../cpu/processor.ts';
import {
  allowedSettings,
  type ControlGroup,
  type ControlGroupName,
  controlGroups,
  PIN,
  PRIMARY,
  SECONDARY,
} from '../../../vmx/controls.ts';

/** Controls of the CPU that are not passed on: each would need a part of its own in the merged VMCS. */
const WITHHELD: Partial<Record<ControlGroupName, number>> = {
  pin: PIN['Process posted interrupts'],
  primary: PRIMARY['Use TPR shadow'],
  secondary:
    SECONDARY['Virtualize APIC accesses'] |
    SECONDARY['Virtualize x2APIC mode'] |
    SECONDARY['APIC-register virtualization'] |
    SECONDARY['Virtual-interrupt delivery'] |
    SECONDARY['PAUSE-loop exiting'] |
    SECONDARY['Enable VM functions'] |
    SECONDARY['VMCS shadowing'] |
    SECONDARY['Enable PML'] |
    SECONDARY['EPT-violation #VE'] |
    SECONDARY['Mode-based execute control for EPT'] |
    SECONDARY['Sub-page write permissions for EPT'] |
    SECONDARY['Use TSC scaling'],
};

/** The controls of a group that may be 1, unsigned. */
export const offeredControls = (group: ControlGroupName): number =>
  (allowedSettings(group).allowed1 & ~(WITHHELD[group] ?? 0)) >>> 0;

const IA32_VMX_VMFUNC = 0x491;
const IA32_VMX_EPT_VPID_CAP = 0x48c;
/** Page-walk length of 5: the merged tables have 4 levels. */
const FIVE_LEVELS = 1n << 7n;

const groupOfMsr = new Map<number, ControlGroupName>(
  (Object.keys(controlGroups) as ControlGroupName[]).flatMap((name) => {
    const { msr, trueMsr }: ControlGroup = controlGroups[name];
    return [msr, ...(trueMsr ? [trueMsr] : [])].map(({ index }): [number, ControlGroupName] => [index, name]);
  }),
);

/** A VMX capability MSR as the guest reads it; throws #GP(0) for those it does not have. */
export function readCapability(processor: Processor, index: number): bigint {
  if (index === IA32_VMX_VMFUNC) throw new GuestFault(Vector.GP, 0);
  const value = readMsr(processor, index);
  if (index === IA32_VMX_EPT_VPID_CAP) return value & ~FIVE_LEVELS;
  const group = groupOfMsr.get(index);
  return group === undefined ? value : (value & 0xffff_ffffn) | (BigInt(offeredControls(group)) << 32n);
}
