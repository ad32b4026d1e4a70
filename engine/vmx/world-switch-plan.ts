/**
 * The plan that a VM entry leaves for the next ones with the same VMCS: what lets compiled code enter the guest, and leave
 * it, without the checks and derivations of entry.ts and exit.ts. It is a mere copy of what follows from registers and the
 * VMCS, and holds only as long as those are as they were, so that it is no part of the machine's state.
 */
import { DR7_RESET } from '../cpu/debug-registers.ts';
import { enabledExtensions } from '../cpu/extensions.ts';
import { ORDINARY_TRANSLATION_ADDRESS, PLANNED_VMCS_ADDRESS } from '../cpu/memory-map.ts';
import { CpuMode } from '../cpu/modes.ts';
import { CR4, RFLAGS } from '../cpu/register-bits.ts';
import { ENTRY, EXIT, PIN, PRIMARY, SECONDARY } from './controls.ts';
import { INTERRUPTION_VALID } from './exit.ts';
import { type VmcsFieldName, vmcsFields } from './fields.ts';
import { mergeCr0 } from './guest-state.ts';
import { fieldExists, offsetOf } from './vmcs.ts';
import { hasPin, hasPrimary, secondaryControls, type VmxParts, vpidUnder } from './vmx-parts.ts';
import { worldSwitchPlace } from './world-switch-layout.ts';

/** Fields that guests and hypervisors change at every turn: entries look at them each time. */
const changeable: ReadonlySet<VmcsFieldName> = new Set<VmcsFieldName>([
  'Guest RIP',
  'Guest RSP',
  'Guest RFLAGS',
  'Guest CR3',
  'Guest FS base',
  'Guest GS base',
  // Only whether it is valid matters.
  'VM-entry interruption-information field',
  'VM-entry exception error code',
  'VM-entry instruction length',
  'VMX-preemption timer value',
]);

/** Offsets of the fields that have to be as they were, and of those among them that a VM exit looks at. */
const existing = vmcsFields.filter((field) => fieldExists(field) && field.group !== 'VM-Exit Information');
export const fixedFields: readonly number[] = existing
  .filter(({ name }) => !changeable.has(name))
  .map(({ name }) => offsetOf(name));
export const fieldsOfExit: readonly number[] = [
  ...existing
    .filter(({ group }) => group === 'Host State' || group === 'VM-Exit Control')
    .map(({ name }) => offsetOf(name)),
  offsetOf('VM-entry controls'),
];

/** Where the guest's segment registers lie, GDTR and IDTR among them, and nothing else. */
export const savedSegments = { from: offsetOf('Guest ES selector'), to: offsetOf('Guest IDTR limit') + 8 } as const;

/** Bytes of the region up to the end of these. */
const IMAGE_BYTES = Math.max(...fixedFields) + 8;

const NONE_OF_PIN = PIN['Activate VMX-preemption timer'];
const NONE_OF_PRIMARY =
  PRIMARY['Interrupt-window exiting'] |
  PRIMARY['NMI-window exiting'] |
  PRIMARY['Use TPR shadow'] |
  PRIMARY['Monitor trap flag'];
const NONE_OF_SECONDARY = SECONDARY['Virtualize APIC accesses'] | SECONDARY['Virtual-interrupt delivery'];
const ENTRY_CONTROLS = offsetOf('VM-entry controls');
const EXIT_CONTROLS = offsetOf('Primary VM-exit controls');
const ZERO_FIELDS = [
  'VM-entry MSR-load count',
  'VM-exit MSR-store count',
  'VM-exit MSR-load count',
  'Guest activity state',
  'Guest interruptibility state',
  'Guest pending debug exceptions',
] as const;
const zeroFields = ZERO_FIELDS.map((name) => offsetOf(name));
const HOST_CR0 = offsetOf('Host CR0');
const HOST_CR4 = offsetOf('Host CR4');
const INTERRUPTION = offsetOf('VM-entry interruption-information field');

/** Registers of the host that an entry was made from, which decide what follows from the VMCS. */
export interface HostOfPlan {
  readonly efer: number;
  readonly mode: number;
}

/** Whether entries with the current VMCS, the last of which has just been made, are of the kind that compiled code makes. */
function isOrdinary({ state, vmcs }: VmxParts, host: HostOfPlan): boolean {
  const secondary = secondaryControls(vmcs);
  return (
    host.mode === CpuMode.long64 &&
    state.mode === CpuMode.long64 &&
    state.view.getUint32(ORDINARY_TRANSLATION_ADDRESS, true) !== 0 &&
    vpidUnder(secondary, vmcs) !== 0 &&
    (secondary & NONE_OF_SECONDARY) === 0 &&
    !hasPrimary(vmcs, NONE_OF_PRIMARY) &&
    !hasPin(vmcs, NONE_OF_PIN) &&
    (vmcs.u32(ENTRY_CONTROLS) & ENTRY['IA-32e mode guest']) !== 0 &&
    (vmcs.u32(EXIT_CONTROLS) & EXIT['Host address-space size']) !== 0 &&
    (vmcs.u32(INTERRUPTION) & INTERRUPTION_VALID) === 0 &&
    zeroFields.every((offset) => vmcs.u32(offset) === 0) &&
    state.dr7 === DR7_RESET &&
    state.debugctl === 0
  );
}

/** Leaves the plan after an entry that passed all checks, or none. */
export function makePlan(parts: VmxParts, host: HostOfPlan): void {
  const { state, vmcs } = parts;
  const { view } = state;
  view.setUint32(PLANNED_VMCS_ADDRESS, 0, true);
  if (!isOrdinary(parts, host)) return;
  parts.copies.copyRegion(worldSwitchPlace.image, IMAGE_BYTES);
  const { xcr0 } = state;
  const set = (at: number, value: number): void => view.setUint32(at, value, true);
  set(worldSwitchPlace.hostEfer, host.efer);
  set(worldSwitchPlace.guestEfer, state.efer);
  set(worldSwitchPlace.xcr0, xcr0);
  set(worldSwitchPlace.guestExtensions, enabledExtensions(state));
  const cr0 = mergeCr0(state.cr0, vmcs.u32(HOST_CR0));
  const cr4 = vmcs.u32(HOST_CR4) | CR4.PAE;
  const extensions = enabledExtensions({ cr0, cr4, xcr0, flagsOther: RFLAGS.FIXED });
  set(worldSwitchPlace.hostExtensions, extensions);
  view.setUint32(PLANNED_VMCS_ADDRESS, vmcs.address + 1, true);
  vmcs.noteWritable();
}
