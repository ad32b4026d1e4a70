/** The MSRs of SVM (AMD64 APM volume 2, "SVM Related MSRs"). EFER.SVME is in engine/cpu/msrs.ts. */
import { PHYSICAL_ADDRESS_BITS } from '../cpu/cpuid.ts';
import { GP } from '../cpu/events.ts';
import { checkReserved, type Msr, msrsOf } from '../cpu/msrs.ts';
import { EFER, hasBit, VM_CR } from '../cpu/register-bits.ts';

const VM_CR_DEFINED = BigInt(VM_CR.DPD | VM_CR.R_INIT | VM_CR.DIS_A20M | VM_CR.LOCK | VM_CR.SVMDIS);
const LOCKED = VM_CR.LOCK | VM_CR.SVMDIS;
const HSAVE_WRITABLE = ((1n << BigInt(PHYSICAL_ADDRESS_BITS)) - 1n) & ~0xfffn;

export const svmMsrs: readonly Msr[] = msrsOf('SVM', [
  {
    index: 0xc001_0114,
    name: 'VM_CR',
    read: ({ state }) => BigInt(state.vmCr),
    // Without SVM_KEY the lock is for good. There is no debug port, and A20 is never masked.
    write: ({ state }, value) => {
      checkReserved(value, VM_CR_DEFINED);
      const next = Number(value);
      if (next & VM_CR.SVMDIS && hasBit(state.efer, EFER.SVME)) throw GP(0);
      const kept = state.vmCr & VM_CR.LOCK ? LOCKED : 0;
      state.vmCr = (next & ~kept) | (state.vmCr & kept);
    },
  },
  {
    index: 0xc001_0117,
    name: 'VM_HSAVE_PA',
    read: ({ state }) => BigInt(state.vmHsavePa),
    write: ({ state }, value) => {
      if ((value & ~HSAVE_WRITABLE) !== 0n) throw GP(0);
      state.vmHsavePa = Number(value);
    },
  },
]);
