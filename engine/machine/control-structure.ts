/** The structure that a hypervisor controls its guest by, of the loaded vCPU, for views: VMCS or VMCB. */

import type { VmcsView } from '../inspect/views.ts';
import { findVmcbField, peekVmcbField, pokeVmcbField, vmcbView } from '../inspect/vmcb.ts';
import { findVmcsField, peekVmcsField, pokeVmcsField, vmcsView } from '../inspect/vmcs.ts';
import { VMCB_BYTES } from '../svm/vmcb-fields.ts';
import type { Host } from './host.ts';

export interface ControlStructure {
  /** The current one, or the one at a host-physical address. */
  view(address?: bigint): VmcsView | undefined;
  read(name: string): bigint | undefined;
  /** Returns why not, or undefined when written. */
  write(name: string, value: bigint): string | undefined;
}

export function controlStructure(host: Host): ControlStructure {
  return host.virtualization === host.svm ? vmcb(host) : vmcs(host);
}

function vmcs({ state, physical }: Host): ControlStructure {
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
  };
}

function vmcb({ state, physical }: Host): ControlStructure {
  const exists = () => state.vmcb !== 0 && physical.isRam(state.vmcb, VMCB_BYTES);
  return {
    view: (address) => {
      const at = address === undefined ? state.vmcb : Number(address);
      if (at === 0 || !physical.isRam(at, VMCB_BYTES)) return undefined;
      return vmcbView(physical, at, at === state.vmcb && state.svmGuest !== 0);
    },
    read: (name) => {
      const field = findVmcbField(name);
      return field && exists() ? peekVmcbField(physical, state.vmcb, field) : undefined;
    },
    write: (name, value) => {
      if (!exists()) return 'there was no VMRUN yet';
      const field = findVmcbField(name);
      return field ? pokeVmcbField(physical, state.vmcb, field, value) : `the VMCB has no field "${name}"`;
    },
  };
}
