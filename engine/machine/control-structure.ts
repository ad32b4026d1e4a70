/** The structure that a hypervisor controls its guest by, of the loaded vCPU, for views: VMCS or VMCB. */

import { entryCheckView } from '../inspect/entry-check.ts';
import type { EntryCheckView, VmcsSummary, VmcsView } from '../inspect/views.ts';
import { findVmcbField, peekVmcbField, pokeVmcbField, vmcbSummary, vmcbView } from '../inspect/vmcb.ts';
import { findVmcsField, peekVmcsField, pokeVmcsField, vmcsSummary, vmcsView } from '../inspect/vmcs.ts';
import { isVmcb, vmcbOfInterest, vmrunCheckView } from '../inspect/vmrun-check.ts';
import { svmExitInfo } from '../svm/exit-info.ts';
import { exitInfo } from '../vmx/exit.ts';
import type { Host } from './host.ts';
import type { MachineEvent } from './machine-api.ts';
import { svmExitEvents } from './svm-events.ts';
import { exitEvents } from './vmx-events.ts';

export interface ControlStructure {
  /** The current one, or the one at a host-physical address. */
  view(address?: bigint): VmcsView | undefined;
  read(name: string): bigint | undefined;
  /** Returns why not, or undefined when written. */
  write(name: string, value: bigint): string | undefined;
  /** All that software has named. */
  known(): readonly VmcsSummary[];
  /** What would become of a VM entry now. */
  check(): EntryCheckView;
  /** The exit that the current one tells of. */
  lastExit(): MachineEvent | undefined;
}

/** Those that software has named, each with the vCPUs that it is the current one of. */
function known(
  host: Host,
  summary: (address: number, currentOn: readonly number[]) => VmcsSummary | undefined,
): readonly VmcsSummary[] {
  const current = host.states().map((_, vcpu) => host.currentVmcs(vcpu));
  const isAt = (address: number) => current.flatMap((one, vcpu) => (one === address ? [vcpu] : []));
  return host.knownVmcss.addresses.flatMap((address) => summary(address, isAt(address)) ?? []);
}

export function controlStructure(host: Host): ControlStructure {
  return host.hasSvm ? vmcb(host) : vmcs(host);
}

function vmcs(host: Host): ControlStructure {
  const { state, physical, vmx } = host;
  return {
    view: (address) => {
      if (address !== undefined) return vmcsView(physical, Number(address));
      return state.currentVmcsValid ? vmcsView(physical, state.currentVmcs) : undefined;
    },
    read: (name) => {
      const field = findVmcsField(name);
      return field && state.currentVmcsValid ? peekVmcsField(physical, state.currentVmcs, field) : undefined;
    },
    write: (name, value) => {
      if (!state.currentVmcsValid) return 'there is no current VMCS';
      const field = findVmcsField(name);
      return field ? pokeVmcsField(physical, state.currentVmcs, field, value) : `the VMCS has no field "${name}"`;
    },
    known: () => known(host, (address, currentOn) => vmcsSummary(physical, address, currentOn)),
    check: () => entryCheckView(vmx),
    lastExit: () => (state.currentVmcsValid ? exitEvents(exitInfo(vmx.parts.vmcs), host)[0] : undefined),
  };
}

function vmcb(host: Host): ControlStructure {
  const { state, physical, svm } = host;
  /** Before VMRUN it is the one that is going to be entered. */
  const current = (): number | undefined => {
    const address = vmcbOfInterest(svm.parts);
    return isVmcb(svm.parts, address) ? address : undefined;
  };
  return {
    view: (address) => {
      const at = address === undefined ? current() : Number(address);
      return at === undefined ? undefined : vmcbView(physical, at, at === state.vmcb && state.svmGuest !== 0);
    },
    read: (name) => {
      const [field, at] = [findVmcbField(name), current()];
      return field && at !== undefined ? peekVmcbField(physical, at, field) : undefined;
    },
    write: (name, value) => {
      const [field, at] = [findVmcbField(name), current()];
      if (at === undefined) return 'there was no VMRUN yet';
      return field ? pokeVmcbField(physical, at, field, value) : `the VMCB has no field "${name}"`;
    },
    known: () =>
      known(host, (address, currentOn) =>
        vmcbSummary(
          physical,
          address,
          currentOn,
          currentOn.some((vcpu) => host.isInGuestMode(vcpu)),
        ),
      ),
    check: () => vmrunCheckView(svm),
    lastExit: () => (isVmcb(svm.parts, state.vmcb) ? svmExitEvents(svmExitInfo(svm.parts), host)[0] : undefined),
  };
}
