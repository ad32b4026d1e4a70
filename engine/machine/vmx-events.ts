/** VM exits, VM entries and their failures as events. */

import type { VmExitInfo } from '../vmx/exit.ts';
import { ExitReason, exitReason } from '../vmx/exit-reasons.ts';
import type { VmEntryFailure, VmEntryInfo } from '../vmx/vmx.ts';
import { common, hex, tripleFaultEvent } from './event-descriptions.ts';
import type { Host } from './host.ts';
import type { MachineEvent, StopFilter } from './machine-api.ts';

type Values = Record<string, bigint | string>;

const RAX = 0;
const RCX = 1;

/** The values that only some exits have, by their reason. */
function decodedValues({ reason, qualification }: VmExitInfo, { state }: Host): Values {
  const bits = Number(qualification & 0xffff_ffffn);
  switch (reason) {
    case ExitReason['I/O instruction']:
      return {
        port: BigInt(bits >>> 16),
        size: BigInt((bits & 7) + 1),
        direction: bits & 8 ? 'in' : 'out',
        string: BigInt((bits >> 4) & 1),
      };
    case ExitReason.RDMSR:
    case ExitReason.WRMSR:
      return { msr: BigInt(state.gpr32(RCX)) };
    case ExitReason['Control-register accesses']:
      return { cr: BigInt(bits & 15), access: ['mov to', 'mov from', 'clts', 'lmsw'][(bits >> 4) & 3] ?? '' };
    case ExitReason.CPUID:
      return { leaf: BigInt(state.gpr32(RAX)), subleaf: BigInt(state.gpr32(RCX)) };
    case ExitReason.VMCALL:
      return { rax: state.gpr(RAX) };
    case ExitReason['EPT violation']:
      return { read: BigInt(bits & 1), write: BigInt((bits >> 1) & 1), fetch: BigInt((bits >> 2) & 1) };
    default:
      return {};
  }
}

function exitValues(info: VmExitInfo, host: Host): Values {
  const values: Values = {
    ...common(host),
    rip: info.rip,
    reason: BigInt(info.reason),
    reason_name: info.name,
    qualification: info.qualification,
    guest_rip: info.rip,
    guest_linear: info.guestLinear,
    guest_physical: info.guestPhysical,
    instruction_length: BigInt(info.instructionLengthBytes),
    interruption_information: BigInt(info.interruptionInformation),
    ...decodedValues(info, host),
  };
  if (info.interruptionInformation) values.vector = BigInt(info.interruptionInformation & 0xff);
  return values;
}

function explainExit(info: VmExitInfo): string[] {
  const row = exitReason(info.reason);
  return row ? [row.doc, row.handler] : [];
}

/** The events of one VM exit: itself, and the more special ones it is. */
export function exitEvents(info: VmExitInfo, host: Host): MachineEvent[] {
  const values = exitValues(info, host);
  const explanation = explainExit(info);
  const event = (filter: StopFilter, title: string): MachineEvent => ({
    filter,
    vcpu: host.loaded,
    title,
    values,
    explanation,
  });
  const events = [event('vm-exit', `VM exit: ${info.name} (${info.reason})`)];
  switch (info.reason) {
    case ExitReason['EPT violation']:
      events.push(event('ept-violation', `EPT violation at guest-physical ${hex(info.guestPhysical)}`));
      break;
    case ExitReason.VMCALL:
      events.push(event('hypercall', `Hypercall: VMCALL with RAX = ${hex(host.state.gpr(RAX))}`));
      break;
    case ExitReason['Triple fault']:
      events.push(tripleFaultEvent(host));
      break;
  }
  return events;
}

export function entryEvent({ launch, rip, vmcs }: VmEntryInfo, host: Host): MachineEvent {
  const name = launch ? 'VMLAUNCH' : 'VMRESUME';
  return {
    filter: 'vm-entry',
    vcpu: host.loaded,
    title: `VM entry: ${name}`,
    values: { ...common(host), instruction: name, guest_rip: rip, vmcs: BigInt(vmcs) },
    explanation: [
      `${name} loaded the guest's state from the VMCS at ${hex(vmcs)}; the guest goes on at RIP ${hex(rip)}.`,
    ],
  };
}

export function entryFailureEvent(failure: VmEntryFailure, host: Host): MachineEvent {
  const { launch, error, reason, qualification, violated, vmcs } = failure;
  const name = launch ? 'VMLAUNCH' : 'VMRESUME';
  const how =
    error === undefined
      ? `a VM exit with reason ${reason}, bit 31 set, leads to the host`
      : `${name} fails with VM-instruction error ${error} and execution goes on behind it`;
  const values: Values = { ...common(host), instruction: name, qualification, vmcs: BigInt(vmcs) };
  if (error !== undefined) values.error = BigInt(error);
  if (reason !== undefined) values.reason = BigInt(reason);
  const rules = violated.map(({ id, text, fields, section }) => `${id}: ${text} (${fields.join(', ')}; "${section}")`);
  return {
    filter: 'vm-entry-failure',
    vcpu: host.loaded,
    title: `VM entry failed: ${violated[0]?.text ?? `exit reason ${reason}, qualification ${qualification}`}`,
    values,
    explanation: [`The processor refuses to enter the guest: ${how}.`, ...rules],
  };
}
