/**
 * Which instructions are privileged and which are sensitive, and what each does in ring 0, in ring 3 and in VMX non-root
 * operation.
 *
 * Privileged: outside ring 0 the instruction raises an exception. Sensitive: it shows or changes the state of the
 * machine, or does something else in another mode (Popek and Goldberg, "Formal Requirements for Virtualizable Third
 * Generation Architectures", 1974). Those that are sensitive and not privileged are the list of Robin and Irvine
 * ("Analysis of the Intel Pentium's Ability to Support a Secure Virtual Machine Monitor", 2000), and what came later.
 *
 * Sources: Intel SDM volume 2, "Protected Mode Exceptions" of each instruction; volume 3, "Privileged Instructions",
 * "Instructions That Cause VM Exits Unconditionally", "Instructions That Cause VM Exits Conditionally", "Changes to
 * Instruction Behavior in VMX Non-Root Operation".
 */
/**
 * What decides whether the instruction executes outside ring 0: `ring-0`: never; `iopl`: CPL and IOPL, for ports also
 * the I/O permission bitmap; `cr4`: a bit of CR4; `none`: it executes.
 */
export type Privilege = 'ring-0' | 'iopl' | 'cr4' | 'none';

export interface InstructionFacts {
  /** Key of the table: iced-x86's mnemonic, and for some a form: `Mov to cr3`, `Mov from dr`, `Pop sreg`, `Jmp far`. */
  readonly key: string;
  readonly privilege: Privilege;
  readonly sensitive: boolean;
  /** What it does with which state. */
  readonly does: string;
  readonly ring0: string;
  readonly ring3: string;
  readonly nonRoot: string;
  /** Whether it causes VM exits in VMX non-root operation, and the VM-execution controls that decide. */
  readonly vmExit: 'never' | 'conditional' | 'unconditional';
  readonly controls: readonly string[];
}

/** Behaviour by ring, for those of a kind. */
type Rings = Pick<InstructionFacts, 'privilege' | 'ring0' | 'ring3'>;
/** Behaviour in VMX non-root operation. */
type NonRoot = Pick<InstructionFacts, 'nonRoot' | 'vmExit' | 'controls'>;

const executes = 'It executes.';

const ring0Only: Rings = { privilege: 'ring-0', ring0: executes, ring3: 'It raises #GP(0).' };
const ring0OrUndefined: Rings = { privilege: 'ring-0', ring0: executes, ring3: 'It raises #UD.' };
const anyRing: Rings = { privilege: 'none', ring0: executes, ring3: 'It executes, as in ring 0.' };
const ioPrivilege: Rings = {
  privilege: 'iopl',
  ring0: executes,
  ring3: 'It executes if IOPL = 3 or the I/O permission bitmap of the TSS opens the port; else it raises #GP(0).',
};
const interruptFlag: Rings = {
  privilege: 'iopl',
  ring0: executes,
  ring3: 'It executes if IOPL = 3, changes VIF if CR4.PVI = 1, and else raises #GP(0).',
};
const unlessUmip: Rings = {
  privilege: 'none',
  ring0: executes,
  ring3: 'It executes and shows the machine’s own value; with CR4.UMIP = 1 it raises #GP(0).',
};
const rings = (ring0: string, ring3: string, privilege: Privilege = 'none'): Rings => ({ privilege, ring0, ring3 });

const noExit: NonRoot = { nonRoot: 'No VM exit: it works on the guest’s own state.', vmExit: 'never', controls: [] };
const always: NonRoot = { nonRoot: 'It always causes a VM exit.', vmExit: 'unconditional', controls: [] };
const alwaysAtAnyRing: NonRoot = {
  nonRoot: 'It always causes a VM exit, in any ring of the guest.',
  vmExit: 'unconditional',
  controls: [],
};
const exitIf = (...controls: string[]): NonRoot => ({
  nonRoot: `It causes a VM exit if “${controls.join('” or “')}” is 1.`,
  vmExit: 'conditional',
  controls,
});
const conditional = (nonRoot: string, ...controls: string[]): NonRoot => ({
  nonRoot,
  vmExit: 'conditional',
  controls,
});

