/** The VM entry (SDM volume 3, chapter "VM Entries"): checks, guest state, MSRs, event injection. */

import { deliverEvent } from '../cpu/interrupts.ts';
import { MONITOR_TRAP } from '../cpu/monitor-trap.ts';
import { MONITORING } from '../cpu/monitoring.ts';
import { type CpuEvent, EventType, type Intercepts } from '../cpu/processor.ts';
import { BLOCKING } from '../cpu/register-bits.ts';
import { plus } from '../isa/linear-address.ts';
import { PRIMARY } from './controls.ts';
import { checkControlsAndHost, checkGuestState } from './entry-checks/check-vm-entry.ts';
import type { CheckedVmcs } from './entry-checks/checked-vmcs.ts';
import { INTERRUPTION_ERROR_CODE } from './exit.ts';
import { ExitReason } from './exit-reasons.ts';
import { loadGuestState, wakeGuest } from './guest-state.ts';
import { loadMsrs } from './msr-areas.ts';
import { startPreemptionTimer } from './preemption-timer.ts';
import { LAUNCH_STATE_OFFSET, LaunchState, offsetOf } from './vmcs.ts';
import { hasPrimary, type VmxParts } from './vmx-parts.ts';

const LOAD_COUNT = offsetOf('VM-entry MSR-load count');
const LOAD_ADDRESS = offsetOf('VM-entry MSR-load address');
const INTERRUPTION = offsetOf('VM-entry interruption-information field');
const ERROR_CODE = offsetOf('VM-entry exception error code');
const INSTRUCTION_LENGTH = offsetOf('VM-entry instruction length');

/** How a VM entry ended. */
export type EntryResult =
  | { readonly kind: 'entered' }
  /** VMfailValid with the error number; nothing changed. */
  | { readonly kind: 'fail'; readonly error: number }
  /** A VM exit with bit 31 set in the reason is to follow. */
  | { readonly kind: 'failure'; readonly reason: number; readonly qualification: bigint };

const ENTERED: EntryResult = { kind: 'entered' };

/** Enters the guest of the current VMCS up to the injection of events, which `injectEvent` does. */
export function performEntry(parts: VmxParts, intercepts: Intercepts, checked: CheckedVmcs): EntryResult {
  const { processor, state, physical, vmcs } = parts;
  if (!checked.passes()) {
    const refused = check(parts);
    if (refused) return refused;
    checked.remember();
  }
  loadGuestState(parts);
  const failed = loadMsrs(parts, vmcs.number(LOAD_ADDRESS), vmcs.u32(LOAD_COUNT));
  if (failed) {
    const reason = ExitReason['VM-entry failure due to MSR loading'];
    return { kind: 'failure', reason, qualification: BigInt(failed) };
  }
  physical.touch(state.currentVmcs, 4096);
  physical.view.setUint32(state.currentVmcs + LAUNCH_STATE_OFFSET, LaunchState.launched, true);
  processor.intercepts = intercepts;
  processor.transferred = true;
  state.monitorTrap = hasPrimary(vmcs, PRIMARY['Monitor trap flag']) ? MONITOR_TRAP.ARMED : MONITOR_TRAP.OFF;
  state.pauseLoopStart = 0;
  state.monitorArmed = MONITORING.OFF;
  startPreemptionTimer(parts);
  return ENTERED;
}

/** All checks, in order; the result of the first that fails. */
function check(parts: VmxParts): EntryResult | undefined {
  const refused = checkControlsAndHost(parts);
  if (refused) return { kind: 'fail', error: refused.error };
  const invalid = checkGuestState(parts);
  if (!invalid) return undefined;
  const reason = ExitReason['VM-entry failure due to invalid guest state'];
  return { kind: 'failure', reason, qualification: BigInt(invalid.qualification ?? 0) };
}

/**
 * Injects the event that the VM-entry interruption-information field holds: type 7 is a VM exit by the monitor trap flag,
 * pending before the first instruction. May throw `VmExit`.
 */
export function injectEvent({ processor, state, vmcs }: VmxParts): void {
  const information = vmcs.u32(INTERRUPTION);
  const type = (information >>> 8) & 7;
  if (!isEventType(type)) {
    state.monitorTrap = MONITOR_TRAP.PENDING;
    return;
  }
  wakeGuest(state);
  // The event takes the place of pending debug exceptions.
  state.pendingDebug = 0;
  if (type === EventType.nmi) state.interruptibility |= BLOCKING.NMI;
  const hasLength = type >= EventType.softwareInterrupt;
  const instructionLengthBytes = hasLength ? vmcs.u32(INSTRUCTION_LENGTH) : undefined;
  const event: CpuEvent = {
    type,
    vector: information & 0xff,
    errorCode: information & INTERRUPTION_ERROR_CODE ? vmcs.u32(ERROR_CODE) : undefined,
    returnIp: plus(state.rip, instructionLengthBytes ?? 0),
    instructionLengthBytes,
  };
  deliverEvent(processor, event);
}

const isEventType = (type: number): type is EventType =>
  type === EventType.externalInterrupt || (type >= EventType.nmi && type <= EventType.softwareException);
