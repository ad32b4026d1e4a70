/** Fields of the current VMCS by the manual's names or their encodings, as a debugger reads and writes them. */
import { widthBitsOf } from '../vmx/fields.ts';
import { fieldByName, offsetOfEncoding, supportedFields } from '../vmx/vmcs.ts';
import type { VmxParts } from '../vmx/vmx-parts.ts';

const byLowerCase = new Map(supportedFields.map(({ name, encoding }) => [name.toLowerCase(), encoding]));

/** The encoding that a name or a number (`0x681e`) stands for, if the CPU has the field. */
function encodingOf(field: string): number | undefined {
  const encoding =
    fieldByName(field)?.encoding ??
    byLowerCase.get(field.toLowerCase()) ??
    (/^0x[0-9a-f]+$/i.test(field) ? Number(field) : undefined);
  return encoding !== undefined && offsetOfEncoding(encoding) !== 0 ? encoding : undefined;
}

export function readVmcsField({ state, vmcs }: VmxParts, field: string): bigint | undefined {
  const encoding = encodingOf(field);
  return encoding === undefined || !state.currentVmcsValid ? undefined : vmcs.readEncoding(encoding);
}

/** Returns why not, or undefined when written. */
export function writeVmcsField({ state, vmcs }: VmxParts, field: string, value: bigint): string | undefined {
  if (!state.currentVmcsValid) return 'there is no current VMCS';
  const encoding = encodingOf(field);
  if (encoding === undefined) return `the CPU has no VMCS field "${field}"`;
  const bits = widthBitsOf(encoding);
  if (BigInt.asUintN(bits, value) !== value && BigInt.asIntN(bits, value) !== value) {
    return `"${field}" has ${bits} bits; 0x${value.toString(16)} does not fit`;
  }
  vmcs.writeEncoding(encoding, BigInt.asUintN(bits, value));
  return undefined;
}
