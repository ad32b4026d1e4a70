/** How a MappingStore keeps its mappings; WebAssembly reads and writes the linear ones too (exec/mapping-emitter.ts). */

/** Sets and ways of the linear mappings. */
export const LINEAR_SETS = 128;
export const LINEAR_WAYS = 12;
const LINEAR_SLOTS = LINEAR_SETS * LINEAR_WAYS;

/** What a slot has in the array of addresses. */
export const ADDRESS = { physical: 0, eptRoot: 1, root: 2 } as const;
export const ADDRESSES = 3;
/** What it has in the array of words: VPID and PCID; MappingFlag bits; page shift, guest page shift and paging mode. */
export const WORD = { owner: 0, flags: 1, kind: 2 } as const;
export const WORDS = 3;
/** Where the arrays of a store begin. */
export const LINEAR_LAYOUT = {
  pages: 0,
  addresses: LINEAR_SLOTS * 8,
  words: LINEAR_SLOTS * 8 * (1 + ADDRESSES),
  live: LINEAR_SLOTS * (8 + 8 * ADDRESSES + 4 * WORDS),
  next: LINEAR_SLOTS * (8 + 8 * ADDRESSES + 4 * WORDS) + 128,
  liveOfSet: LINEAR_SLOTS * (8 + 8 * ADDRESSES + 4 * WORDS) + 256,
  /** i32: mappings that are part of a larger guest page. */
  fragments: LINEAR_SLOTS * (8 + 8 * ADDRESSES + 4 * WORDS) + 384,
} as const;

export const ownerOf = (vpid: number, pcid: number): number => vpid | (pcid << 16);
export const vpidOf = (owner: number): number => owner & 0xffff;
export const pcidOf = (owner: number): number => owner >>> 16;
export const kindOf = (shift: number, guestShift: number, mode: number): number =>
  shift | (guestShift << 8) | (mode << 16);
export const shiftOf = (kind: number): number => kind & 0xff;
export const guestShiftOf = (kind: number): number => (kind >>> 8) & 0xff;
export const modeOf = (kind: number): number => kind >>> 16;
