/** What the parts of VMX work on together. */
import type { Processor } from '../cpu/processor.ts';
import type { CpuState } from '../cpu/state.ts';
import type { Mmu } from '../mmu/mmu.ts';
import type { PhysicalMemory } from '../mmu/physical-memory.ts';
import { EptOption } from '../mmu/walk.ts';
import { EXIT, PIN, PRIMARY, SECONDARY } from './controls.ts';
import type { KnownVmcss } from './known-vmcss.ts';
import type { StateCopies } from './state-copies.ts';
import { offsetOf, type Vmcs } from './vmcs.ts';

export interface VmxParts {
  readonly processor: Processor;
  readonly state: CpuState;
  readonly mmu: Mmu;
  readonly physical: PhysicalMemory;
  readonly vmcs: Vmcs;
  readonly copies: StateCopies;
  readonly known: KnownVmcss;
}

const PIN_CONTROLS = offsetOf('Pin-based VM-execution controls');
const PRIMARY_CONTROLS = offsetOf('Primary processor-based VM-execution controls');
const SECONDARY_CONTROLS = offsetOf('Secondary processor-based VM-execution controls');
const EXIT_CONTROLS = offsetOf('Primary VM-exit controls');

/** Whether all the bits of a mask from controls.ts are 1 in the current VMCS. */
export const hasPin = (vmcs: Vmcs, mask: number): boolean => (vmcs.u32(PIN_CONTROLS) & mask) !== 0;
export const hasPrimary = (vmcs: Vmcs, mask: number): boolean => (vmcs.u32(PRIMARY_CONTROLS) & mask) !== 0;
export const hasExit = (vmcs: Vmcs, mask: number): boolean => (vmcs.u32(EXIT_CONTROLS) & mask) !== 0;

/** The secondary controls in force: all 0 unless they are activated. */
export const secondaryControls = (vmcs: Vmcs): number =>
  hasPrimary(vmcs, PRIMARY['Activate secondary controls']) ? vmcs.u32(SECONDARY_CONTROLS) : 0;
export const hasSecondary = (vmcs: Vmcs, mask: number): boolean => (secondaryControls(vmcs) & mask) !== 0;

const VPID = offsetOf('Virtual-processor identifier');
const EPTP = offsetOf('EPT pointer');

/** The VPID in force under secondary controls, 0 without "enable VPID". */
export const vpidUnder = (secondary: number, vmcs: Vmcs): number =>
  secondary & SECONDARY['Enable VPID'] ? vmcs.u32(VPID) & 0xffff : 0;
/** The EPTP in force under secondary controls, undefined without "enable EPT". */
export const eptpUnder = (secondary: number, vmcs: Vmcs): number | undefined =>
  secondary & SECONDARY['Enable EPT'] ? vmcs.number(EPTP) : undefined;

/** EptOption bits that secondary controls amount to. */
export const eptOptionsUnder = (secondary: number): number =>
  (secondary & SECONDARY['Enable PML'] ? EptOption.Log : 0) |
  (secondary & SECONDARY['Mode-based execute control for EPT'] ? EptOption.ModeBased : 0) |
  (secondary & SECONDARY['Sub-page write permissions for EPT'] ? EptOption.SubPages : 0) |
  (secondary & SECONDARY['Virtualize APIC accesses'] ? EptOption.ApicAccesses : 0);

/** Nanoseconds of virtual time: what the TSC counts, without what software has added to it. */
export const virtualTimeNs = ({ tscNow, state }: Processor): number =>
  Number(BigInt.asIntN(64, tscNow() - state.tscAdjust));

export const usesVirtualNmis = (vmcs: Vmcs): boolean => hasPin(vmcs, PIN['Virtual NMIs']);
export const acknowledgesOnExit = (vmcs: Vmcs): boolean => hasExit(vmcs, EXIT['Acknowledge interrupt on exit']);
