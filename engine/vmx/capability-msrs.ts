/** The VMX capability MSRs (SDM volume 3, appendix "VMX Capability Reporting Facility"), derived from the tables. */
import { cr4Allowed } from '../cpu/control-registers.ts';
import { constantMsr, type Msr, msrsOf } from '../cpu/msrs.ts';
import { CR4 } from '../cpu/register-bits.ts';
import { CR0_FIXED0, CR3_TARGET_VALUES } from './capability-values.ts';
import { allowedSettings, type ControlGroup, type ControlGroupName, controlGroups } from './controls.ts';
import { PREEMPTION_TIMER_RATE } from './preemption-timer.ts';
import { VM_FUNCTIONS } from './vm-functions.ts';
import { highestFieldIndex, VMCS_BYTES, VMCS_REVISION } from './vmcs.ts';

const bit = (number: number): bigint => 1n << BigInt(number);
const WRITE_BACK = 6n;

/** Region size, write-back memory, exit information for INS and OUTS, TRUE registers. */
const BASIC = BigInt(VMCS_REVISION) | (BigInt(VMCS_BYTES) << 32n) | (WRITE_BACK << 50n) | bit(54) | bit(55);

/**
 * Rate of the preemption timer, exits store LMA in the entry controls, all activity states, CR3-target values, VMWRITE to
 * any field, software events injected with an instruction length of 0.
 */
const MISC =
  BigInt(PREEMPTION_TIMER_RATE) |
  bit(5) |
  bit(6) |
  bit(7) |
  bit(8) |
  (BigInt(CR3_TARGET_VALUES) << 16n) |
  bit(29) |
  bit(30);

/** IA32_VMX_EPT_VPID_CAP by bit. */
const eptVpidCapabilities = [
  [0, 'execute-only translations'],
  [6, 'page-walk length 4'],
  [7, 'page-walk length 5'],
  [8, 'EPT structures in uncacheable memory'],
  [14, 'EPT structures in write-back memory'],
  [16, '2-MByte pages'],
  [17, '1-GByte pages'],
  [20, 'INVEPT'],
  [21, 'accessed and dirty flags for EPT'],
  [22, 'advanced VM-exit information for EPT violations'],
  [25, 'single-context INVEPT'],
  [26, 'all-context INVEPT'],
  [32, 'INVVPID'],
  [40, 'individual-address INVVPID'],
  [41, 'single-context INVVPID'],
  [42, 'all-context INVVPID'],
  [43, 'single-context-retaining-globals INVVPID'],
] as const;
const EPT_VPID_CAP = eptVpidCapabilities.reduce((value, [number]) => value | bit(number), 0n);

const controlMsrs = (Object.keys(controlGroups) as ControlGroupName[]).flatMap((name): Msr[] => {
  const { msr, trueMsr }: ControlGroup = controlGroups[name];
  const { allowed0, trueAllowed0, allowed1 } = allowedSettings(name);
  const value = (low: number): bigint => BigInt(low) | (BigInt(allowed1) << 32n);
  const plain = constantMsr(msr.index, msr.name, value(allowed0));
  return trueMsr ? [plain, constantMsr(trueMsr.index, trueMsr.name, value(trueAllowed0))] : [plain];
});

/** To be given to the CPU model of a machine with VMX. */
export const vmxCapabilityMsrs: readonly Msr[] = msrsOf('VMX', [
  constantMsr(0x480, 'IA32_VMX_BASIC', BASIC),
  ...controlMsrs,
  constantMsr(0x485, 'IA32_VMX_MISC', MISC),
  constantMsr(0x486, 'IA32_VMX_CR0_FIXED0', BigInt(CR0_FIXED0)),
  constantMsr(0x487, 'IA32_VMX_CR0_FIXED1', 0xffff_ffffn),
  constantMsr(0x488, 'IA32_VMX_CR4_FIXED0', BigInt(CR4.VMXE)),
  { index: 0x489, name: 'IA32_VMX_CR4_FIXED1', read: (processor) => BigInt(cr4Allowed(processor)) },
  constantMsr(0x48a, 'IA32_VMX_VMCS_ENUM', BigInt(highestFieldIndex << 1)),
  constantMsr(0x491, 'IA32_VMX_VMFUNC', BigInt(VM_FUNCTIONS)),
  constantMsr(0x48c, 'IA32_VMX_EPT_VPID_CAP', EPT_VPID_CAP),
]);
