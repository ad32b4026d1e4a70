/** Fills in a new VMCS by VMWRITE: controls, host state, and the guest's state at its first instruction. */
import { readFlags } from '../../cpu/flags.ts';
import { EFER, hasBit } from '../../cpu/register-bits.ts';
import type { CpuState } from '../../cpu/state.ts';
import { segmentNames } from '../../cpu/state-layout.ts';
import { allowedSettings, type ControlGroupName, ENTRY, EXIT, PIN, PRIMARY, SECONDARY } from '../../vmx/controls.ts';
import type { VmcsFieldName } from '../../vmx/fields.ts';
import { forcedCr0, forcedCr4, guestOwnedCr0, guestOwnedCr4 } from './exits/control-registers.ts';
import {
  HOST_CODE_SELECTOR,
  HOST_CR0,
  HOST_CR4,
  HOST_DATA_SELECTOR,
  HOST_EFER,
  HOST_PAT,
  HOST_TR_SELECTOR,
  type HostStructures,
} from './host-structures.ts';

export type FieldValues = readonly (readonly [VmcsFieldName, number | bigint])[];

const NO_LINK = 0xffff_ffff_ffff_ffffn;
const RSP = 4;

/** The wanted controls and those that the CPU demands (SDM volume 3, "Reserved Controls and Default Settings"). */
const adjusted = (group: ControlGroupName, wanted: number): number =>
  (wanted | allowedSettings(group).trueAllowed0) >>> 0;

export interface ControlAddresses {
  readonly ioBitmapA: number;
  readonly ioBitmapB: number;
  readonly msrBitmaps: number;
  readonly eptPointer: number;
  readonly vpid: number;
}

export function controlFields(addresses: ControlAddresses): FieldValues {
  const primary =
    PRIMARY['HLT exiting'] |
    PRIMARY['MWAIT exiting'] |
    PRIMARY['MONITOR exiting'] |
    PRIMARY['RDPMC exiting'] |
    PRIMARY['Use TSC offsetting'] |
    PRIMARY['Use I/O bitmaps'] |
    PRIMARY['Use MSR bitmaps'] |
    PRIMARY['Activate secondary controls'];
  const secondary =
    SECONDARY['Enable EPT'] |
    SECONDARY['Enable VPID'] |
    SECONDARY['Enable RDTSCP'] |
    SECONDARY['Enable INVPCID'] |
    SECONDARY['Enable XSAVES/XRSTORS'] |
    SECONDARY['Unrestricted guest'];
  const exit =
    EXIT['Save debug controls'] |
    EXIT['Host address-space size'] |
    EXIT['Acknowledge interrupt on exit'] |
    EXIT['Save IA32_PAT'] |
    EXIT['Load IA32_PAT'] |
    EXIT['Save IA32_EFER'] |
    EXIT['Load IA32_EFER'];
  const pin = PIN['External-interrupt exiting'] | PIN['NMI exiting'] | PIN['Virtual NMIs'];
  return [
    ['Pin-based VM-execution controls', adjusted('pin', pin)],
    ['Primary processor-based VM-execution controls', adjusted('primary', primary)],
    ['Secondary processor-based VM-execution controls', adjusted('secondary', secondary)],
    ['Primary VM-exit controls', adjusted('exit', exit)],
    ['Exception bitmap', 0],
    ['Page-fault error-code mask', 0],
    ['Page-fault error-code match', 0],
    ['Address of I/O bitmap A', addresses.ioBitmapA],
    ['Address of I/O bitmap B', addresses.ioBitmapB],
    ['Address of MSR bitmaps', addresses.msrBitmaps],
    ['TSC offset', 0],
    ['CR0 guest/host mask', 0xffff_ffff_ffff_ffffn ^ BigInt(guestOwnedCr0)],
    ['CR4 guest/host mask', 0xffff_ffff_ffff_ffffn ^ BigInt(guestOwnedCr4)],
    ['CR3-target count', 0],
    ['EPT pointer', addresses.eptPointer],
    ['Virtual-processor identifier', addresses.vpid],
    ['VM-exit MSR-store count', 0],
    ['VM-exit MSR-load count', 0],
    ['VM-entry MSR-load count', 0],
    ['VM-entry interruption-information field', 0],
    ['VMCS link pointer', NO_LINK],
  ];
}

export function hostFields(host: HostStructures): FieldValues {
  return [
    ['Host CR0', HOST_CR0],
    ['Host CR3', host.pageTables],
    ['Host CR4', HOST_CR4],
    ['Host RSP', host.stackTop],
    ['Host RIP', host.exitHandler],
    ['Host CS selector', HOST_CODE_SELECTOR],
    ...(['SS', 'DS', 'ES', 'FS', 'GS'] as const).map((name): [VmcsFieldName, number] => [
      `Host ${name} selector`,
      HOST_DATA_SELECTOR,
    ]),
    ['Host TR selector', HOST_TR_SELECTOR],
    ['Host FS base', 0],
    ['Host GS base', 0],
    ['Host TR base', host.tss],
    ['Host GDTR base', host.gdt],
    ['Host IDTR base', host.idt],
    ['Host IA32_SYSENTER_CS', 0],
    ['Host IA32_SYSENTER_ESP', 0],
    ['Host IA32_SYSENTER_EIP', 0],
    ['Host IA32_PAT', HOST_PAT],
    ['Host IA32_EFER', HOST_EFER],
  ];
}

/** The guest-state area for a processor that is in the given state now. */
export function guestFields(state: CpuState): FieldValues {
  const long = hasBit(state.efer, EFER.LMA);
  const entry = ENTRY['Load debug controls'] | ENTRY['Load IA32_PAT'] | ENTRY['Load IA32_EFER'];
  return [
    ['VM-entry controls', adjusted('entry', long ? entry | ENTRY['IA-32e mode guest'] : entry)],
    ['Guest CR0', (state.cr0 | forcedCr0) >>> 0],
    ['CR0 read shadow', state.cr0],
    ['Guest CR3', state.cr3],
    ['Guest CR4', state.cr4 | forcedCr4],
    ['CR4 read shadow', state.cr4],
    ['Guest DR7', state.dr7],
    ['Guest RSP', state.gpr(RSP)],
    ['Guest RIP', state.rip],
    ['Guest RFLAGS', readFlags(state)],
    ...segmentNames.flatMap((name, index) => segmentFields(state, name, index)),
    ['Guest GDTR base', state.gdtrBase],
    ['Guest GDTR limit', state.gdtrLimit],
    ['Guest IDTR base', state.idtrBase],
    ['Guest IDTR limit', state.idtrLimit],
    ['Guest IA32_DEBUGCTL', state.debugctl],
    ['Guest IA32_SYSENTER_CS', state.sysenterCs],
    ['Guest IA32_SYSENTER_ESP', state.sysenterEsp],
    ['Guest IA32_SYSENTER_EIP', state.sysenterEip],
    ['Guest IA32_PAT', state.pat],
    ['Guest IA32_EFER', state.efer],
    ['Guest activity state', state.activityState],
    ['Guest interruptibility state', state.interruptibility],
    ['Guest pending debug exceptions', 0],
  ];
}

function segmentFields(state: CpuState, name: (typeof segmentNames)[number], index: number): FieldValues {
  const { selector, base, limit, attributes } = state.segment(index);
  return [
    [`Guest ${name} selector`, selector],
    [`Guest ${name} base`, base],
    [`Guest ${name} limit`, limit],
    [`Guest ${name} access rights`, attributes],
  ];
}
