/** Values that both the capability MSRs and the checks of VM entry need. */
import { CR0 } from '../cpu/register-bits.ts';

/** IA32_VMX_MISC bits 24:16. */
export const CR3_TARGET_VALUES = 4;
/** IA32_VMX_CR0_FIXED0: bits that are 1 in VMX operation. */
export const CR0_FIXED0 = (CR0.PE | CR0.NE | CR0.PG) >>> 0;
/** The same as bit operators yield it. */
export const CR0_FIXED0_SIGNED = CR0_FIXED0 | 0;
