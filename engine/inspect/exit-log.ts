/** The exit log in words, for the debugger. */
import type { ExitLog, LoggedExit } from '../vmx/exit-log.ts';
import { ENTRY_FAILURE, exitReason } from '../vmx/exit-reasons.ts';
import { exitSubject } from './explain-exit.ts';
import type { ExitLogView, ExitQuery, VmExitView } from './views.ts';

const RAX = 0;
const RCX = 1;
const DEFAULT_LIMIT = 100;

/** The last exits that a query asks for, newest first, and sums over all. */
export function exitLogView(log: ExitLog, { limit = DEFAULT_LIMIT, before, reasons }: ExitQuery = {}): ExitLogView {
  const exits: VmExitView[] = [];
  let next = Math.min(before ?? log.total, log.total) - 1;
  for (; next >= log.first && exits.length < limit; next--) {
    const row = log.row(next) as LoggedExit;
    if (!reasons || reasons.includes(row.reason & 0xffff)) exits.push(exitView(row));
  }
  return {
    total: log.total,
    kept: log.total - log.first,
    hasMore: next >= log.first,
    exits,
    reasons: log.totals().map((totals) => ({ ...totals, name: nameOf(totals.reason) })),
  };
}

const nameOf = (reason: number): string => exitReason(reason)?.name ?? `exit reason ${reason}`;
const wide = (high: number, low: number): bigint => (BigInt(high) << 32n) | BigInt(low);

function exitView(row: LoggedExit): VmExitView {
  const reason = row.reason & 0xffff;
  const entryFailure = (row.reason & ENTRY_FAILURE) !== 0;
  const qualification = wide(row.qualificationHigh, row.qualificationLow);
  const guestPhysical = wide(row.guestPhysicalHigh, row.guestPhysicalLow);
  const rip = wide(row.ripHigh, row.ripLow);
  const { interruptionInformation, instructions, idleNs } = row;
  const facts = { reason, qualification, guestPhysical, interruptionInformation };
  return {
    number: row.number,
    vcpu: row.vcpu,
    reason,
    name: nameOf(reason),
    entryFailure,
    subject: entryFailure ? '' : exitSubject(facts, registersOf(row)),
    qualification,
    rip,
    // Outside of 64-bit code addresses wrap around at 4 GBytes; a base of 0 may be either.
    instructionAddress: row.codeBase === 0 ? rip : BigInt.asUintN(32, rip + BigInt(row.codeBase)),
    vmcs: BigInt(row.vmcs),
    instructions,
    timeNs: instructions + idleNs,
    ...(row.roundTripInstructions < 0
      ? {}
      : { roundTrip: { instructions: row.roundTripInstructions, waitedNs: row.roundTripIdleNs } }),
  };
}

/** The registers that tell what an exit is about, as the guest left them. */
function registersOf({ rax, raxHigh, rcx, rdx }: LoggedExit) {
  const gpr32 = (index: number): number => (index === RAX ? rax : index === RCX ? rcx : rdx);
  return { gpr32, gpr: () => wide(raxHigh, rax) };
}
