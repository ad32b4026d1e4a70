/** The I/O and MSR permissions maps (AMD64 APM volume 2, "IOIO Intercept", "MSR Intercept"). */
import type { SvmParts } from './svm-parts.ts';
import { vmcbOffset } from './vmcb-fields.ts';

const IOPM = vmcbOffset('IOPM_BASE_PA');
const MSRPM = vmcbOffset('MSRPM_BASE_PA');
const PAGE_BYTES = 4096;

/** The MSRs that the map has, each with two bits; 2000H of them from each of these on, one after the other. */
const MSR_RANGES = [0, 0xc000_0000, 0xc001_0000] as const;
const MSR_RANGE = 0x2000;

/** Number of an MSR's bit in the map, for reads (0) or writes (1); undefined for one that the map does not have. */
export function msrMapBit(index: number, write: 0 | 1): number | undefined {
  const range = MSR_RANGES.findIndex((first) => index >= first && index < first + MSR_RANGE);
  return range < 0 ? undefined : (range * MSR_RANGE + index - (MSR_RANGES[range] as number)) * 2 + write;
}

export class PermissionMaps {
  readonly #parts: SvmParts;

  constructor(parts: SvmParts) {
    this.#parts = parts;
  }

  /** Any bit of the ports that the access touches counts; the map goes on behind the last port. */
  interceptsPort(port: number, sizeBytes: number): boolean {
    for (let at = port; at < port + sizeBytes; at++) if (this.#bit(IOPM, at)) return true;
    return false;
  }

  /** MSRs outside of the map are always intercepted. */
  interceptsMsr(index: number, write: 0 | 1): boolean {
    const bit = msrMapBit(index, write);
    return bit === undefined || this.#bit(MSRPM, bit);
  }

  #bit(field: number, index: number): boolean {
    const { vmcb, physical } = this.#parts;
    const base = vmcb.number(field);
    const address = base - (base % PAGE_BYTES) + (index >>> 3);
    return ((physical.readU8(address) >>> (index & 7)) & 1) === 1;
  }
}
