/** The VM exit (SDM volume 3, chapter "VM Exits"). */
import { GuestFault, Vector, type VmExit } from '../cpu/events.ts';
import { MONITOR_TRAP } from '../cpu/monitor-trap.ts';
import { endMonitoring } from '../cpu/monitoring.ts';
import { type CpuEvent, EventType } from '../cpu/processor.ts';
import { BLOCKING, CR0 } from '../cpu/register-bits.ts';
import type { CpuState } from '../cpu/state.ts';
import { ENTRY_FAILURE, ExitReason, exitReason } from './exit-reasons.ts';
import { saveGuestState } from './guest-state.ts';
import { loadHostState } from './host-state.ts';
import { loadMsrs, storeMsrs } from './msr-areas.ts';
import { stopPreemptionTimer } from './preemption-timer.ts';
import { ABORT_OFFSET, offsetOf, type Vmcs } from './vmcs.ts';
import { usesVirtualNmis, type VmxParts } from './vmx-parts.ts';

const EXIT_REASON = offsetOf('Exit reason');
const QUALIFICATION = offsetOf('Exit qualification');
const GUEST_LINEAR = offsetOf('Guest-linear address');
const GUEST_PHYSICAL = offsetOf('Guest-physical address');
const INTERRUPTION = offsetOf('VM-exit interruption information');
const INTERRUPTION_CODE = offsetOf('VM-exit interruption error code');
const VECTORING = offsetOf('IDT-vectoring information field');
const VECTORING_CODE = offsetOf('IDT-vectoring error code');
const INSTRUCTION_LENGTH = offsetOf('VM-exit instruction length');
const INSTRUCTION_INFORMATION = offsetOf('VM-exit instruction information');
const ENTRY_INTERRUPTION = offsetOf('VM-entry interruption-information field');
const STORE_COUNT = offsetOf('VM-exit MSR-store count');
const STORE_ADDRESS = offsetOf('VM-exit MSR-store address');
const LOAD_COUNT = offsetOf('VM-exit MSR-load count');
const LOAD_ADDRESS = offsetOf('VM-exit MSR-load address');

/** Bits of the interruption-information fields. */
export const INTERRUPTION_ERROR_CODE = 1 << 11;
export const INTERRUPTION_NMI_UNBLOCKING = 1 << 12;
export const INTERRUPTION_VALID = 0x8000_0000;
const TYPE_SHIFT = 8;

/** Causes of a VMX abort: values of the VMX-abort indicator (SDM volume 3, "VMX Aborts"). */
export const VmxAbort = {
  savingGuestMsrs: 1,
  hostPdptes: 2,
  loadingHostMsrs: 4,
} as const;
export type VmxAbort = (typeof VmxAbort)[keyof typeof VmxAbort];

/**
 * Leaves the guest: saves its state and why it exits, loads the host's. `state.rip` is the guest's RIP to save.
 * Returns the cause if the exit ends in a VMX abort.
 */
export function performExit(parts: VmxParts, event: VmExit, instructionLengthBytes: number): VmxAbort | undefined {
  const { processor, state, vmcs } = parts;
  const { delivering } = processor;
  // Whoever waits in MWAIT is active for the VMCS ("Clearing Address-Range Monitoring").
  endMonitoring(state);
  vmcs.touch();
  writeExitInformation(parts, event, delivering, instructionLengthBytes);
  saveGuestState(parts, savedResumeFlag(state, event, delivering));
  stopPreemptionTimer(parts);
  state.monitorTrap = MONITOR_TRAP.OFF;
  state.virtualInterrupt = 0;
  state.apicEvent = 0;
  processor.delivering = undefined;
  processor.intercepts = undefined;
  vmcs.setU32(ENTRY_INTERRUPTION, vmcs.u32(ENTRY_INTERRUPTION) & ~INTERRUPTION_VALID);
  if (storeMsrs(parts, vmcs.number(STORE_ADDRESS), vmcs.u32(STORE_COUNT))) return VmxAbort.savingGuestMsrs;
  return enterHost(parts, isNmi(event));
}

/** A VM entry failed after the point of no return: only reason and qualification are written, the host continues. */
export function performEntryFailure(parts: VmxParts, reason: number, qualification: bigint): VmxAbort | undefined {
  const { processor, vmcs } = parts;
  vmcs.touch();
  vmcs.setU32(EXIT_REASON, (reason | ENTRY_FAILURE) >>> 0);
  vmcs.setU64(QUALIFICATION, qualification);
  processor.intercepts = undefined;
  return enterHost(parts, false);
}

function enterHost(parts: VmxParts, byNmi: boolean): VmxAbort | undefined {
  const { state, vmcs } = parts;
  // With virtual NMIs the guest's blocking was not the processor's.
  const kept = state.nonRoot && usesVirtualNmis(vmcs) ? 0 : state.interruptibility & BLOCKING.NMI;
  try {
    loadHostState(parts);
  } catch (fault) {
    if (fault instanceof GuestFault) return VmxAbort.hostPdptes;
    throw fault;
  }
  state.interruptibility = byNmi ? BLOCKING.NMI : kept;
  return loadMsrs(parts, vmcs.number(LOAD_ADDRESS), vmcs.u32(LOAD_COUNT)) ? VmxAbort.loadingHostMsrs : undefined;
}

