/** The page-modification log (SDM volume 3, "Page-Modification Logging"). */
import { PAGE_BYTES } from '../cpu/memory-map.ts';
import { offsetOf } from './vmcs.ts';
import type { VmxParts } from './vmx-parts.ts';

const ADDRESS = offsetOf('PML address');
const INDEX = offsetOf('PML index');
const ENTRIES = 512;

/** Enters the page of a guest-physical address; false if the index says that there is no room. */
export function logModification({ vmcs, physical }: VmxParts, guestPhysical: number): boolean {
  const index = vmcs.u32(INDEX) & 0xffff;
  if (index >= ENTRIES) return false;
  physical.writeU64(vmcs.number(ADDRESS) + index * 8, BigInt(guestPhysical - (guestPhysical % PAGE_BYTES)));
  vmcs.touch();
  vmcs.setU32(INDEX, (index - 1) & 0xffff);
  return true;
}
