/** The I/O and MSR bitmaps that all virtual processors share. */
import { PAGE_BYTES } from '../../cpu/memory-map.ts';
import { msrBit } from '../../vmx/bitmaps.ts';
import type { HostMemory } from './host-memory.ts';

/** MSRs that VM entries and exits switch by themselves, or that the host has no use for: no exit. */
const PASSED_THROUGH = [0x174, 0x175, 0x176, 0xc000_0100, 0xc000_0101, 0xc000_0102];

export interface Bitmaps {
  readonly ioBitmapA: number;
  readonly ioBitmapB: number;
  readonly msrBitmaps: number;
}

/** Every port exits, and every MSR but those passed through. */
export function buildBitmaps(memory: HostMemory): Bitmaps {
  const [ioBitmapA, ioBitmapB, msrBitmaps] = [0, 1, 2].map(() => {
    const page = memory.allocate();
    memory.physical.poke(page, new Uint8Array(PAGE_BYTES).fill(0xff));
    return page;
  }) as [number, number, number];
  for (const index of PASSED_THROUGH) {
    for (const bit of [msrBit(index, 'read'), msrBit(index, 'write')]) {
      const at = msrBitmaps + (bit >>> 3);
      memory.physical.writeU8(at, memory.physical.readU8(at) & ~(1 << (bit & 7)));
    }
  }
  return { ioBitmapA, ioBitmapB, msrBitmaps };
}