const vmxInstruction = (does: string) => ({
  ...rings(
    'In VMX root operation it executes; outside VMX operation it raises #UD.',
    'In VMX root operation it raises #GP(0); outside VMX operation, #UD.',
    'ring-0',
  ),
  ...alwaysAtAnyRing,
  does,
});

const svmInstruction = (does: string) => ({
  ...rings(
    'On a processor with AMD-V it executes if EFER.SVME = 1; else it raises #UD.',
    'It raises #GP(0) if EFER.SVME = 1; else #UD.',
    'ring-0',
  ),
  ...noExit,
  nonRoot: 'On an Intel processor it raises #UD. In guest mode of AMD-V it exits if the VMCB intercepts it.',
  sensitive: true,
  does,
});

/** Task switches are not possible in VMX non-root operation (SDM volume 3, "Task Switches"). */
const taskSwitch: NonRoot = {
  nonRoot: 'No VM exit, unless it would switch tasks: that always causes one.',
  vmExit: 'conditional',
  controls: [],
};

const descriptorTable = exitIf('Descriptor-table exiting');
const ports = conditional(
  'It causes a VM exit if “Use I/O bitmaps” is 1 and the port’s bit is set, or if that is 0 and “Unconditional I/O exiting” is 1.',
  'Use I/O bitmaps',
  'Unconditional I/O exiting',
);
const msrs = conditional(
  'It causes a VM exit unless “Use MSR bitmaps” is 1 and the MSR’s bit is clear.',
  'Use MSR bitmaps',
);
const vmcsShadow = conditional(
  'It causes a VM exit unless “VMCS shadowing” is 1 and the bitmap lets the field through; then it accesses the shadow VMCS.',
  'VMCS shadowing',
);
const invalidEvent = conditional(
  'A VM exit can come from the exception it raises (exception bitmap), not from the instruction itself.',
  'Exception bitmap',
);
const maskedRegister = (register: string): NonRoot =>
  conditional(
    `It causes a VM exit if it would change a bit that the ${register} guest/host mask gives to the host to another value than the ${register} read shadow’s.`,
    `${register} guest/host mask`,
    `${register} read shadow`,
  );
const shadowedRegister = (register: string): NonRoot => ({
  nonRoot: `No VM exit: bits that the ${register} guest/host mask gives to the host are read from the ${register} read shadow.`,
  vmExit: 'never',
  controls: [`${register} guest/host mask`, `${register} read shadow`],
});

const selectorCheck = (does: string): Omit<InstructionFacts, 'key'> => ({
  ...rings(executes, 'It executes, and its answer depends on CPL: the same code sees another result than in ring 0.'),
  ...noExit,
  sensitive: true,
  does,
});
const segmentLoad = (does: string): Omit<InstructionFacts, 'key'> => ({
  ...rings(
    executes,
    'It executes if the descriptor’s privileges allow CPL 3, else it raises #GP(selector): selectors of a kernel do not load here.',
  ),
  ...noExit,
  sensitive: true,
  does,
});

export type InstructionRow = Omit<InstructionFacts, 'key'> & { readonly keys: string };

