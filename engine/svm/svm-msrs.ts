/** The MSRs of SVM (AMD64 APM volume 2, "SVM Related MSRs"). EFER.SVME is in engine/cpu/msrs.ts. */
import { PHYSICAL_ADDRESS_BITS } from '../cpu/cpuid.ts';
import { GP } from '../cpu/events.ts';
import { checkReserved, type Msr, msrsOf } from '../cpu/msrs.ts';
import { unimplemented } from '../cpu/processor.ts';

const VM_CR = { DPD: 1n, R_INIT: 2n, DIS_A20M: 4n, LOCK: 8n, SVMDIS: 16n } as const;
const VM_CR_DEFINED = VM_CR.DPD | VM_CR.R_INIT | VM_CR.DIS_A20M | VM_CR.LOCK | VM_CR.SVMDIS;
const HSAVE_WRITABLE = ((1n << BigInt(PHYSICAL_ADDRESS_BITS)) - 1n) & ~0xfffn;

export const svmMsrs: readonly Msr[] = msrsOf('SVM', [
  {
    index: 0xc001_0114,
    name: 'VM_CR',
    read: ({ state }) => BigInt(state.vmCr),
    write: (_processor, value) => {
      checkReserved(value, VM_CR_DEFINED);
      // Firmware has left it unlocked, and SVM enabled; nothing here asks for more.
      if (value !== 0n) unimplemented(`VM_CR = 0x${value.toString(16)}`);
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
