/** What the parts of SVM work on together, and the controls of the VMCB in force. */
import type { Processor } from '../cpu/processor.ts';
import { BLOCKING } from '../cpu/register-bits.ts';
import type { CpuState } from '../cpu/state.ts';
import type { Mmu } from '../mmu/mmu.ts';
import type { PhysicalMemory } from '../mmu/physical-memory.ts';
import type { KnownVmcss } from '../vmx/known-vmcss.ts';
import { exitCode } from './exit-codes.ts';
import type { Vmcb } from './vmcb.ts';
import { vmcbOffset } from './vmcb-fields.ts';

export interface SvmParts {
  readonly processor: Processor;
  readonly state: CpuState;
  readonly mmu: Mmu;
  readonly physical: PhysicalMemory;
  /** The VMCB of the last VMRUN. */
  readonly vmcb: Vmcb;
  /** The host's state, in the format of a VMCB, at VM_HSAVE_PA. */
  readonly hostSave: Vmcb;
  /** The VMCBs that VMRUN has named. */
  readonly known: KnownVmcss;
}

/** Whether the VMCB asks for an exit. All decisions are made from the VMCB as it is, as the manual forbids changing it meanwhile. */
export function isIntercepted(vmcb: Vmcb, code: number): boolean {
  const place = exitCode(code)?.intercept;
  return place !== undefined && ((vmcb.u32(vmcbOffset(place.field)) >>> place.bit) & 1) === 1;
}

/** Bits of the virtual interrupt control, in its two halves. */
export const INTERRUPT_CONTROL = {
  V_TPR: 0xff,
  V_IRQ: 1 << 8,
  V_INTR_PRIO: 0xf << 16,
  V_IGN_TPR: 1 << 20,
  V_INTR_MASKING: 1 << 24,
} as const;
export const V_INTR_PRIO_SHIFT = 16;

export const INTERRUPT_CONTROL_AT = vmcbOffset('Virtual interrupt control');
/** V_INTR_VECTOR is the low byte of the upper half. */
export const V_INTR_VECTOR_AT = INTERRUPT_CONTROL_AT + 4;

const NP_ENABLE = vmcbOffset('NP_ENABLE');
export const usesNestedPaging = (vmcb: Vmcb): boolean => (vmcb.u32(NP_ENABLE) & 1) !== 0;

/** Guest interrupts are masked by the guest's RFLAGS.IF and V_TPR, physical ones by the host's RFLAGS.IF. */
export const masksInterrupts = (vmcb: Vmcb): boolean =>
  (vmcb.u32(INTERRUPT_CONTROL_AT) & INTERRUPT_CONTROL.V_INTR_MASKING) !== 0;

/** Interrupts wait for one more instruction. */
export const SHADOWS = BLOCKING.STI | BLOCKING.MOV_SS;
export const inShadow = ({ interruptibility }: CpuState): boolean => (interruptibility & SHADOWS) !== 0;
