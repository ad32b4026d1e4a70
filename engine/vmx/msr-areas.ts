/**
 * The MSR areas that VM entries and exits load from and store to (SDM volume 3, "Loading MSRs", "Saving MSRs"): entries
 * of 16 bytes, with the MSR's index, 4 reserved bytes that must be 0, and the value.
 */
import { GuestFault } from '../cpu/events.ts';
import type { VmxParts } from './vmx-parts.ts';

export const MSR_ENTRY_BYTES = 16;
/** IA32_VMX_MISC bits 27:25 = 0 recommend at most so many entries; the CPU refuses more. */
export const MAX_MSR_ENTRIES = 512;

const FS_BASE = 0xc000_0100;
const GS_BASE = 0xc000_0101;
const SMM_MONITOR_CTL = 0x9b;
const BIOS_UPDT_TRIG = 0x79;
const FIRST_X2APIC = 0x800;
const LAST_X2APIC = 0x8ff;

/** MSRs that the areas may not name, whatever WRMSR would say. */
export const isForbiddenInLoadArea = (index: number): boolean =>
  index === FS_BASE ||
  index === GS_BASE ||
  index === SMM_MONITOR_CTL ||
  index === BIOS_UPDT_TRIG ||
  (index >= FIRST_X2APIC && index <= LAST_X2APIC);

/** Loads the MSRs of an area. Returns the number of the entry that cannot be loaded, from 1, or 0. */
export function loadMsrs(parts: VmxParts, address: number, count: number): number {
  for (let number = 1; number <= count; number++) {
    if (number > MAX_MSR_ENTRIES || !loadMsr(parts, address + (number - 1) * MSR_ENTRY_BYTES)) return number;
  }
  return 0;
}

function loadMsr({ processor, physical }: VmxParts, at: number): boolean {
  const index = physical.readU32(at);
  if (physical.readU32(at + 4) !== 0 || isForbiddenInLoadArea(index)) return false;
  const msr = processor.model.msrs.get(index);
  if (msr?.write === undefined) return false;
  try {
    msr.write(processor, physical.readU64(at + 8));
  } catch (fault) {
    if (fault instanceof GuestFault) return false;
    throw fault;
  }
  return true;
}

/** Stores the MSRs that an area names. Returns the number of the entry that cannot be stored, from 1, or 0. */
export function storeMsrs(parts: VmxParts, address: number, count: number): number {
  for (let number = 1; number <= count; number++) {
    if (number > MAX_MSR_ENTRIES || !storeMsr(parts, address + (number - 1) * MSR_ENTRY_BYTES)) return number;
  }
  return 0;
}

function storeMsr({ processor, physical }: VmxParts, at: number): boolean {
  const index = physical.readU32(at);
  if (physical.readU32(at + 4) !== 0) return false;
  const msr = processor.model.msrs.get(index);
  const isX2apic = index >= FIRST_X2APIC && index <= LAST_X2APIC;
  if (msr === undefined || isX2apic) return false;
  physical.writeU64(at + 8, msr.read(processor));
  return true;
}
