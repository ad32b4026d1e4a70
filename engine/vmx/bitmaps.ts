/** Where the I/O and MSR bitmaps have a port and an MSR (SDM volume 3, "I/O-Bitmap Addresses" and "MSR-Bitmap Address"). */

/** MSRs of each of the two ranges; the second begins at FIRST_HIGH_MSR. */
const MSR_RANGE = 0x2000;
export const FIRST_HIGH_MSR = 0xc000_0000;
const PORTS_OF_A = 0x8000;
const PORTS = 0x1_0000;

export type MsrAccess = 'read' | 'write';

/** Memory that holds bitmaps, by whatever addresses the VMCS has. */
export interface BitmapMemory {
  readU8(address: number): number;
}

export const isHighMsr = (msr: number): boolean => msr >= FIRST_HIGH_MSR;

/** Number of the bit in the page of the MSR bitmaps: reads then writes, each of both ranges. -1 outside of these. */
export function msrBit(msr: number, access: MsrAccess): number {
  const isHigh = isHighMsr(msr);
  const bit = isHigh ? msr - FIRST_HIGH_MSR : msr;
  if (bit >= MSR_RANGE) return -1;
  return (access === 'write' ? 2 * MSR_RANGE : 0) + (isHigh ? MSR_RANGE : 0) + bit;
}

const hasBit = (memory: BitmapMemory, bitmap: number, bit: number): boolean =>
  ((memory.readU8(bitmap + (bit >>> 3)) >>> (bit & 7)) & 1) === 1;

/** Whether MSR bitmaps make the access exit; MSRs that they do not have always do. */
export function msrBitmapsSay(memory: BitmapMemory, bitmaps: number, msr: number, access: MsrAccess): boolean {
  const bit = msrBit(msr, access);
  return bit < 0 || hasBit(memory, bitmaps, bit);
}

/** Whether I/O bitmaps make the access exit; one that wraps around the port space does as well. */
export function ioBitmapsSay(
  memory: BitmapMemory,
  bitmapA: number,
  bitmapB: number,
  port: number,
  sizeBytes: number,
): boolean {
  if (port + sizeBytes > PORTS) return true;
  for (let at = port; at < port + sizeBytes; at++) {
    if (hasBit(memory, at < PORTS_OF_A ? bitmapA : bitmapB, at % PORTS_OF_A)) return true;
  }
  return false;
}
