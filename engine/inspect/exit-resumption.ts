/** Where the guest stands after a VM exit, and so what VMRESUME will go on with: what a handler must do about it. */
import { hex } from '../cpu/hexadecimal.ts';
import type { VmExitInfo } from '../vmx/exit.ts';
import { ENTRY_FAILURE, ExitReason, type ExitReasonName, exitReason } from '../vmx/exit-reasons.ts';
import { decodeInterruption } from '../vmx/qualification.ts';

/**
 * `instruction`: in place of an instruction, which the handler completes and skips. `again`: an instruction was begun
 * and starts over. `between`: between two instructions. `after`: an instruction that is complete caused it. `event`: an
 * exception or NMI, not delivered. `never`: the guest cannot go on. `failure`: the guest has not run.
 */
export type Standing = 'instruction' | 'again' | 'between' | 'after' | 'event' | 'never' | 'failure';

/** Of the exits that do not come in place of an instruction. */
const standings: Readonly<Partial<Record<ExitReasonName, Standing>>> = {
  'Exception or non-maskable interrupt (NMI)': 'event',
  'External interrupt': 'between',
  'Triple fault': 'never',
  'INIT signal': 'between',
  'Start-up IPI (SIPI)': 'between',
  'I/O system-management interrupt (SMI)': 'after',
  'Other SMI': 'between',
  'Interrupt window': 'between',
  'NMI window': 'between',
  'Task switch': 'instruction',
  'VM-entry failure due to invalid guest state': 'failure',
  'VM-entry failure due to MSR loading': 'failure',
  'VM-entry failure due to machine-check event': 'failure',
  'Monitor trap flag': 'between',
  'TPR below threshold': 'after',
  'Virtualized EOI': 'after',
  'APIC write': 'after',
  'EPT violation': 'again',
  'EPT misconfiguration': 'again',
  'VMX-preemption timer expired': 'between',
  'Page-modification log full': 'again',
  'SPP-related event': 'again',
  'ENQCMD PASID translation failure': 'again',
  'ENQCMDS PASID translation failure': 'again',
  'Bus lock': 'after',
  'Instruction timeout': 'again',
};

/** Where the guest stands after an exit with a basic reason; undefined for a reason that does not exist. */
export function standingAfter(reason: number): Standing | undefined {
  const row = exitReason(reason);
  if (!row) return undefined;
  return row.skips ? 'instruction' : standings[row.name as ExitReasonName];
}

const VALID = 0x8000_0000;
const DELIVER_ERROR_CODE = 0x800;
const NMI_UNBLOCKING = 0x1000;
const SOFTWARE_INTERRUPT = 4;
const [VECTOR_DB, VECTOR_PF] = [1, 14];

const typeOf = (information: number): number => (information >>> 8) & 7;

/** Bit 12 is reserved in the field that injects. */
const toInject = (information: number): string => hex((information & ~NMI_UNBLOCKING) >>> 0);

/** What to do before VMRESUME, as sentences. */
export function explainResumption(info: VmExitInfo): string[] {
  const standing = info.entryFailure ? 'failure' : standingAfter(info.reason);
  return [...positionSentences(info, standing), ...unblockingSentences(info), ...reinjectionSentences(info)];
}

function positionSentences(info: VmExitInfo, standing: Standing | undefined): string[] {
  switch (standing) {
    case 'instruction':
      return [
        `Guest RIP is still that of the instruction: add the VM-exit instruction length (${info.instructionLengthBytes}) to skip it.`,
      ];
    case 'again':
      return [
        'Guest RIP is that of the instruction: leave it, and VMRESUME starts the instruction over. Whoever completes the access instead has to decode the instruction and skip it: the VMCS does not tell its length.',
      ];
    case 'after':
      return ['The instruction is complete, and Guest RIP that of the next one: leave it.'];
    case 'between':
      return ['Guest RIP is where the guest goes on: leave it.'];
    case 'event':
      return eventSentences(info);
    case 'never':
      return ['The guest is in shutdown: VMRESUME without a new guest state leads nowhere.'];
    case 'failure':
      return [
        `No guest state was loaded or saved, and the launch state is as before: after the correction, the same instruction enters the guest. (Bit 31 of the exit reason, ${hex(ENTRY_FAILURE)}, marks the failure.)`,
      ];
    default:
      return [];
  }
}

/** The guest has not seen the exception: it may be its own. */
function eventSentences({
  interruptionInformation,
  interruptionErrorCode,
  instructionLengthBytes,
  qualification,
}: VmExitInfo): string[] {
  const vector = interruptionInformation & 0xff;
  if (typeOf(interruptionInformation) === 2)
    return ['Guest RIP is where the guest goes on: leave it. The NMI is the host’s to handle.'];
  const steps = [`write ${toInject(interruptionInformation)} to the VM-entry interruption-information field`];
  if (interruptionInformation & DELIVER_ERROR_CODE)
    steps.push(`the error code ${hex(interruptionErrorCode)} to the VM-entry exception error code`);
  if (typeOf(interruptionInformation) >= SOFTWARE_INTERRUPT)
    steps.push(`${instructionLengthBytes} to the VM-entry instruction length`);
  if (vector === VECTOR_PF) steps.push(`the faulting address ${hex(qualification)} (the exit qualification) to CR2`);
  if (vector === VECTOR_DB) steps.push('the bits of the exit qualification to DR6');
  return [
    `The guest has not seen the exception, and Guest RIP is as it found it. To let the guest handle it: ${steps.join(', ')}. If the cause is removed instead, VMRESUME goes on at Guest RIP: a fault’s instruction starts over.`,
  ];
}

/** An IRET that ended blocking by NMI starts over, or is followed by what exits: the blocking has to come back. */
function unblockingSentences({
  reason,
  qualification,
  interruptionInformation,
  idtVectoringInformation,
}: VmExitInfo): string[] {
  if (idtVectoringInformation & VALID) return [];
  const inQualification = (
    [ExitReason['EPT violation'], ExitReason['Page-modification log full'], ExitReason['SPP-related event']] as number[]
  ).includes(reason);
  const bits = inQualification ? Number(qualification & 0xffff_ffffn) : reason === 0 ? interruptionInformation : 0;
  if (!(bits & NMI_UNBLOCKING)) return [];
  return [
    'The instruction is an IRET that has ended blocking by NMI: set bit 3 (blocking by NMI) of the guest interruptibility state before it starts over.',
  ];
}

/** An event was being delivered when the exit came: it is lost unless it is injected again. */
function reinjectionSentences({ idtVectoringInformation, instructionLengthBytes }: VmExitInfo): string[] {
  if (!(idtVectoringInformation & VALID)) return [];
  const list = decodeInterruption(idtVectoringInformation)
    .map(({ name, value }) => `${name} ${value}`)
    .join('; ');
  const steps = [`write ${toInject(idtVectoringInformation)} to the VM-entry interruption-information field`];
  if (idtVectoringInformation & DELIVER_ERROR_CODE)
    steps.push('the IDT-vectoring error code to the VM-entry exception error code');
  if (typeOf(idtVectoringInformation) >= SOFTWARE_INTERRUPT)
    steps.push(`${instructionLengthBytes} to the VM-entry instruction length`);
  return [
    `The exit came while an event was being delivered (${list}): the handler must inject that event again, from the IDT-vectoring information: ${steps.join(', ')}.`,
  ];
}
