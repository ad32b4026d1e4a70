/** VM exits that TypeScript has found out about and compiled code makes, where the plan of the entry still holds. */
import type { VmExit } from '../cpu/events.ts';
import { PLANNED_VMCS_ADDRESS } from '../cpu/memory-map.ts';
import { isNmi, savedResumeFlag } from './exit.ts';
import type { VmxParts } from './vmx-parts.ts';

/** What becomes of RFLAGS.RF as it is saved. */
export const ResumeFlag = { kept: 0, set: 1, cleared: 2 } as const;

/** See `leaveGuestFunction` of exec/world-exit-emitter.ts. */
export type LeaveGuest = (
  reason: number,
  qualification: bigint,
  guestLinear: bigint,
  guestPhysical: bigint,
  instructionInformation: number,
  instructionLengthBytes: number,
  interruption: number,
  interruptionErrorCode: number,
  resumeFlag: number,
) => number;

const resumeFlags = new Map<boolean | undefined, number>([
  [undefined, ResumeFlag.kept],
  [true, ResumeFlag.set],
  [false, ResumeFlag.cleared],
]);
const wide = (value: number | bigint | undefined): bigint => (value === undefined ? 0n : BigInt(value));

/** Whether compiled code has made the exit; nothing is changed if not. */
export function leaveByPlan(
  parts: VmxParts,
  leave: LeaveGuest,
  event: VmExit,
  instructionLengthBytes: number,
): boolean {
  const { processor, state } = parts;
  const isPlanned = state.view.getUint32(PLANNED_VMCS_ADDRESS, true) !== 0;
  // An NMI goes on to block others, and events under delivery have information of their own.
  if (!isPlanned || processor.delivering || isNmi(event)) return false;
  const { reason, qualification, guestLinear, guestPhysical, instructionInformation, interruption } = event;
  const left = leave(
    reason,
    qualification,
    wide(guestLinear),
    wide(guestPhysical),
    instructionInformation ?? 0,
    instructionLengthBytes,
    interruption?.information ?? 0,
    interruption?.errorCode ?? 0,
    resumeFlags.get(savedResumeFlag(state, event, undefined)) as number,
  );
  return left !== 0;
}