/** One row an instruction (forms that differ in operand size alone share one). Keys are separated by commas. */
export const instructionRows: readonly InstructionRow[] = [
  // Control and debug registers
  {
    keys: 'Mov to cr0',
    ...ring0Only,
    ...maskedRegister('CR0'),
    sensitive: true,
    does: 'Writes CR0: protection, paging, caching and the FPU’s traps.',
  },
  {
    keys: 'Mov from cr0',
    ...ring0Only,
    ...shadowedRegister('CR0'),
    sensitive: true,
    does: 'Reads CR0.',
  },
  {
    keys: 'Mov to cr2',
    ...ring0Only,
    ...noExit,
    sensitive: true,
    does: 'Writes CR2, the address of the last page fault.',
  },
  {
    keys: 'Mov from cr2',
    ...ring0Only,
    ...noExit,
    sensitive: true,
    does: 'Reads CR2, the address of the last page fault.',
  },
  {
    keys: 'Mov to cr3',
    ...ring0Only,
    ...conditional(
      'It causes a VM exit if “CR3-load exiting” is 1 and the value is not one of the CR3-target values.',
      'CR3-load exiting',
      'CR3-target values',
    ),
    sensitive: true,
    does: 'Writes CR3: another address space; translations that are not global leave the TLB.',
  },
  {
    keys: 'Mov from cr3',
    ...ring0Only,
    ...exitIf('CR3-store exiting'),
    sensitive: true,
    does: 'Reads CR3, the physical address of the top paging structure.',
  },
  {
    keys: 'Mov to cr4',
    ...ring0Only,
    ...maskedRegister('CR4'),
    sensitive: true,
    does: 'Writes CR4: paging features, VMX, and who may use RDTSC, RDPMC and SGDT.',
  },
  {
    keys: 'Mov from cr4',
    ...ring0Only,
    ...shadowedRegister('CR4'),
    sensitive: true,
    does: 'Reads CR4.',
  },
  {
    keys: 'Mov to cr8',
    ...ring0Only,
    ...conditional(
      'It causes a VM exit if “CR8-load exiting” is 1; with “Use TPR shadow” it writes the virtual-APIC page.',
      'CR8-load exiting',
      'Use TPR shadow',
    ),
    sensitive: true,
    does: 'Writes CR8, the task priority of the local APIC.',
  },
  {
    keys: 'Mov from cr8',
    ...ring0Only,
    ...conditional(
      'It causes a VM exit if “CR8-store exiting” is 1; with “Use TPR shadow” it reads the virtual-APIC page.',
      'CR8-store exiting',
      'Use TPR shadow',
    ),
    sensitive: true,
    does: 'Reads CR8, the task priority of the local APIC.',
  },
  {
    keys: 'Mov to dr',
    ...ring0Only,
    ...exitIf('MOV-DR exiting'),
    sensitive: true,
    does: 'Writes a debug register. With DR7.GD = 1 it raises #DB instead.',
  },
  {
    keys: 'Mov from dr',
    ...ring0Only,
    ...exitIf('MOV-DR exiting'),
    sensitive: true,
    does: 'Reads a debug register. With DR7.GD = 1 it raises #DB instead.',
  },
  {
    keys: 'Clts',
    ...ring0Only,
    ...maskedRegister('CR0'),
    sensitive: true,
    does: 'Clears CR0.TS.',
  },
  {
    keys: 'Lmsw',
    ...ring0Only,
    ...maskedRegister('CR0'),
    sensitive: true,
    does: 'Writes bits 3:0 of CR0 (it cannot clear CR0.PE).',
  },
  {
    keys: 'Smsw',
    ...unlessUmip,
    ...shadowedRegister('CR0'),
    sensitive: true,
    does: 'Reads the low bits of CR0.',
  },
  // Descriptor tables
  {
    keys: 'Lgdt',
    ...ring0Only,
    ...descriptorTable,
    sensitive: true,
    does: 'Writes GDTR, the place of the global descriptor table.',
  },
  {
    keys: 'Lidt',
    ...ring0Only,
    ...descriptorTable,
    sensitive: true,
    does: 'Writes IDTR, the place of the interrupt descriptor table.',
  },
  {
    keys: 'Lldt',
    ...ring0Only,
    ...descriptorTable,
    sensitive: true,
    does: 'Writes LDTR from a descriptor of the GDT.',
  },
  {
    keys: 'Ltr',
    ...ring0Only,
    ...descriptorTable,
    sensitive: true,
    does: 'Writes the task register from a descriptor of the GDT and marks that one busy.',
  },
  {
    keys: 'Sgdt',
    ...unlessUmip,
    ...descriptorTable,
    sensitive: true,
    does: 'Stores GDTR, the place of the global descriptor table.',
  },
  {
    keys: 'Sidt',
    ...unlessUmip,
    ...descriptorTable,
    sensitive: true,
    does: 'Stores IDTR, the place of the interrupt descriptor table.',
  },
  {
    keys: 'Sldt',
    ...unlessUmip,
    ...descriptorTable,
    sensitive: true,
    does: 'Stores the selector of LDTR.',
  },
  {
    keys: 'Str',
    ...unlessUmip,
    ...descriptorTable,
    sensitive: true,
    does: 'Stores the selector of the task register.',
  },
  { keys: 'Lar', ...selectorCheck('Loads the access rights of a descriptor, if CPL and RPL may see it.') },
  { keys: 'Lsl', ...selectorCheck('Loads the limit of a descriptor’s segment, if CPL and RPL may see it.') },
  { keys: 'Verr', ...selectorCheck('Sets ZF if a segment is readable from CPL and RPL.') },
  { keys: 'Verw', ...selectorCheck('Sets ZF if a segment is writable from CPL and RPL.') },
  // Segment registers and far transfers
  {
    keys: 'Mov from sreg,Push sreg',
    ...rings(executes, 'It executes. From CS and SS it shows CPL: a kernel outside ring 0 notices that it is.'),
    ...noExit,
    sensitive: true,
    does: 'Stores the selector of a segment register, with its RPL.',
  },
  { keys: 'Mov to sreg,Pop sreg', ...segmentLoad('Loads a segment register from the descriptor tables.') },
  { keys: 'Lds,Les,Lfs,Lgs,Lss', ...segmentLoad('Loads a far pointer: a segment register and a general one.') },
  {
    keys: 'Call far',
    ...rings(
      'It executes.',
      'It executes; through a call gate it may enter an inner ring, and to kernel code it raises #GP(selector).',
    ),
    ...taskSwitch,
    sensitive: true,
    does: 'Calls through a segment, a call gate or a task. What happens depends on CPL and the descriptor’s DPL.',
  },
  {
    keys: 'Jmp far',
    ...rings('It executes.', 'It executes to code of ring 3 or conforming code, and else raises #GP(selector).'),
    ...taskSwitch,
    sensitive: true,
    does: 'Jumps to a segment, through a call gate or to a task. What happens depends on CPL and the descriptor’s DPL.',
  },
  {
    keys: 'Retf',
    ...rings(
      'It returns to the same or an outer ring.',
      'It returns to ring 3; to an inner ring it raises #GP(selector).',
    ),
    ...noExit,
    sensitive: true,
    does: 'Returns far: loads CS, and on a change of ring SS, by their privileges.',
  },
  {
    keys: 'Iret,Iretd,Iretq',
    ...rings(
      'It returns to any ring and restores all of RFLAGS, IF and IOPL included.',
      'It returns to ring 3 and silently leaves IOPL, and unless CPL ≤ IOPL also IF, as they were.',
    ),
    ...conditional(
      'No VM exit, unless it would switch tasks; with “NMI exiting” and “Virtual NMIs” it ends the blocking of virtual NMIs.',
      'NMI exiting',
      'Virtual NMIs',
    ),
    sensitive: true,
    does: 'Returns from an interrupt: loads CS, RIP and RFLAGS, and on a change of ring SS and RSP.',
  },
  {
    keys: 'Int',
    ...rings(executes, 'It executes if the gate’s DPL is 3, else it raises #GP(vector × 8 + 2).'),
    ...taskSwitch,
    nonRoot: 'No VM exit: it goes through the guest’s IDT, unless the gate is a task gate.',
    sensitive: true,
    does: 'Calls an interrupt handler through the IDT; CPL is checked against the gate’s DPL.',
  },
  {
    keys: 'Int3,Into',
    ...rings(executes, 'It executes if the gate’s DPL is 3, else it raises #GP(vector × 8 + 2).'),
    ...conditional('It causes a VM exit if the exception bitmap has the bit of its vector.', 'Exception bitmap'),
    sensitive: false,
    does: 'Raises #BP (INT3), or #OF if OF = 1 (INTO), through the IDT.',
  },
  {
    keys: 'Int1',
    ...anyRing,
    ...conditional('It causes a VM exit if the exception bitmap has bit 1.', 'Exception bitmap'),
    sensitive: false,
    does: 'Raises #DB through the IDT, without a check of the gate’s DPL.',
  },
  // Flags
  {
    keys: 'Pushf,Pushfd,Pushfq',
    ...rings(executes, 'It executes and shows the real IF and IOPL.'),
    ...noExit,
    sensitive: true,
    does: 'Pushes RFLAGS, IF and IOPL included.',
  },
  {
    keys: 'Popf,Popfd,Popfq',
    ...rings(
      'It executes and changes IF and IOPL too.',
      'It executes, but silently leaves IOPL, and unless CPL ≤ IOPL also IF, as they were: no exception tells of it.',
    ),
    ...noExit,
    sensitive: true,
    does: 'Pops RFLAGS.',
  },
  { keys: 'Cli', ...interruptFlag, ...noExit, sensitive: true, does: 'Clears IF: maskable interrupts wait.' },
  {
    keys: 'Sti',
    ...interruptFlag,
    ...conditional(
      'No VM exit of its own; “Interrupt-window exiting” makes one when interrupts open.',
      'Interrupt-window exiting',
    ),
    sensitive: true,
    does: 'Sets IF: maskable interrupts may come after the next instruction.',
  },
  {
    keys: 'Clac,Stac',
    ...ring0OrUndefined,
    ...noExit,
    sensitive: true,
    does: 'Clears or sets RFLAGS.AC, which opens user pages to the supervisor under SMAP.',
  },
  // Ports
  { keys: 'In', ...ioPrivilege, ...ports, sensitive: true, does: 'Reads an I/O port into AL, AX or EAX.' },
  { keys: 'Out', ...ioPrivilege, ...ports, sensitive: true, does: 'Writes AL, AX or EAX to an I/O port.' },
  {
    keys: 'Insb,Insw,Insd',
    ...ioPrivilege,
    ...ports,
    sensitive: true,
    does: 'Reads the I/O port DX into memory at ES:RDI.',
  },
  {
    keys: 'Outsb,Outsw,Outsd',
    ...ioPrivilege,
    ...ports,
    sensitive: true,
    does: 'Writes memory at DS:RSI to the I/O port DX.',
  },
  // System calls
  {
    keys: 'Syscall',
    ...anyRing,
    ...noExit,
    sensitive: false,
    does: 'Enters ring 0 at IA32_LSTAR; #UD if IA32_EFER.SCE = 0 or outside 64-bit mode.',
  },
  {
    keys: 'Sysret,Sysretq',
    ...ring0Only,
    ...noExit,
    sensitive: true,
    does: 'Returns to ring 3 at RCX, with RFLAGS from R11.',
  },
  {
    keys: 'Sysenter',
    ...anyRing,
    ...noExit,
    sensitive: false,
    does: 'Enters ring 0 at IA32_SYSENTER_EIP; #GP(0) if IA32_SYSENTER_CS is null.',
  },
  {
    keys: 'Sysexit,Sysexitq',
    ...ring0Only,
    ...noExit,
    sensitive: true,
    does: 'Returns to ring 3 at RDX, with RSP from RCX.',
  },
  {
    keys: 'Swapgs',
    ...ring0Only,
    ...noExit,
    sensitive: true,
    does: 'Exchanges GS.base and IA32_KERNEL_GS_BASE.',
  },
  {
    keys: 'Rdfsbase,Rdgsbase,Wrfsbase,Wrgsbase',
    ...rings('It executes; #UD if CR4.FSGSBASE = 0.', 'It executes, as in ring 0; #UD if CR4.FSGSBASE = 0.'),
    ...noExit,
    sensitive: false,
    does: 'Reads or writes FS.base or GS.base.',
  },
  // The processor: halting, caches, TLB, MSRs, counters
  {
    keys: 'Hlt',
    ...ring0Only,
    ...exitIf('HLT exiting'),
    sensitive: true,
    does: 'Stops the processor until an interrupt comes.',
  },
  {
    keys: 'Monitor',
    ...ring0OrUndefined,
    ...exitIf('MONITOR exiting'),
    sensitive: true,
    does: 'Arms the address monitor that MWAIT waits for.',
  },
  {
    keys: 'Mwait',
    ...ring0OrUndefined,
    ...exitIf('MWAIT exiting'),
    sensitive: true,
    does: 'Stops the processor until the monitored address is written or an interrupt comes.',
  },
  {
    keys: 'Pause',
    ...anyRing,
    ...conditional(
      'It causes a VM exit if “PAUSE exiting” is 1, or in ring 0 after too many in a row with “PAUSE-loop exiting”.',
      'PAUSE exiting',
      'PAUSE-loop exiting',
    ),
    sensitive: false,
    does: 'Hints that a loop is waiting.',
  },
  {
    keys: 'Umwait,Tpause',
    ...rings('It executes.', 'It executes; #GP(0) if CR4.TSD = 1.', 'cr4'),
    ...conditional(
      'It raises #UD unless “Enable user wait and pause” is 1, and causes a VM exit if “RDTSC exiting” is 1 too.',
      'Enable user wait and pause',
      'RDTSC exiting',
    ),
    sensitive: true,
    does: 'Waits until a time-stamp count, or (UMWAIT) a write to the monitored address.',
  },
  {
    keys: 'Invd',
    ...ring0Only,
    ...always,
    sensitive: true,
    does: 'Empties the caches without writing them back.',
  },
  {
    keys: 'Wbinvd,Wbnoinvd',
    ...ring0Only,
    ...exitIf('WBINVD exiting'),
    sensitive: true,
    does: 'Writes the caches back to memory (WBINVD empties them too).',
  },
  {
    keys: 'Invlpg',
    ...ring0Only,
    ...exitIf('INVLPG exiting'),
    sensitive: true,
    does: 'Drops the translations of one page from the TLB.',
  },
  {
    keys: 'Invpcid',
    ...ring0Only,
    ...conditional(
      'It raises #UD unless “Enable INVPCID” is 1, and causes a VM exit if “INVLPG exiting” is 1 too.',
      'Enable INVPCID',
      'INVLPG exiting',
    ),
    sensitive: true,
    does: 'Drops translations from the TLB by process-context identifier.',
  },
  {
    keys: 'Rdmsr',
    ...ring0Only,
    ...msrs,
    sensitive: true,
    does: 'Reads the model-specific register ECX into EDX:EAX.',
  },
  {
    keys: 'Wrmsr,Wrmsrns',
    ...ring0Only,
    ...msrs,
    sensitive: true,
    does: 'Writes EDX:EAX to the model-specific register ECX.',
  },
  {
    keys: 'Rdtsc',
    ...rings(executes, 'It executes if CR4.TSD = 0, else it raises #GP(0).', 'cr4'),
    ...conditional(
      'It causes a VM exit if “RDTSC exiting” is 1; with “Use TSC offsetting” the TSC offset is added.',
      'RDTSC exiting',
      'Use TSC offsetting',
    ),
    sensitive: true,
    does: 'Reads the time-stamp counter into EDX:EAX.',
  },
  {
    keys: 'Rdtscp',
    ...rings(executes, 'It executes if CR4.TSD = 0, else it raises #GP(0).', 'cr4'),
    ...conditional(
      'It raises #UD unless “Enable RDTSCP” is 1, and causes a VM exit if “RDTSC exiting” is 1 too.',
      'Enable RDTSCP',
      'RDTSC exiting',
      'Use TSC offsetting',
    ),
    sensitive: true,
    does: 'Reads the time-stamp counter into EDX:EAX and IA32_TSC_AUX into ECX.',
  },
  {
    keys: 'Rdpid',
    ...anyRing,
    ...conditional('It raises #UD unless “Enable RDTSCP” is 1.', 'Enable RDTSCP'),
    sensitive: false,
    does: 'Reads IA32_TSC_AUX.',
  },
  {
    keys: 'Rdpmc',
    ...rings(executes, 'It executes if CR4.PCE = 1, else it raises #GP(0).', 'cr4'),
    ...exitIf('RDPMC exiting'),
    sensitive: true,
    does: 'Reads the performance counter ECX into EDX:EAX.',
  },
  {
    keys: 'Cpuid',
    ...anyRing,
    ...alwaysAtAnyRing,
    sensitive: false,
    does: 'Describes the processor: its name, features and sizes, by EAX and ECX.',
  },
  {
    keys: 'Rdrand',
    ...anyRing,
    ...exitIf('RDRAND exiting'),
    sensitive: false,
    does: 'Reads a random number; CF tells whether there was one.',
  },
  {
    keys: 'Rdseed',
    ...anyRing,
    ...exitIf('RDSEED exiting'),
    sensitive: false,
    does: 'Reads a seed from the entropy source; CF tells whether there was one.',
  },
  {
    keys: 'Xgetbv',
    ...rings('It executes; #UD if CR4.OSXSAVE = 0.', 'It executes, as in ring 0; #UD if CR4.OSXSAVE = 0.'),
    ...noExit,
    sensitive: false,
    does: 'Reads the extended control register ECX into EDX:EAX.',
  },
  {
    keys: 'Xsetbv',
    ...ring0Only,
    ...always,
    sensitive: true,
    does: 'Writes EDX:EAX to the extended control register ECX: which states XSAVE manages.',
  },
  {
    keys: 'Xsaves,Xsaves64,Xrstors,Xrstors64',
    ...ring0Only,
    ...conditional(
      'It raises #UD unless “Enable XSAVES/XRSTORS” is 1, and causes a VM exit if the XSS-exiting bitmap asks for it.',
      'Enable XSAVES/XRSTORS',
      'XSS-exiting bitmap',
    ),
    sensitive: true,
    does: 'Saves or restores the processor’s extended states, those of the supervisor included.',
  },
  {
    keys: 'Rsm',
    ...rings(
      'Outside system-management mode it raises #UD.',
      'Outside system-management mode it raises #UD.',
      'ring-0',
    ),
    ...conditional('Outside system-management mode it raises #UD; in it, it causes a VM exit.'),
    sensitive: true,
    does: 'Returns from system-management mode.',
  },
  {
    keys: 'Getsec,Getsecq',
    ...rings(
      'It executes the leaf EAX; #UD if CR4.SMXE = 0.',
      'The leaf CAPABILITIES executes, the others raise #GP(0); #UD if CR4.SMXE = 0.',
    ),
    ...alwaysAtAnyRing,
    sensitive: true,
    does: 'Safer-mode functions: measured launch.',
  },
  {
    keys: 'Encls',
    ...ring0OrUndefined,
    ...exitIf('Enable ENCLS exiting'),
    sensitive: true,
    does: 'Supervisor functions of SGX enclaves.',
  },
  {
    keys: 'Ud0,Ud1,Ud2',
    ...rings('It raises #UD.', 'It raises #UD.'),
    ...invalidEvent,
    sensitive: false,
    does: 'Raises #UD, for certain.',
  },
  {
    keys: 'Bound',
    ...anyRing,
    ...conditional('It causes a VM exit if it raises #BR and the exception bitmap has bit 5.', 'Exception bitmap'),
    sensitive: false,
    does: 'Checks an index against bounds in memory and raises #BR outside of them.',
  },
  // Extensions that the engine’s processor does not announce: there they raise #UD
  {
    keys: 'Enclv,Pconfig',
    ...ring0Only,
    ...exitIf('Enable ENCLV exiting', 'Enable PCONFIG'),
    sensitive: true,
    does: 'Virtualizes enclaves (ENCLV) or configures platform features (PCONFIG).',
  },
  {
    keys: 'Enqcmd',
    ...anyRing,
    ...exitIf('PASID translation'),
    sensitive: false,
    does: 'Writes a command to a work queue of a device.',
  },
  {
    keys: 'Enqcmds',
    ...ring0Only,
    ...exitIf('PASID translation'),
    sensitive: true,
    does: 'Writes a command to a work queue of a device, with the privileges of the supervisor.',
  },
  {
    keys: 'Setssbsy,Clrssbsy,Wrussd,Wrussq',
    ...ring0Only,
    ...noExit,
    sensitive: true,
    does: 'Manages shadow stacks (CET).',
  },
  {
    keys: 'Loadiwkey',
    ...ring0Only,
    ...exitIf('LOADIWKEY exiting'),
    sensitive: true,
    does: 'Loads the internal wrapping key of Key Locker.',
  },
  {
    keys: 'Rdmsrlist,Wrmsrlist',
    ...ring0Only,
    ...msrs,
    sensitive: true,
    does: 'Reads or writes a list of model-specific registers.',
  },
  // AMD-V
  {
    keys: 'Vmrun',
    ...svmInstruction(
      'Enters the guest of the VMCB that rAX names, after its consistency checks; #VMEXIT comes back behind it.',
    ),
    nonRoot:
      'On an Intel processor it raises #UD. In guest mode of AMD-V it always exits: VMRUN demands that intercept.',
  },
  {
    keys: 'Vmmcall',
    ...rings('Outside guest mode it raises #UD.', 'Outside guest mode it raises #UD.'),
    ...noExit,
    nonRoot:
      'On an Intel processor it raises #UD. In guest mode of AMD-V it exits, in any ring, if the VMCB intercepts it; else it raises #UD.',
    sensitive: true,
    does: 'Calls the hypervisor from a guest of AMD-V.',
  },
  {
    keys: 'Vmload',
    ...svmInstruction('Loads FS, GS, TR, LDTR and the MSRs of system calls from the VMCB that rAX names.'),
  },
  {
    keys: 'Vmsave',
    ...svmInstruction('Saves FS, GS, TR, LDTR and the MSRs of system calls to the VMCB that rAX names.'),
  },
  {
    keys: 'Stgi',
    ...svmInstruction('Sets the global interrupt flag: interrupts, NMIs and INITs that were held are taken.'),
  },
  { keys: 'Clgi', ...svmInstruction('Clears the global interrupt flag: interrupts, NMIs and INITs are held.') },
  { keys: 'Invlpga', ...svmInstruction('Drops the translation of the linear address rAX for the ASID in ECX.') },
  { keys: 'Skinit', ...svmInstruction('Starts a secure loader, measured, at the address in EAX.') },
  // VMX
  {
    keys: 'Vmxon',
    ...rings(
      'It enters VMX root operation if CR4.VMXE = 1 (else #UD) and IA32_FEATURE_CONTROL permits it (else #GP(0)).',
      'It raises #GP(0); #UD if CR4.VMXE = 0.',
      'ring-0',
    ),
    ...alwaysAtAnyRing,
    sensitive: true,
    does: 'Enters VMX operation with the VMXON region at a physical address.',
  },
  { keys: 'Vmxoff', sensitive: true, ...vmxInstruction('Leaves VMX operation.') },
  {
    keys: 'Vmclear',
    sensitive: true,
    ...vmxInstruction('Writes a VMCS back to memory and sets its launch state to “clear”.'),
  },
  { keys: 'Vmptrld', sensitive: true, ...vmxInstruction('Makes a VMCS current.') },
  { keys: 'Vmptrst', sensitive: true, ...vmxInstruction('Stores the physical address of the current VMCS.') },
  { keys: 'Vmread', sensitive: true, ...vmxInstruction('Reads a field of the current VMCS.'), ...vmcsShadow },
  { keys: 'Vmwrite', sensitive: true, ...vmxInstruction('Writes a field of the current VMCS.'), ...vmcsShadow },
  {
    keys: 'Vmlaunch',
    sensitive: true,
    ...vmxInstruction('Enters the guest of the current VMCS for the first time: VM entry after its checks.'),
  },
  {
    keys: 'Vmresume',
    sensitive: true,
    ...vmxInstruction('Enters the guest of the current VMCS again: VM entry after its checks.'),
  },
  {
    keys: 'Vmcall',
    sensitive: true,
    ...vmxInstruction('Calls the hypervisor from a guest; in VMX root operation, the SMM monitor.'),
  },
  {
    keys: 'Vmfunc',
    ...rings('Outside VMX non-root operation it raises #UD.', 'Outside VMX non-root operation it raises #UD.'),
    ...conditional(
      'It executes in any ring if “Enable VM functions” is 1 (else #UD), and causes a VM exit if the function EAX is not enabled.',
      'Enable VM functions',
    ),
    sensitive: true,
    does: 'Calls a VM function without a VM exit; function 0 switches to another EPT.',
  },
  {
    keys: 'Invept',
    sensitive: true,
    ...vmxInstruction('Drops guest-physical and combined translations from the TLB, by EPT pointer.'),
  },
  {
    keys: 'Invvpid',
    sensitive: true,
    ...vmxInstruction('Drops linear and combined translations from the TLB, by virtual-processor identifier.'),
  },
];
