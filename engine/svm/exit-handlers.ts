/** Where the guest stands after a #VMEXIT, and what the handler of each exit code has to do (AMD64 APM volume 2). */
import { type ExitCodeName, exitCode, FirstCode, isExceptionExit } from './exit-codes.ts';

/**
 * `instruction`: in place of an instruction, which the handler completes and skips. `again`: an instruction was begun and
 * starts over. `between`: between two instructions. `event`: an exception, not delivered. `never`: the guest cannot go
 * on. `failure`: the guest has not run.
 */
export type SvmStanding = 'instruction' | 'again' | 'between' | 'event' | 'never' | 'failure';

const standings: Readonly<Partial<Record<ExitCodeName, SvmStanding>>> = {
  INTR: 'between',
  NMI: 'between',
  SMI: 'between',
  INIT: 'between',
  VINTR: 'between',
  TASK_SWITCH: 'instruction',
  FERR_FREEZE: 'again',
  SHUTDOWN: 'never',
  NPF: 'again',
  INVALID: 'failure',
};

/** Where the guest stands after an exit; undefined for a code that there is not. */
export function svmStandingAfter(code: number): SvmStanding | undefined {
  const row = exitCode(code);
  if (!row) return undefined;
  if (isExceptionExit(code)) return 'event';
  return row.isInstruction ? 'instruction' : standings[row.name as ExitCodeName];
}

const STORE = 'Write to the operand what the guest is to see.';
const LOAD = 'Check the operand and keep it as the guest’s, in the VMCB where it has it.';
const SVM = 'Inject #UD, unless the hypervisor offers SVM to its guest.';

/** Of the codes that have names of their own. */
const handlers: Readonly<Record<ExitCodeName, string>> = {
  INTR: 'Let the host take the interrupt, by STGI with RFLAGS.IF = 1, then run the guest again.',
  NMI: 'Let the host take the NMI, by STGI, then run the guest again.',
  SMI: 'Let the host take the SMI, by STGI.',
  INIT: 'Let the host take the INIT, which is held until STGI, or redirect it by VM_CR.',
  VINTR: 'Inject the interrupt that waits by EVENTINJ, clear V_IRQ and the intercept.',
  CR0_SEL_WRITE: 'Check the value and put it into CR0 of the VMCB, with what follows for paging.',
  IDTR_READ: STORE,
  GDTR_READ: STORE,
  LDTR_READ: STORE,
  TR_READ: STORE,
  IDTR_WRITE: LOAD,
  GDTR_WRITE: LOAD,
  LDTR_WRITE: LOAD,
  TR_WRITE: LOAD,
  RDTSC: 'Put the time into EDX (of the guest’s registers) and EAX (of the VMCB).',
  RDPMC: 'Put the counter into EDX and EAX, or inject #GP.',
  PUSHF: 'Push RFLAGS as the guest is to see them.',
  POPF: 'Pop RFLAGS into the VMCB, as the guest’s privilege allows.',
  CPUID: 'Put into EAX (of the VMCB), EBX, ECX and EDX what the guest is to believe of its processor.',
  RSM: 'Emulate the return from system-management mode, or inject #UD.',
  IRET: 'The guest is about to end an NMI handler: clear the intercept, inject the NMI that waits behind the IRET.',
  SWINT: 'Inject the interrupt by EVENTINJ (type 4, the vector in EXITINFO1), or emulate it.',
  INVD: 'Do nothing, or write back caches: never lose the host’s data.',
  PAUSE: 'The guest spins: let another virtual processor run.',
  HLT: 'Let the virtual processor wait until it has an interrupt.',
  INVLPG: 'Drop what shadow page tables have of the address, and the translation, by INVLPGA with the guest’s ASID.',
  INVLPGA: SVM,
  IOIO: 'Emulate the device: EXITINFO1 has port, size and direction. EXITINFO2 is the next RIP.',
  MSR: 'Emulate RDMSR (into EDX and EAX of the VMCB) or WRMSR, or inject #GP.',
  TASK_SWITCH: 'Emulate the task switch; EXITINFO1 has the selector, EXITINFO2 what it came by.',
  FERR_FREEZE: 'Deliver the FPU error as the guest’s interrupt controller would, IRQ 13.',
  SHUTDOWN: 'The guest cannot go on: reset it or end it. What the VMCB holds of its state is undefined.',
  VMRUN: SVM,
  VMMCALL: 'Carry out what the guest asks for, by the convention agreed on, in RAX (of the VMCB).',
  VMLOAD: SVM,
  VMSAVE: SVM,
  STGI: SVM,
  CLGI: SVM,
  SKINIT: SVM,
  RDTSCP: 'Put the time into EDX and EAX (of the VMCB), TSC_AUX into ECX.',
  ICEBP: 'Inject #DB by EVENTINJ, or handle it as a breakpoint of the host’s.',
  WBINVD: 'Write back caches if the guest has a device that needs it; else do nothing.',
  MONITOR: 'Inject #UD if the guest is told of no MONITOR, else do nothing.',
  MWAIT: 'Let another virtual processor run, or do nothing.',
  MWAIT_CONDITIONAL: 'Let another virtual processor run until the monitored line is written, or do nothing.',
  XSETBV: 'Check the value and write XCR0 for the guest.',
  RDPRU: 'Put the register into EDX and EAX, or inject #UD.',
  EFER_WRITE_TRAP: 'EFER is written already: follow it.',
  INVLPGB: 'Drop the translations on all virtual processors, or inject #UD.',
  INVLPGB_ILLEGAL: 'Inject #GP.',
  INVPCID: 'Drop what shadow page tables and the TLB have of the address or the PCID.',
  MCOMMIT: 'Do nothing, or inject #UD.',
  TLBSYNC: 'Wait until the other virtual processors have dropped their translations.',
  NPF: 'Map the guest-physical address in the nested tables, or emulate the device that lies there.',
  INVALID: 'Correct the fields of the broken rules, then VMRUN again.',
};

/** What a handler has to do, in a sentence. */
export function svmHandlerOf(code: number): string | undefined {
  const row = exitCode(code);
  if (!row) return undefined;
  if (isExceptionExit(code)) return 'Remove the cause, emulate what the exception asks for, or inject it by EVENTINJ.';
  if (code < FirstCode.drRead) {
    return code < FirstCode.crWrite
      ? 'Put what the guest is to see into the register that EXITINFO1 names.'
      : 'Check the value and put it into the VMCB (CR8: into V_TPR or the virtual interrupt controller).';
  }
  if (code < FirstCode.exception)
    return 'Give the guest its debug registers and clear the intercepts, or emulate the MOV.';
  return handlers[row.name as ExitCodeName] ?? 'Follow what was written.';
}
