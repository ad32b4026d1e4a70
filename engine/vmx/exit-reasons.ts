/** Basic exit reasons (SDM volume 3, appendix "VMX Basic Exit Reasons") as one table. */

export interface ExitReasonInfo {
  readonly number: number;
  /** The manual's name. */
  readonly name: string;
  /** What happened in the guest. */
  readonly doc: string;
  /** What a handler has to do. */
  readonly handler: string;
  /** Whether the exit comes in place of an instruction that the handler completes by skipping it. */
  readonly skips: boolean;
}

const row = <const N extends string>(number: number, name: N, doc: string, handler: string) => ({
  number,
  name,
  doc,
  handler,
  skips: false,
});
const instruction = <const N extends string>(number: number, name: N, doc: string, handler: string) => ({
  number,
  name,
  doc,
  handler,
  skips: true,
});

export const exitReasonTable = [
  row(
    0,
    'Exception or non-maskable interrupt (NMI)',
    'An exception whose bit in the exception bitmap is 1, or an NMI with "NMI exiting".',
    'Emulate what the exception asks for, or inject it by the VM-entry interruption-information field.',
  ),
  row(
    1,
    'External interrupt',
    'An external interrupt arrived with "external-interrupt exiting".',
    'Let the host take the interrupt, then resume the guest.',
  ),
  row(
    2,
    'Triple fault',
    'A fault came up while a double fault was delivered.',
    'The guest cannot go on: reset it or end it.',
  ),
  row(3, 'INIT signal', 'An INIT signal arrived.', 'Reset the virtual processor as INIT does.'),
  row(4, 'Start-up IPI (SIPI)', 'A SIPI arrived in wait-for-SIPI state.', 'Start the virtual processor at the vector.'),
  row(5, 'I/O system-management interrupt (SMI)', 'An SMI came right after an I/O instruction.', 'Handle the SMI.'),
  row(6, 'Other SMI', 'An SMI arrived.', 'Handle the SMI.'),
  row(
    7,
    'Interrupt window',
    'The guest can take an interrupt now (RFLAGS.IF = 1, nothing blocks) and "interrupt-window exiting" is 1.',
    'Inject the interrupt that waits and clear "interrupt-window exiting".',
  ),
  row(
    8,
    'NMI window',
    'The guest can take an NMI now and "NMI-window exiting" is 1.',
    'Inject the NMI that waits and clear "NMI-window exiting".',
  ),
  row(9, 'Task switch', 'A hardware task switch was attempted.', 'Emulate the task switch.'),
  instruction(10, 'CPUID', 'CPUID always exits.', 'Give the leaf in EAX to EDX, then skip the instruction.'),
  instruction(11, 'GETSEC', 'GETSEC always exits.', 'Emulate or refuse it.'),
  instruction(
    12,
    'HLT',
    'HLT with "HLT exiting".',
    'Let the virtual processor wait until an interrupt is pending for it; skip the instruction.',
  ),
  instruction(13, 'INVD', 'INVD always exits.', 'Skip the instruction (writing back caches instead of dropping them).'),
  instruction(
    14,
    'INVLPG',
    'INVLPG with "INVLPG exiting".',
    'Drop the translation of the address in the exit qualification (INVVPID, shadow tables); skip the instruction.',
  ),
  instruction(15, 'RDPMC', 'RDPMC with "RDPMC exiting".', 'Give the counter in EDX:EAX; skip the instruction.'),
  instruction(16, 'RDTSC', 'RDTSC with "RDTSC exiting".', 'Give the time stamp in EDX:EAX; skip the instruction.'),
  instruction(17, 'RSM', 'RSM in system-management mode.', 'Return from system-management mode.'),
  instruction(
    18,
    'VMCALL',
    'The guest calls the hypervisor.',
    'Do what the registers ask for by the hypervisor’s own convention; skip the instruction.',
  ),
  instruction(19, 'VMCLEAR', 'A VMX instruction in the guest.', 'Emulate nested VMX, or inject #UD.'),
  instruction(20, 'VMLAUNCH', 'A VMX instruction in the guest.', 'Emulate nested VMX, or inject #UD.'),
  instruction(21, 'VMPTRLD', 'A VMX instruction in the guest.', 'Emulate nested VMX, or inject #UD.'),
  instruction(22, 'VMPTRST', 'A VMX instruction in the guest.', 'Emulate nested VMX, or inject #UD.'),
  instruction(23, 'VMREAD', 'A VMX instruction in the guest.', 'Emulate nested VMX, or inject #UD.'),
  instruction(24, 'VMRESUME', 'A VMX instruction in the guest.', 'Emulate nested VMX, or inject #UD.'),
  instruction(25, 'VMWRITE', 'A VMX instruction in the guest.', 'Emulate nested VMX, or inject #UD.'),
  instruction(26, 'VMXOFF', 'A VMX instruction in the guest.', 'Emulate nested VMX, or inject #UD.'),
  instruction(27, 'VMXON', 'A VMX instruction in the guest.', 'Emulate nested VMX, or inject #UD.'),
  instruction(
    28,
    'Control-register accesses',
    'MOV to or from a control register, CLTS or LMSW that the masks, shadows or controls make exit.',
    'Carry out the access on the virtual register that the exit qualification names; skip the instruction.',
  ),
  instruction(
    29,
    'MOV DR',
    'MOV to or from a debug register with "MOV-DR exiting".',
    'Emulate it; skip the instruction.',
  ),
  instruction(
    30,
    'I/O instruction',
    'IN, OUT, INS or OUTS that "unconditional I/O exiting" or an I/O bitmap makes exit.',
    'Hand the access to the device at the port; put what IN reads into AL, AX or EAX; skip the instruction.',
  ),
  instruction(31, 'RDMSR', 'RDMSR of an MSR that exits.', 'Give the MSR in ECX to EDX:EAX, or inject #GP(0); skip it.'),
  instruction(
    32,
    'WRMSR',
    'WRMSR of an MSR that exits.',
    'Write EDX:EAX to the MSR in ECX, or inject #GP(0); skip it.',
  ),
  row(
    33,
    'VM-entry failure due to invalid guest state',
    'A check of the guest-state area failed.',
    'Correct the guest-state area; the guest did not run.',
  ),
  row(
    34,
    'VM-entry failure due to MSR loading',
    'An entry of the VM-entry MSR-load area could not be loaded; the qualification is its number, from 1.',
    'Correct the MSR-load area; the guest did not run.',
  ),
  instruction(36, 'MWAIT', 'MWAIT with "MWAIT exiting".', 'Let the virtual processor wait; skip the instruction.'),
  row(37, 'Monitor trap flag', 'One instruction was executed with the "monitor trap flag".', 'Look, then resume.'),
  instruction(39, 'MONITOR', 'MONITOR with "MONITOR exiting".', 'Emulate it; skip the instruction.'),
  instruction(40, 'PAUSE', 'PAUSE with "PAUSE exiting".', 'Let other virtual processors run; skip the instruction.'),
  row(
    41,
    'VM-entry failure due to machine-check event',
    'A machine check during VM entry.',
    'Handle the machine check.',
  ),
  row(43, 'TPR below threshold', 'The virtual task priority fell below the threshold.', 'Deliver what may go now.'),
  instruction(44, 'APIC access', 'An access to the APIC-access page.', 'Emulate the register; skip the instruction.'),
  row(45, 'Virtualized EOI', 'An end of interrupt whose bit in the EOI-exit bitmap is 1.', 'Tell the I/O APIC.'),
  instruction(
    46,
    'Access to GDTR or IDTR',
    'LGDT, LIDT, SGDT or SIDT with "descriptor-table exiting".',
    'Emulate it from the instruction information; skip the instruction.',
  ),
  instruction(
    47,
    'Access to LDTR or TR',
    'LLDT, LTR, SLDT or STR with "descriptor-table exiting".',
    'Emulate it from the instruction information; skip the instruction.',
  ),
  row(
    48,
    'EPT violation',
    'The guest-physical address is not mapped by EPT, or not with the right that the access needs.',
    'Map the page (then INVEPT if an entry was present) and resume, so that the instruction starts over; or emulate the device.',
  ),
  row(
    49,
    'EPT misconfiguration',
    'An EPT entry on the way has a reserved bit set, or rights or a memory type that make no sense.',
    'Correct the entry, or treat it as the mark of a device if you made it so.',
  ),
  instruction(50, 'INVEPT', 'A VMX instruction in the guest.', 'Emulate nested VMX, or inject #UD.'),
  instruction(51, 'RDTSCP', 'RDTSCP with "RDTSC exiting".', 'Give the time stamp and TSC_AUX; skip the instruction.'),
  row(52, 'VMX-preemption timer expired', 'The timer counted to zero.', 'Do what was due, set the timer anew.'),
  instruction(53, 'INVVPID', 'A VMX instruction in the guest.', 'Emulate nested VMX, or inject #UD.'),
  instruction(54, 'WBINVD or WBNOINVD', 'WBINVD with "WBINVD exiting".', 'Skip the instruction.'),
  instruction(55, 'XSETBV', 'XSETBV always exits.', 'Check and write the extended control register; skip it.'),
  row(56, 'APIC write', 'A write to the virtual-APIC page is complete.', 'Carry out its effects.'),
  instruction(57, 'RDRAND', 'RDRAND with "RDRAND exiting".', 'Give a random number; skip the instruction.'),
  instruction(
    58,
    'INVPCID',
    'INVPCID with "INVLPG exiting".',
    'Drop the translations that the descriptor names; skip the instruction.',
  ),
  instruction(59, 'VMFUNC', 'VMFUNC with a function that is not enabled, or that failed.', 'Emulate or refuse it.'),
  instruction(60, 'ENCLS', 'ENCLS whose bit in its bitmap is 1.', 'Emulate or refuse it.'),
  instruction(61, 'RDSEED', 'RDSEED with "RDSEED exiting".', 'Give a random number; skip the instruction.'),
  row(62, 'Page-modification log full', 'The log has no room.', 'Read the log out and set the PML index anew.'),
  instruction(63, 'XSAVES', 'XSAVES of a component whose bit in the bitmap is 1.', 'Emulate it.'),
  instruction(64, 'XRSTORS', 'XRSTORS of a component whose bit in the bitmap is 1.', 'Emulate it.'),
  instruction(65, 'PCONFIG', 'PCONFIG whose bit in its bitmap is 1.', 'Emulate or refuse it.'),
  row(66, 'SPP-related event', 'A sub-page permission entry is missing or misconfigured.', 'Correct it.'),
  instruction(67, 'UMWAIT', 'UMWAIT with "RDTSC exiting".', 'Let the virtual processor wait; skip it.'),
  instruction(68, 'TPAUSE', 'TPAUSE with "RDTSC exiting".', 'Let the virtual processor wait; skip it.'),
  instruction(69, 'LOADIWKEY', 'LOADIWKEY exits.', 'Emulate or refuse it.'),
  instruction(70, 'ENCLV', 'ENCLV whose bit in its bitmap is 1.', 'Emulate or refuse it.'),
  row(72, 'ENQCMD PASID translation failure', 'A PASID is not mapped.', 'Map it.'),
  row(73, 'ENQCMDS PASID translation failure', 'A PASID is not mapped.', 'Map it.'),
  row(74, 'Bus lock', 'A bus lock was taken.', 'Slow the guest down, or let it be.'),
  row(75, 'Instruction timeout', 'An instruction took too long.', 'Slow the guest down, or let it be.'),
] as const satisfies readonly ExitReasonInfo[];

export type ExitReasonName = (typeof exitReasonTable)[number]['name'];

/** Numbers of the basic exit reasons by the manual's names. */
export const ExitReason = Object.fromEntries(exitReasonTable.map(({ name, number }) => [name, number])) as Readonly<
  Record<ExitReasonName, number>
>;

const byNumber: readonly (ExitReasonInfo | undefined)[] = (() => {
  const all: (ExitReasonInfo | undefined)[] = new Array(exitReasonTable.length + 16).fill(undefined);
  for (const info of exitReasonTable) all[info.number] = info;
  return all;
})();

/** One more than the highest basic exit reason. */
export const EXIT_REASON_COUNT = 76;

/** The row of a basic exit reason (bits 15:0 of the exit reason). */
export const exitReason = (basicReason: number): ExitReasonInfo | undefined => byNumber[basicReason & 0xffff];

/** Bit 31 of the exit reason: the VM entry failed. */
export const ENTRY_FAILURE = 0x8000_0000;
