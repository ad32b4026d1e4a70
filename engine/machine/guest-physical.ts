/** Guest-physical addresses of the loaded vCPU, as the debugger asks for them. */
import { Access, Privilege } from '../mmu/access.ts';
import { PagingMode } from '../mmu/paging-structures.ts';
import { Outcome, Walk } from '../mmu/walk.ts';
import type { Host } from './host.ts';
import type { Virtualizer } from './virtualizer.ts';

/**
 * Host-physical address of a guest-physical one, or undefined where nothing is mapped. While EPT is in use it decides;
 * in root operation of the built-in hypervisor its memory slot does; otherwise both are the same.
 */
export function guestPhysicalToHost(host: Host, virtualizer: Virtualizer, guestPhysical: number): number | undefined {
  const { mmu } = host;
  const { ept } = mmu.context;
  if (!ept) return virtualizer.slotAddress(guestPhysical);
  const walk = new Walk(false);
  mmu.walkPeek(guestPhysical, Access.Read, Privilege.Current, walk, mmu.spaceOf(PagingMode.None, 0, ept));
  return walk.outcome === Outcome.Mapped ? walk.physical : virtualizer.slotAddress(guestPhysical);
}
