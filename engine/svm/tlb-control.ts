/** What VMRUN does to the TLB by TLB_CONTROL (AMD64 APM volume 2, "TLB Control"). */
import { unimplemented } from '../cpu/processor.ts';
import type { SvmParts } from './svm-parts.ts';
import { vmcbOffset } from './vmcb-fields.ts';

export const TlbControl = { Nothing: 0, FlushAll: 1, FlushGuest: 3, FlushGuestNonGlobal: 7 } as const;

const TLB_CONTROL = vmcbOffset('TLB_CONTROL');
const ASID = vmcbOffset('Guest ASID');

export function controlTlb({ mmu, vmcb }: SvmParts): void {
  const vpid = vmcb.u32(ASID);
  const { linear, guestPhysical } = mmu.tlb;
  switch (vmcb.u8(TLB_CONTROL)) {
    case TlbControl.Nothing:
      return;
    case TlbControl.FlushAll:
      linear.dropAll({});
      guestPhysical.dropAll({});
      return;
    case TlbControl.FlushGuest:
      linear.dropAll({ vpid });
      guestPhysical.dropAll({ vpid });
      return;
    case TlbControl.FlushGuestNonGlobal:
      linear.dropAll({ vpid, keepGlobal: true });
      guestPhysical.dropAll({ vpid });
      return;
    default:
      unimplemented(`TLB_CONTROL ${vmcb.u8(TLB_CONTROL)} of SVM`);
  }
}
