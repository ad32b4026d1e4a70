/** The VMCS as plain data for the debugger: fields in the manual's groups, controls decoded bit by bit. Peeks only. */

import type { PhysicalMemory } from '../mmu/physical-memory.ts';
import type { VmcsField, VmcsFieldName } from '../vmx/fields.ts';
import { vmcsFields, widthBitsOf } from '../vmx/fields.ts';
import {
  LAUNCH_STATE_OFFSET,
  LaunchState,
  offsetOf,
  REVISION_OFFSET,
  SHADOW_VMCS,
  supportedFields,
  VMCS_BYTES,
  VMCS_REVISION,
} from '../vmx/vmcs.ts';
import type { VmcsFieldView, VmcsSummary, VmcsView } from './views.ts';
import { partsOf } from './vmcs-parts.ts';

/** Value of a field of the VMCS at a host-physical address. The region lies in RAM. */
export function peekVmcsField(physical: PhysicalMemory, address: number, field: VmcsField): bigint {
  const at = address + offsetOf(field.name as VmcsFieldName);
  return BigInt.asUintN(widthBitsOf(field.encoding), physical.view.getBigUint64(at, true));
}

/** Writes a field on behalf of the debugger, read-only ones too. Returns why not, or undefined when written. */
export function pokeVmcsField(
  physical: PhysicalMemory,
  address: number,
  field: VmcsField,
  value: bigint,
): string | undefined {
  const bits = widthBitsOf(field.encoding);
  if (BigInt.asUintN(bits, value) !== value) {
    return `${field.name} is ${bits} bits wide; found 0x${value.toString(16)}, expected at most ${bits / 4} hexadecimal digits`;
  }
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  physical.poke(address + offsetOf(field.name as VmcsFieldName), bytes);
  return undefined;
}

const normalized = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]+/g, '_');
const byNormalizedName = new Map(vmcsFields.map((field): [string, VmcsField] => [normalized(field.name), field]));
const byEncoding = new Map(vmcsFields.map((field): [number, VmcsField] => [field.encoding, field]));

/**
 * The field that a user means: by the manual's name in any case, with blanks, hyphens or underscores, or by its
 * encoding as a decimal or 0x number.
 */
export function findVmcsField(nameOrEncoding: string): VmcsField | undefined {
  const text = nameOrEncoding.trim();
  if (/^(0x[0-9a-f]+|[0-9]+)$/i.test(text)) return byEncoding.get(Number(text));
  return byNormalizedName.get(normalized(text));
}

/** All fields of the VMCS at a host-physical address that the CPU has, or undefined if there is none. */
export function vmcsView(physical: PhysicalMemory, address: number): VmcsView | undefined {
  if (!physical.isRam(address, VMCS_BYTES)) return undefined;
  const value = (field: VmcsField): bigint => peekVmcsField(physical, address, field);
  return {
    structure: 'VMCS',
    address: BigInt(address),
    launchState: isLaunched(physical, address) ? 'launched' : 'clear',
    fields: supportedFields.map((field) => fieldView(field, value)),
  };
}

/** The launch state of the VMCS at an address. */
export const isLaunched = (physical: PhysicalMemory, address: number): boolean =>
  physical.peekU32(address + LAUNCH_STATE_OFFSET) === LaunchState.launched;

/** What the region at an address is, current on some vCPUs, or undefined if there is no memory. */
export function vmcsSummary(
  physical: PhysicalMemory,
  address: number,
  currentOn: readonly number[],
): VmcsSummary | undefined {
  if (!physical.isRam(address, VMCS_BYTES)) return undefined;
  const revision = physical.peekU32(address + REVISION_OFFSET);
  return {
    structure: 'VMCS',
    address: BigInt(address),
    launchState: isLaunched(physical, address) ? 'launched' : 'clear',
    currentOn,
    isShadow: (revision & SHADOW_VMCS) !== 0,
    hasRevision: (revision & ~SHADOW_VMCS) >>> 0 === VMCS_REVISION,
  };
}

function fieldView(field: VmcsField, value: (field: VmcsField) => bigint): VmcsFieldView {
  return {
    name: field.name,
    encoding: field.encoding,
    group: field.group,
    widthBits: widthBitsOf(field.encoding),
    value: value(field),
    description: field.doc,
    parts: partsOf(field, value),
  };
}
