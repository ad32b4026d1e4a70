/** What the MSR bitmaps of the current VMCS say about one MSR (SDM volume 3, "MSR-Bitmap Address"). */
import { hex } from '../cpu/hexadecimal.ts';
import type { PhysicalMemory } from '../mmu/physical-memory.ts';
import { FIRST_HIGH_MSR, isHighMsr, type MsrAccess, msrBit } from '../vmx/bitmaps.ts';
import { controlGroups, PRIMARY } from '../vmx/controls.ts';
import type { VmcsFieldName } from '../vmx/fields.ts';
import { fieldByName } from '../vmx/vmcs.ts';
import { peekVmcsField } from './vmcs.ts';

/**
 * Whether RDMSR or WRMSR of `msr` in non-root operation exits, and which bit says so, in one sentence.
 *
 * @param vmcs host-physical address of the current VMCS
 */
export function describeMsrIntercept(physical: PhysicalMemory, vmcs: number, msr: number, access: MsrAccess): string {
  const peek = (name: VmcsFieldName): number => {
    const field = fieldByName(name);
    return field ? Number(peekVmcsField(physical, vmcs, field)) : 0;
  };
  if ((peek(controlGroups.primary.field) & PRIMARY['Use MSR bitmaps']) === 0) {
    return 'It exits: “Use MSR bitmaps” is 0, so that every RDMSR and WRMSR does.';
  }
  const place = msrBit(msr, access);
  if (place < 0) return `It exits: MSR ${hex(msr)} is outside of both ranges of the MSR bitmaps.`;
  const bit = isHighMsr(msr) ? msr - FIRST_HIGH_MSR : msr;
  const address = peek('Address of MSR bitmaps') + (place >>> 3);
  const value = (physical.peekU8(address) >>> (bit & 7)) & 1;
  const range = isHighMsr(msr) ? 'C0000000H to C0001FFFH' : '0 to 1FFFH';
  return `It ${value === 1 ? 'exits' : 'does not exit'}: bit ${hex(bit)} of the MSR bitmap for ${access}s of ${range} (byte ${hex(address)}, bit ${bit & 7}) is ${value}.`;
}
