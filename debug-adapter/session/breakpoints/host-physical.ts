import type { PagingNode, PagingTable, Vcpu } from '../../engine-target.ts';
import type { DataRange } from './data-target.ts';

export interface PhysicalRange {
  /** Host-physical. */
  readonly address: bigint;
  readonly lengthBytes: number;
}

const PAGE_BYTES = 4096n;

/** The host-physical pieces of a range, page by page; undefined if a part of it is not mapped. */
export function hostPhysicalRanges(range: DataRange, vcpu: Vcpu): PhysicalRange[] | undefined {
  const pieces: PhysicalRange[] = [];
  const end = range.address + BigInt(range.lengthBytes);
  for (let address = range.address; address < end; ) {
    const pageEnd = (address / PAGE_BYTES + 1n) * PAGE_BYTES;
    const pieceEnd = pageEnd < end ? pageEnd : end;
    const physical = hostPhysical({ ...range, address }, vcpu);
    if (physical === undefined) {
      return undefined;
    }
    pieces.push({ address: physical, lengthBytes: Number(pieceEnd - address) });
    address = pieceEnd;
  }
  return pieces;
}

function hostPhysical({ space, address }: DataRange, vcpu: Vcpu): bigint | undefined {
  if (space === 'host-physical') {
    return address;
  }
  if (space === 'linear') {
    const { result } = vcpu.translate(address);
    return result.kind === 'mapped' ? BigInt(result.physical) : undefined;
  }
  const { ept } = vcpu.pagingRoots();
  return ept === undefined ? address : throughEpt(ept, Number(address), vcpu);
}

/** Walks EPT down to the page that maps a guest-physical address. */
function throughEpt(root: PagingTable, guestPhysical: number, vcpu: Vcpu): bigint | undefined {
  let table: PagingTable | undefined = root;
  while (table !== undefined) {
    const node: PagingNode | undefined = vcpu
      .pagingChildren(table)
      .find(({ kind, first, last }) => kind === 'entry' && guestPhysical >= first && guestPhysical <= last);
    if (node === undefined || node.table === undefined) {
      const target = node?.entry?.target;
      return node === undefined || target === undefined
        ? undefined
        : BigInt(target + (guestPhysical - Number(node.first)));
    }
    table = node.table;
  }
  return undefined;
}
