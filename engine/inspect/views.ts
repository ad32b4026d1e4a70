/** Plain data that views show: shapes shared by the inspectors and the public interface. */

import type { Processor } from '../cpu/processor.ts';
import type { VirtualizationLevel } from '../vmm/levels.ts';

/** One register: how to read it, and to write it (returning why not). */
export interface RegisterAccess {
  readonly widthBits: number;
  read(cpu: Processor): bigint;
  write?(cpu: Processor, value: bigint): string | undefined;
}

export interface RegisterView {
  /** As the manual names it: RAX, CS, CR0, IA32_EFER … */
  readonly name: string;
  readonly value: bigint;
  readonly widthBits: number;
  /** Fields of the register, decoded: flags, selector parts, hidden parts. */
  readonly parts?: readonly { readonly name: string; readonly value: string; readonly description: string }[];
  readonly description?: string;
  readonly writable: boolean;
}

export interface RegisterGroup {
  readonly name: 'General' | 'Flags' | 'Segment' | 'Control' | 'x87' | 'Vector' | 'Debug' | 'MSRs';
  readonly registers: readonly RegisterView[];
}

/** The CPU mode view. All strings are for people; numbers carry the codes. */
export interface CpuModeView {
  readonly vcpu: number;
  /** What the processor has. */
  readonly virtualization: 'VT-x' | 'AMD-V';
  /** VMX operation; of AMD-V, `root` stands for host mode with EFER.SVME and `non-root` for guest mode. */
  readonly vmxOperation: 'off' | 'root' | 'non-root';
  readonly ring: number;
  readonly operatingMode: string;
  readonly codeSize: 16 | 32 | 64;
  readonly pagingMode: string;
  readonly nestedPaging: string | undefined;
  readonly activityState: string;
  readonly interruptibility: readonly string[];
  readonly interruptsEnabled: boolean;
  /** VPID, or ASID. */
  readonly vpid: number;
  /** The current VMCS, or the VMCB of the last VMRUN. */
  readonly currentVmcs: bigint | undefined;
  /** Outermost first; none without the built-in hypervisor. */
  readonly levels: readonly VirtualizationLevel[];
}

export interface VmcsFieldView {
  readonly name: string;
  /** Encoding in a VMCS, offset in a VMCB. */
  readonly encoding: number;
  readonly group: string;
  readonly widthBits: number;
  readonly value: bigint;
  readonly description: string;
  /** Bits of a control or decoded parts. */
  readonly parts: readonly { readonly name: string; readonly value: string; readonly description: string }[];
}

/** What a hypervisor keeps of its guest: the VMCS of VT-x, or the VMCB of AMD-V. */
export interface VmcsView {
  readonly structure: 'VMCS' | 'VMCB';
  readonly address: bigint;
  /** Of a VMCS its launch state; of a VMCB whether its guest runs. */
  readonly launchState: 'clear' | 'launched' | 'guest mode' | 'host mode';
  readonly fields: readonly VmcsFieldView[];
}
