/** Memory types of a translation (SDM volume 3, "Memory Cache Control" and "EPT and Memory Typing"). */
import type { DecodedEntry } from './paging-entry.ts';
import { flagOf } from './paging-entry.ts';

export type MemoryType = 'UC' | 'WC' | 'WT' | 'WP' | 'WB' | 'UC-';

const encodings: Readonly<Record<number, MemoryType>> = { 0: 'UC', 1: 'WC', 4: 'WT', 5: 'WP', 6: 'WB', 7: 'UC-' };

/** Effective type by MTRR (or EPT) type, then by PAT type: "Effective Page-Level Memory Type for …", in PAT order below. */
const patOrder: readonly MemoryType[] = ['UC', 'UC-', 'WC', 'WT', 'WB', 'WP'];
const effective: Readonly<Record<MemoryType, readonly MemoryType[]>> = {
  UC: ['UC', 'UC', 'WC', 'UC', 'UC', 'UC'],
  'UC-': ['UC', 'UC', 'WC', 'UC', 'UC', 'UC'],
  WC: ['UC', 'WC', 'WC', 'UC', 'WC', 'UC'],
  WT: ['UC', 'UC', 'WC', 'WT', 'WT', 'WP'],
  WB: ['UC', 'UC', 'WC', 'WT', 'WB', 'WP'],
  WP: ['UC', 'WC', 'WC', 'WT', 'WP', 'WP'],
};

export interface MemoryTypeView {
  /** From IA32_PAT, selected by the guest entry; WB without paging. */
  readonly pat: MemoryType;
  /** From the EPT entry, or, without EPT, the MTRR type: WB for RAM, UC for anything else. */
  readonly base: MemoryType;
  readonly baseFrom: 'EPT' | 'MTRR';
  readonly effective: MemoryType;
}

/** The type that PAT, PCD and PWT of the entry that maps the page select from IA32_PAT. */
function patType(pat: bigint, leaf: DecodedEntry | undefined): MemoryType {
  if (!leaf) return 'WB';
  const patBit = leaf.level === 'PTE' ? 7n : 12n;
  const index = flagOf(leaf, 'PWT') + 2 * flagOf(leaf, 'PCD') + 4 * Number((leaf.value >> patBit) & 1n);
  return encodings[Number((pat >> BigInt(8 * index)) & 7n)] ?? 'UC';
}

export function memoryType(
  pat: bigint,
  guestLeaf: DecodedEntry | undefined,
  eptLeaf: DecodedEntry | undefined,
  isRam: boolean,
): MemoryTypeView {
  const fromPat = patType(pat, guestLeaf);
  const base = eptLeaf ? (encodings[flagOf(eptLeaf, 'MT')] ?? 'UC') : isRam ? 'WB' : 'UC';
  const ignoresPat = eptLeaf !== undefined && flagOf(eptLeaf, 'IPAT') === 1;
  const combined = effective[base][patOrder.indexOf(fromPat)] ?? 'UC';
  return { pat: fromPat, base, baseFrom: eptLeaf ? 'EPT' : 'MTRR', effective: ignoresPat ? base : combined };
}