/** Writes the VMX-abort indicator. */
export function recordAbort({ state, physical }: VmxParts, abort: VmxAbort): void {
  physical.writeU32(state.currentVmcs + ABORT_OFFSET, abort);
}

const interruptionType = (information: number): number => (information >>> TYPE_SHIFT) & 7;

export const isNmi = ({ reason, interruption }: VmExit): boolean =>
  reason === 0 && interruption !== undefined && interruptionType(interruption.information) === EventType.nmi;

function writeExitInformation(
  parts: VmxParts,
  event: VmExit,
  delivering: CpuEvent | undefined,
  instructionLengthBytes: number,
): void {
  const { vmcs, state } = parts;
  vmcs.setU32(EXIT_REASON, event.reason);
  vmcs.setU64(QUALIFICATION, event.qualification);
  vmcs.setNumber(GUEST_LINEAR, event.guestLinear ?? 0);
  vmcs.setNumber(GUEST_PHYSICAL, event.guestPhysical ?? 0);
  vmcs.setU32(INSTRUCTION_INFORMATION, event.instructionInformation ?? 0);
  vmcs.setU32(INTERRUPTION, event.interruption?.information ?? 0);
  vmcs.setU32(INTERRUPTION_CODE, event.interruption?.errorCode ?? 0);
  const protectedMode = (state.cr0 & CR0.PE) !== 0;
  vmcs.setU32(VECTORING, delivering ? informationOf(delivering, protectedMode) : 0);
  vmcs.setU32(VECTORING_CODE, delivering?.errorCode ?? 0);
  vmcs.setU32(INSTRUCTION_LENGTH, delivering?.instructionLengthBytes ?? instructionLengthBytes);
}

/** An event in the format of the interruption-information fields. In real-address mode none has an error code. */
export function informationOf(event: CpuEvent, protectedMode: boolean): number {
  const code = event.errorCode !== undefined && protectedMode ? INTERRUPTION_ERROR_CODE : 0;
  return (event.vector | (event.type << TYPE_SHIFT) | code | INTERRUPTION_VALID) >>> 0;
}

/** Exits of memory accesses, after which the instruction starts over. */
const faultLike: ReadonlySet<number> = new Set([
  ExitReason['EPT violation'],
  ExitReason['EPT misconfiguration'],
  ExitReason['APIC access'],
  ExitReason['Page-modification log full'],
  ExitReason['SPP-related event'],
]);

/** RFLAGS.RF as it is saved (SDM volume 3, "Saving RIP, RSP, RFLAGS, and SSP"); undefined: as it is. */
export function savedResumeFlag(
  { repeating }: CpuState,
  event: VmExit,
  delivering: CpuEvent | undefined,
): boolean | undefined {
  if (delivering) return delivering.resume ? true : undefined;
  const { reason, interruption } = event;
  if (faultLike.has(reason)) return true;
  if (reason === 0 && interruption) {
    const { information } = interruption;
    const isFault = interruptionType(information) === EventType.hardwareException;
    const isInstead = isFault ? (information & 0xff) !== Vector.DB : repeating !== 0;
    return isInstead ? true : undefined;
  }
  if (reason === ExitReason['External interrupt'] && repeating !== 0) return true;
  return exitReason(reason)?.skips ? false : undefined;
}

/** The details of the last VM exit that a watcher is told, read from the current VMCS. */
export interface VmExitInfo {
  /** Basic exit reason. */
  readonly reason: number;
  readonly name: string;
  /** Whether the exit is the failure of a VM entry. */
  readonly entryFailure: boolean;
  readonly qualification: bigint;
  /** The guest's RIP; unsigned. */
  readonly rip: bigint;
  readonly guestLinear: bigint;
  readonly guestPhysical: bigint;
  readonly interruptionInformation: number;
  readonly interruptionErrorCode: number;
  readonly idtVectoringInformation: number;
  readonly instructionLengthBytes: number;
  readonly instructionInformation: number;
  /** Host-physical address of the VMCS. */
  readonly vmcs: number;
}

const GUEST_RIP = offsetOf('Guest RIP');

export function exitInfo(vmcs: Vmcs): VmExitInfo {
  const full = vmcs.u32(EXIT_REASON);
  const reason = full & 0xffff;
  return {
    reason,
    name: exitReason(reason)?.name ?? `exit reason ${reason}`,
    entryFailure: (full & ENTRY_FAILURE) !== 0,
    qualification: vmcs.u64(QUALIFICATION),
    rip: vmcs.u64(GUEST_RIP),
    guestLinear: vmcs.u64(GUEST_LINEAR),
    guestPhysical: vmcs.u64(GUEST_PHYSICAL),
    interruptionInformation: vmcs.u32(INTERRUPTION),
    interruptionErrorCode: vmcs.u32(INTERRUPTION_CODE),
    idtVectoringInformation: vmcs.u32(VECTORING),
    instructionLengthBytes: vmcs.u32(INSTRUCTION_LENGTH),
    instructionInformation: vmcs.u32(INSTRUCTION_INFORMATION),
    vmcs: vmcs.address,
  };
}
