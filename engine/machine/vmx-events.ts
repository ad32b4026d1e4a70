/** VM exits, VM entries and their failures as events. */
import { hex } from '../cpu/hexadecimal.ts';
import { explainEntryFailure, explainExit } from '../inspect/explain-exit.ts';
import type { VmExitInfo } from '../vmx/exit.ts';
import { ExitReason } from '../vmx/exit-reasons.ts';
import type { VmEntryFailure, VmEntryInfo } from '../vmx/vmx.ts';
import { common, tripleFaultEvent } from './event-descriptions.ts';
import type { Host } from './host.ts';
import type { MachineEvent, StopFilter } from './machine-api.ts';

const RAX = 0;
/** Access types in the exit qualification of control-register accesses. */
const CR_ACCESSES = ['mov to', 'mov from', 'clts', 'lmsw'];

/** Values that conditions may use besides those of the explanation. */
function moreValues(info: VmExitInfo): Record<string, bigint | string> {
  const bits = Number(info.qualification & 0xffff_ffffn);
  const always = {
    guest_rip: info.rip,
    guest_linear: info.guestLinear,
    guest_physical: info.guestPhysical,
    interruption_information: BigInt(info.interruptionInformation),
  };
  switch (info.reason) {
    case ExitReason['Control-register accesses']:
      return { ...always, cr: BigInt(bits & 15), access: CR_ACCESSES[(bits >> 4) & 3] ?? '' };
    case ExitReason['EPT violation']:
      return { ...always, read: BigInt(bits & 1), write: BigInt((bits >> 1) & 1), fetch: BigInt((bits >> 2) & 1) };
    default:
      return always;
  }
}

/** The filter besides `vm-exit` that exits with a basic reason are events of. */
export function exitFilterOf(reason: number): StopFilter | undefined {
  switch (reason) {
    case ExitReason['EPT violation']:
      return 'ept-violation';
    case ExitReason.VMCALL:
      return 'hypercall';
    case ExitReason['Triple fault']:
      return 'triple-fault';
    default:
      return undefined;
  }
}

/** The events of one VM exit: itself, and the more special ones it is. */
export function exitEvents(info: VmExitInfo, host: Host): MachineEvent[] {
  const { title, values: explained, explanation } = explainExit(info, host.state, host.physical);
  const values = { ...common(host), ...explained, ...moreValues(info) };
  const event = (filter: StopFilter, name: string): MachineEvent => ({
    filter,
    vcpu: host.loaded,
    title: name,
    values,
    explanation,
  });
  const exit = event('vm-exit', title);
  switch (exitFilterOf(info.reason)) {
    case 'ept-violation':
      return [exit, event('ept-violation', `EPT violation at guest-physical ${hex(info.guestPhysical)}`)];
    case 'hypercall':
      return [exit, event('hypercall', `Hypercall: VMCALL with RAX = ${hex(host.state.gpr(RAX))}`)];
    case 'triple-fault':
      return [exit, { ...event('triple-fault', 'Triple fault'), explanation: tripleFaultEvent(host).explanation }];
    default:
      return [exit];
  }
}

export function entryEvent({ launch, rip, vmcs }: VmEntryInfo, host: Host): MachineEvent {
  const instruction = launch ? 'VMLAUNCH' : 'VMRESUME';
  return {
    filter: 'vm-entry',
    vcpu: host.loaded,
    title: `VM entry: ${instruction}`,
    values: { ...common(host), instruction, guest_rip: rip, vmcs: BigInt(vmcs) },
    explanation: [
      `${instruction} loaded the guest's state from the VMCS at ${hex(vmcs)}; the guest goes on at RIP ${hex(rip)}.`,
    ],
  };
}

export function entryFailureEvent(failure: VmEntryFailure, host: Host): MachineEvent {
  const { title, values, explanation } = explainEntryFailure(failure, host.physical);
  return {
    filter: 'vm-entry-failure',
    vcpu: host.loaded,
    title,
    values: { ...common(host), ...values, vmcs: BigInt(failure.vmcs) },
    explanation,
  };
}
