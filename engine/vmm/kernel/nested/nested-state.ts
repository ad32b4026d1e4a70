/** The VMX operation of a guest that is a hypervisor itself, per virtual processor. */
import { CR0 } from '../../../cpu/register-bits.ts';
import { PIN, PRIMARY, SECONDARY } from '../../../vmx/controls.ts';
import type { HostMemory } from '../host-memory.ts';
import type { KernelParts } from '../virtual-cpu.ts';
import { ShadowEpt } from './shadow-ept.ts';
import { Vmcs12 } from './vmcs12.ts';

/** Guest-physical, as VMPTRST stores it if there is no current VMCS. */
export const NO_VMCS = -1;

export class NestedVmx {
  /** IA32_FEATURE_CONTROL of the guest, which its firmware has left open. */
  featureControl = 0;
  /** The guest executed VMXON. */
  isOn = false;
  vmxonPointer = NO_VMCS;
  /** Guest-physical address of the guest's current VMCS. */
  current = NO_VMCS;
  /** The guest's guest (L2) runs, or its exit is handled. */
  isL2 = false;
  /** Whether the merged VMCS has been launched. */
  hasLaunched = false;
  /** The VPID that L1 gave L2 at its last entry, 0 if none. */
  vpid12 = 0;
  /** Host-physical addresses of the merged VMCS (VMCS02), and of the MSR bitmaps that it uses. */
  readonly vmcs02: number;
  readonly msrBitmaps: number;
  readonly ept: ShadowEpt;
  readonly #parts: KernelParts;

  /** `vmcs02` is a region for a VMCS. */
  constructor(parts: KernelParts, memory: HostMemory, vmcs02: number) {
    this.#parts = parts;
    this.vmcs02 = vmcs02;
    this.msrBitmaps = memory.allocate();
    this.ept = new ShadowEpt(memory, parts.memory);
  }

  /** The guest's current VMCS. There must be one. */
  get vmcs12(): Vmcs12 {
    return new Vmcs12(this.#parts, this.current);
  }

  /** L2 runs, and external interrupts are exits to L1. */
  get takesInterrupts(): boolean {
    return this.isL2 && this.vmcs12.hasPin(PIN['External-interrupt exiting']);
  }
  /** L2 runs, and L1 wants to know when it can take interrupts. */
  get wantsInterruptWindow(): boolean {
    return this.isL2 && this.vmcs12.hasPrimary(PRIMARY['Interrupt-window exiting']);
  }
  /** Bits of CR0 that VMX operation fixes, but not for whoever runs now: L2 as an unrestricted guest. */
  get freeCr0(): number {
    const isFree = this.isL2 && this.vmcs12.hasSecondary(SECONDARY['Unrestricted guest']);
    return isFree ? (CR0.PE | CR0.PG) >>> 0 : 0;
  }

  saveState() {
    const { featureControl, isOn, vmxonPointer, current, isL2, hasLaunched, vpid12, ept } = this;
    return {
      registers: { featureControl, isOn, vmxonPointer, current, isL2, hasLaunched, vpid12 },
      ept: ept.saveState(),
    };
  }
  restoreState({ registers, ept }: ReturnType<NestedVmx['saveState']>): void {
    Object.assign(this, registers);
    this.ept.restoreState(ept);
  }
}
