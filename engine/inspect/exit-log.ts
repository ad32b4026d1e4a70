/** The exit log in words, for the debugger. */
import { exitCode, exitCodeName, exitCodeTable } from '../svm/exit-codes.ts';
import type { ExitLog, LoggedExit } from '../vmx/exit-log.ts';
import { ENTRY_FAILURE, exitReason } from '../vmx/exit-reasons.ts';
import { exitSubject } from './explain-exit.ts';
import { svmExitSubject } from './explain-vmexit.ts';
import type { ExitLogView, ExitQuery, VmExitView } from './views.ts';

const RAX = 0;
const RCX = 1;
const DEFAULT_LIMIT = 100;

/** What a row of the log says that depends on whether it is of VT-x or AMD-V. */
type Told = Pick<VmExitView, 'reason' | 'name' | 'entryFailure' | 'subject' | 'information'>;

/** How the log of VT-x or AMD-V is to be read. */
interface ExitWords {
  readonly structure: ExitLogView['structure'];
  /** Basic exit reason or exit code of what the log counts by this number. */
  reasonOf(counted: number): number;
  nameOf(reason: number): string;
  tell(row: LoggedExit): Told;
}

/** The last exits that a query asks for, newest first, and sums over all. */
export function exitLogView(
  log: ExitLog,
  structure: ExitLogView['structure'],
  { limit = DEFAULT_LIMIT, before, reasons }: ExitQuery = {},
  levelsOf: LevelsOf = () => undefined,
): ExitLogView {
  const words = structure === 'VMCB' ? svmWords : vmxWords;
  const exits: VmExitView[] = [];
  let next = Math.min(before ?? log.total, log.total) - 1;
  for (; next >= log.first && exits.length < limit; next--) {
    const row = log.row(next) as LoggedExit;
    if (!reasons || reasons.includes(words.reasonOf(row.reason & 0xffff))) exits.push(exitView(row, words, levelsOf));
  }
  return {
    structure,
    total: log.total,
    kept: log.total - log.first,
    hasMore: next >= log.first,
    exits,
    reasons: log.totals().map((totals) => {
      const reason = words.reasonOf(totals.reason);
      return { ...totals, reason, name: words.nameOf(reason) };
    }),
  };
}

const wide = (high: number, low: number): bigint => (BigInt(high) << 32n) | BigInt(low);

const vmxWords: ExitWords = {
  structure: 'VMCS',
  reasonOf: (counted) => counted,
  nameOf: (reason) => exitReason(reason)?.name ?? `exit reason ${reason}`,
  tell(row) {
    const reason = row.reason & 0xffff;
    const entryFailure = (row.reason & ENTRY_FAILURE) !== 0;
    const { interruptionInformation } = row;
    const qualification = wide(row.qualificationHigh, row.qualificationLow);
    const guestPhysical = wide(row.guestPhysicalHigh, row.guestPhysicalLow);
    const facts = { reason, qualification, guestPhysical, interruptionInformation };
    return {
      reason,
      name: vmxWords.nameOf(reason),
      entryFailure,
      subject: entryFailure ? '' : exitSubject(facts, registersOf(row)),
      information: [{ name: 'Exit qualification', value: qualification }],
    };
  },
};

const svmWords: ExitWords = {
  structure: 'VMCB',
  reasonOf: (counted) => exitCodeTable[counted]?.code ?? counted,
  nameOf: exitCodeName,
  tell(row) {
    const reason = svmWords.reasonOf(row.reason);
    const info1 = wide(row.qualificationHigh, row.qualificationLow);
    const info2 = wide(row.guestPhysicalHigh, row.guestPhysicalLow);
    return {
      reason,
      name: exitCodeName(reason),
      entryFailure: exitCode(reason)?.name === 'INVALID',
      subject: svmExitSubject({ code: reason, info1, info2 }, registersOf(row)),
      information: [
        { name: 'EXITINFO1', value: info1 },
        { name: 'EXITINFO2', value: info2 },
        { name: 'EXITINTINFO, bits 31:0', value: BigInt(row.interruptionInformation) },
      ],
    };
  },
};

/** Whose exit it is where the built-in hypervisor runs guests, by number and VMCS. */
type LevelsOf = (number: number, vmcs: number) => VmExitView['levels'];

function exitView(row: LoggedExit, words: ExitWords, levelsOf: LevelsOf): VmExitView {
  const rip = wide(row.ripHigh, row.ripLow);
  const { instructions, idleNs } = row;
  const levels = levelsOf(row.number, row.vmcs);
  return {
    number: row.number,
    vcpu: row.vcpu,
    ...words.tell(row),
    rip,
    // Outside of 64-bit code addresses wrap around at 4 GBytes; a base of 0 may be either.
    instructionAddress: row.codeBase === 0 ? rip : BigInt.asUintN(32, rip + BigInt(row.codeBase)),
    vmcs: BigInt(row.vmcs),
    ...(levels && { levels }),
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
