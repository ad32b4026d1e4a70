/** The VMCB as plain data for the debugger: fields in groups, bits decoded. Peeks only. */
import type { PhysicalMemory } from '../mmu/physical-memory.ts';
import { VMCB_BYTES, type VmcbField, vmcbFields } from '../svm/vmcb-fields.ts';
import type { VmcsFieldView, VmcsSummary, VmcsView } from './views.ts';
import { vmcbParts } from './vmcb-parts.ts';

const BITS = 8;

/** Value of a field of the VMCB at a host-physical address, which lies in RAM. */
export function peekVmcbField({ view }: PhysicalMemory, address: number, { offset, bytes }: VmcbField): bigint {
  let value = 0n;
  for (let at = bytes - 1; at >= 0; at--) value = (value << 8n) | BigInt(view.getUint8(address + offset + at));
  return value;
}

/** Writes a field on behalf of the debugger. Returns why not, or undefined when written. */
export function pokeVmcbField(
  physical: PhysicalMemory,
  address: number,
  { name, offset, bytes }: VmcbField,
  value: bigint,
): string | undefined {
  if (BigInt.asUintN(bytes * BITS, value) !== value) {
    return `${name} is ${bytes * BITS} bits wide; found 0x${value.toString(16)}, expected at most ${bytes * 2} hexadecimal digits`;
  }
  const written = Uint8Array.from({ length: bytes }, (_, at) => Number((value >> BigInt(at * BITS)) & 0xffn));
  physical.poke(address + offset, written);
  return undefined;
}

const normalized = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]+/g, '_');
const byNormalizedName = new Map(vmcbFields.map((field): [string, VmcbField] => [normalized(field.name), field]));
const byOffset = new Map(vmcbFields.map((field): [number, VmcbField] => [field.offset, field]));

/** The field that a user means: by the manual's name in any case, or by its offset as a decimal or 0x number. */
export function findVmcbField(nameOrOffset: string): VmcbField | undefined {
  const text = nameOrOffset.trim();
  if (/^(0x[0-9a-f]+|[0-9]+)$/i.test(text)) return byOffset.get(Number(text));
  return byNormalizedName.get(normalized(text));
}

/** All fields of the VMCB at a host-physical address, or undefined if there is none. */
export function vmcbView(physical: PhysicalMemory, address: number, isGuestMode: boolean): VmcsView | undefined {
  if (!physical.isRam(address, VMCB_BYTES)) return undefined;
  return {
    structure: 'VMCB',
    address: BigInt(address),
    launchState: launchState(isGuestMode),
    fields: vmcbFields.map((field) => fieldView(field, (other) => peekVmcbField(physical, address, other))),
  };
}

/** What the VMCB at an address is, the last one of some vCPUs, or undefined if there is no memory. */
export function vmcbSummary(
  physical: PhysicalMemory,
  address: number,
  currentOn: readonly number[],
  isGuestMode: boolean,
): VmcsSummary | undefined {
  if (!physical.isRam(address, VMCB_BYTES)) return undefined;
  return {
    structure: 'VMCB',
    address: BigInt(address),
    launchState: launchState(isGuestMode),
    currentOn,
    isShadow: false,
    hasRevision: true,
  };
}
const launchState = (isGuestMode: boolean): VmcsView['launchState'] => (isGuestMode ? 'guest mode' : 'host mode');

function fieldView(field: VmcbField, peek: (field: VmcbField) => bigint): VmcsFieldView {
  const value = peek(field);
  return {
    name: field.name,
    encoding: field.offset,
    group: field.group,
    widthBits: field.bytes * BITS,
    value,
    description: field.doc,
    parts: vmcbParts(field, value, peek),
  };
}
