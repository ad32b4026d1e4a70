/** What makes an EPT pointer valid (SDM volume 3, "Extended-Page-Table Pointer (EPTP)"). */
import { eptWalkLength } from '../mmu/walk.ts';

const RESERVED_LOW = 0xf80;
const UNCACHEABLE = 0;
const WRITE_BACK = 6;

export const hasEptpMemoryType = (low: number): boolean => (low & 7) === UNCACHEABLE || (low & 7) === WRITE_BACK;
export const hasEptpWalkLength = (low: number): boolean => eptWalkLength(low) === 4 || eptWalkLength(low) === 5;
/** Bits 11:7 and those beyond the physical-address width are 0. */
const hasEptpReservedClear = (low: number, high: number, physicalAddressBits: number): boolean =>
  (low & RESERVED_LOW) === 0 && high >>> (physicalAddressBits - 32) === 0;

/** Whether VM entry would accept an EPTP, given in halves. */
export const isValidEptp = (low: number, high: number, physicalAddressBits: number): boolean =>
  hasEptpMemoryType(low) && hasEptpWalkLength(low) && hasEptpReservedClear(low, high, physicalAddressBits);
