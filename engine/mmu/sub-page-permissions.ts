/** Write rights of 128-byte sub-pages (SDM volume 3, "Sub-Page Write Permissions"). */
import type { EntryMemory } from './physical-memory.ts';
import { Outcome, type Walk } from './walk.ts';

/** Bit 61 of an EPT entry of a 4-KByte page, in the high half. */
export const SUB_PAGE_HIGH = 1 << 29;
/** log2 of what an entry of each level of the sub-page-permission table covers, but those of the last. */
const SHIFTS = [39, 30, 21] as const;
const VALID = 1;
const RESERVED_LOW = 0xffe;
export const SUB_PAGE_BYTES = 128;
/** Of the vector in the last level's entry every other bit is a right; the ones between are reserved. */
const RESERVED_IN_VECTOR = 0xaaaa_aaaa | 0;
const VECTOR_SHIFT = 12;

const entryAddress = (table: number, guestPhysical: number, shift: number): number =>
  table + (Math.floor(guestPhysical / 2 ** shift) % 512) * 8;

/** What the table says of a write: Mapped if it is allowed, EptViolation if not, or what is wrong with the table. */
export function subPageOutcome(
  physical: EntryMemory,
  walk: Walk,
  pointer: number,
  guestPhysical: number,
  reservedHigh: number,
): Outcome {
  let table = pointer;
  for (const shift of SHIFTS) {
    const at = entryAddress(table, guestPhysical, shift);
    const low = walk.read32(physical, at);
    const high = walk.read32(physical, at + 4);
    if ((low & VALID) === 0) return Outcome.SubPageMiss;
    if ((low & RESERVED_LOW) !== 0 || (high & reservedHigh) !== 0) return Outcome.SubPageMisconfiguration;
    table = (high & 0xf_ffff) * 0x1_0000_0000 + ((low & 0xffff_f000) >>> 0);
  }
  const at = entryAddress(table, guestPhysical, VECTOR_SHIFT);
  const [low, high] = [walk.read32(physical, at), walk.read32(physical, at + 4)];
  if (((low | high) & RESERVED_IN_VECTOR) !== 0) return Outcome.SubPageMisconfiguration;
  const bit = (Math.floor(guestPhysical / SUB_PAGE_BYTES) % 32) * 2;
  const isAllowed = bit < 32 ? (low >>> bit) & 1 : (high >>> (bit - 32)) & 1;
  return isAllowed ? Outcome.Mapped : Outcome.EptViolation;
}
