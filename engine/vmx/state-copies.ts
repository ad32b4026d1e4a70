/** Copies between the CPU state and the VMCS that need no thought, by precomputed places: registers and segments. */
import type { CpuState } from '../cpu/state.ts';
import {
  fieldAddress,
  gprAddress,
  type FieldName as StateField,
  segmentAddress,
  segmentLayout,
  segmentNames,
} from '../cpu/state-layout.ts';
import type { PhysicalMemory } from '../mmu/physical-memory.ts';
import type { VmcsFieldName } from './fields.ts';
import { offsetOf } from './vmcs.ts';

/** Pairs of places: wasm address in the state, offset in the VMCS region. */
type Places = readonly (readonly [number, number])[];

const places = (...pairs: readonly (readonly [StateField, VmcsFieldName])[]): Places =>
  pairs.map(([field, name]) => [fieldAddress[field], offsetOf(name)]);

const segments = (part: number, suffix: 'base' | 'limit' | 'access rights' | 'selector'): Places =>
  segmentNames.map((name, index) => [segmentAddress(index) + part, offsetOf(`Guest ${name} ${suffix}`)]);

const RSP_ADDRESS = gprAddress(4);

/** Guest registers of 64 bits that VM entries load and VM exits save as they are. */
const guest64: Places = [
  ...places(
    ['cr3', 'Guest CR3'],
    ['rip', 'Guest RIP'],
    ['gdtrBase', 'Guest GDTR base'],
    ['idtrBase', 'Guest IDTR base'],
    ['sysenterEsp', 'Guest IA32_SYSENTER_ESP'],
    ['sysenterEip', 'Guest IA32_SYSENTER_EIP'],
  ),
  [RSP_ADDRESS, offsetOf('Guest RSP')],
  ...segments(segmentLayout.base, 'base'),
];
/** The same, of 32 bits. */
const guest32: Places = [
  ...places(
    ['gdtrLimit', 'Guest GDTR limit'],
    ['idtrLimit', 'Guest IDTR limit'],
    ['sysenterCs', 'Guest IA32_SYSENTER_CS'],
    ['activityState', 'Guest activity state'],
    ['interruptibility', 'Guest interruptibility state'],
  ),
  ...segments(segmentLayout.limit, 'limit'),
  ...segments(segmentLayout.attributes, 'access rights'),
];
const guestSelectors: Places = segments(segmentLayout.selector, 'selector');

/** Host registers that VM exits load as they are. */
const host64: Places = [
  ...places(
    ['cr3', 'Host CR3'],
    ['rip', 'Host RIP'],
    ['gdtrBase', 'Host GDTR base'],
    ['idtrBase', 'Host IDTR base'],
    ['sysenterEsp', 'Host IA32_SYSENTER_ESP'],
    ['sysenterEip', 'Host IA32_SYSENTER_EIP'],
  ),
  [RSP_ADDRESS, offsetOf('Host RSP')],
];
const host32: Places = places(['sysenterCs', 'Host IA32_SYSENTER_CS']);

function load(state: CpuState, { view: ram }: PhysicalMemory, pairs64: Places, pairs32: Places): void {
  const { view, currentVmcs } = state;
  for (const [at, offset] of pairs64) {
    view.setUint32(at, ram.getUint32(currentVmcs + offset, true), true);
    view.setUint32(at + 4, ram.getUint32(currentVmcs + offset + 4, true), true);
  }
  for (const [at, offset] of pairs32) view.setUint32(at, ram.getUint32(currentVmcs + offset, true), true);
}

/** VM entry: registers and segments that are loaded without further ado. */
export function loadGuestCopies(state: CpuState, physical: PhysicalMemory): void {
  load(state, physical, guest64, guest32);
  const { view, currentVmcs } = state;
  for (const [at, offset] of guestSelectors) {
    view.setUint32(at, physical.view.getUint16(currentVmcs + offset, true), true);
  }
}

/** VM exit: the same registers, of the host. */
export function loadHostCopies(state: CpuState, physical: PhysicalMemory): void {
  load(state, physical, host64, host32);
}

/** VM exit: the guest's registers and segments go to the VMCS. */
export function saveGuestCopies(state: CpuState, { view: ram }: PhysicalMemory): void {
  const { view, currentVmcs } = state;
  for (const [at, offset] of guest64) {
    ram.setUint32(currentVmcs + offset, view.getUint32(at, true), true);
    ram.setUint32(currentVmcs + offset + 4, view.getUint32(at + 4, true), true);
  }
  for (const [at, offset] of guest32) ram.setUint32(currentVmcs + offset, view.getUint32(at, true), true);
  for (const [at, offset] of guestSelectors) ram.setUint16(currentVmcs + offset, view.getUint32(at, true), true);
}
