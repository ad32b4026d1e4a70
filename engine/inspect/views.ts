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

/** A VMCS that VMCLEAR or VMPTRLD has named, or a VMCB that VMRUN has. */
export interface VmcsSummary {
  readonly structure: 'VMCS' | 'VMCB';
  readonly address: bigint;
  /** Of a VMCB: whether its guest runs on some vCPU. */
  readonly launchState: VmcsView['launchState'];
  /** vCPUs whose current VMCS it is, or whose last VMRUN has named it. */
  readonly currentOn: readonly number[];
  readonly isShadow: boolean;
  /** Its first dword is the revision identifier: it has not been overwritten as a whole. True of a VMCB. */
  readonly hasRevision: boolean;
}

/** What a hypervisor keeps of its guest: the VMCS of VT-x, or the VMCB of AMD-V. */
export interface VmcsView {
  readonly structure: 'VMCS' | 'VMCB';
  readonly address: bigint;
  /** Of a VMCS its launch state; of a VMCB whether its guest runs. */
  readonly launchState: 'clear' | 'launched' | 'guest mode' | 'host mode';
  readonly fields: readonly VmcsFieldView[];
}

/** A VM exit of the run. */
export interface VmExitView {
  /** Counts the exits of all vCPUs from 0. */
  readonly number: number;
  readonly vcpu: number;
  /** Basic exit reason, or exit code as a signed number. */
  readonly reason: number;
  readonly name: string;
  /** The exit is the failure of a VM entry. */
  readonly entryFailure: boolean;
  /** What it is about: leaf, MSR, port, address …; empty where the name says it all. */
  readonly subject: string;
  /** What else the processor told: the exit qualification, or EXITINFO1 and 2 and EXITINTINFO. */
  readonly information: readonly { readonly name: string; readonly value: bigint }[];
  /** The guest's RIP, and the linear address of its instruction. */
  readonly rip: bigint;
  readonly instructionAddress: bigint;
  /** Host-physical address of the VMCS or VMCB. */
  readonly vmcs: bigint;
  /** Under the built-in hypervisor (L0): whether its guest (L1) was left, or a guest of that (L2), and who handles the exit. */
  readonly levels?: { readonly from: 'L1' | 'L2'; readonly to: 'L0' | 'L1' };
  /** Instructions retired by all vCPUs before it. */
  readonly instructions: number;
  /** Virtual time, which the TSC counts as well. */
  readonly timeNs: number;
  /**
   * Instructions of the vCPU until its next VM entry, and how long it waited for something to happen; absent before that
   * entry. Those that the built-in hypervisor carries out for the guest count, its own work does not.
   */
  readonly roundTrip?: { readonly instructions: number; readonly waitedNs: number };
}

/** All exits with one basic reason, or exit code. */
export interface ExitTotalsView {
  readonly reason: number;
  readonly name: string;
  readonly count: number;
  /** Round trips that are over, and their instructions in all. */
  readonly roundTrips: number;
  readonly roundTripInstructions: number;
}

/** Which exits are wanted. */
export interface ExitQuery {
  /** So many at most; 100 by default. */
  readonly limit?: number;
  /** Only those with a lower number. */
  readonly before?: number;
  /** Only those with one of these basic exit reasons or exit codes. */
  readonly reasons?: readonly number[];
}

export interface ExitLogView {
  /** Of VT-x or AMD-V. */
  readonly structure: 'VMCS' | 'VMCB';
  /** Exits of the run so far, and how many of them, the last ones, are kept. */
  readonly total: number;
  readonly kept: number;
  /** Newest first. */
  readonly exits: readonly VmExitView[];
  /** Whether older ones, that are kept, were not looked at. */
  readonly hasMore: boolean;
  /** Sums over all exits, by rising reason. */
  readonly reasons: readonly ExitTotalsView[];
}

/** A rule of VM entry, or of VMRUN, that is broken. */
export interface ViolatedRuleView {
  readonly id: string;
  /** Fields the rule is about, the one to correct first. */
  readonly fields: readonly {
    readonly name: string;
    readonly group: string;
    readonly widthBits: number;
    readonly value: bigint;
  }[];
  /** What the manual demands, and where: the volume, and the title of its section. */
  readonly text: string;
  readonly manual: 'SDM volume 3' | 'AMD64 APM volume 2';
  readonly section: string;
}

/** What would become of a VM entry now. */
export interface EntryCheckView {
  /** The current VMCS, if there is one; the VMCB that VMRUN is about to name, or has named last. */
  readonly vmcs?: bigint;
  /** Which the launch state of the VMCS calls for. */
  readonly instruction: 'VMLAUNCH' | 'VMRESUME' | 'VMRUN';
  /** Nothing stands in the way. */
  readonly isPossible: boolean;
  /** What would happen, in words. */
  readonly outcome: string;
  /** Of the first part (controls, host state, guest state) in which rules are broken, all that are. */
  readonly violated: readonly ViolatedRuleView[];
}
