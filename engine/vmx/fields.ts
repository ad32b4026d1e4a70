/**
 * Every field of the virtual-machine control structure, as one table (SDM volume 3, "Virtual Machine Control
 * Structures", and the appendix "Field Encoding in VMCS"). Width, kind and whether a field can only be read follow from
 * its encoding; where it lies in the VMCS region follows from its place in the table (vmcs.ts).
 */

/** The groups that the manual divides the VMCS into. */
export const vmcsGroups = [
  'Guest Register State',
  'Guest Non-Register State',
  'Host State',
  'VM-Execution Control',
  'VM-Exit Control',
  'VM-Entry Control',
  'VM-Exit Information',
] as const;
export type VmcsGroup = (typeof vmcsGroups)[number];

/** Width classes, by bits 14:13 of the encoding. */
const fieldWidths = ['16-bit', '64-bit', '32-bit', 'natural-width'] as const;
export type FieldWidth = (typeof fieldWidths)[number];

export interface VmcsField {
  /** Encoding with the access type "full" (bit 0 = 0). */
  readonly encoding: number;
  /** The manual's name, without "(full)". */
  readonly name: string;
  readonly group: VmcsGroup;
  readonly doc: string;
  /** The controls of which at least one must be supported for the field to exist; undefined if it always does. */
  readonly requires: readonly string[] | undefined;
}

const row = <const N extends string>(
  group: VmcsGroup,
  encoding: number,
  name: N,
  doc: string,
  requires?: readonly string[],
) => ({ encoding, name, group, doc, requires });

type Row = <const N extends string>(
  encoding: number,
  name: N,
  doc: string,
  ...requires: string[]
) => ReturnType<typeof row<N>>;
const rows =
  (group: VmcsGroup): Row =>
  (encoding, name, doc, ...requires) =>
    row(group, encoding, name, doc, requires.length > 0 ? requires : undefined);

const register = rows('Guest Register State');
const nonRegister = rows('Guest Non-Register State');
const host = rows('Host State');
const execution = rows('VM-Execution Control');
const exit = rows('VM-Exit Control');
const entry = rows('VM-Entry Control');
const information = rows('VM-Exit Information');

const CET = ['Load CET state'];

/** All fields, in the order of their groups. Encodings, names and existence are those of the appendix. */
export const vmcsFields = [
  // ── Guest Register State
  register(0x6800, 'Guest CR0', 'CR0 that VM entry loads and VM exit saves.'),
  register(0x6802, 'Guest CR3', 'CR3: guest-physical address of the first paging structure.'),
  register(0x6804, 'Guest CR4', 'CR4 that VM entry loads and VM exit saves.'),
  register(0x681a, 'Guest DR7', 'Debug control register.'),
  register(0x681c, 'Guest RSP', 'Stack pointer.'),
  register(0x681e, 'Guest RIP', 'Instruction pointer: where the guest goes on.'),
  register(0x6820, 'Guest RFLAGS', 'Flags.'),
  register(0x0800, 'Guest ES selector', 'Visible part of ES.'),
  register(0x0802, 'Guest CS selector', 'Visible part of CS.'),
  register(0x0804, 'Guest SS selector', 'Visible part of SS.'),
  register(0x0806, 'Guest DS selector', 'Visible part of DS.'),
  register(0x0808, 'Guest FS selector', 'Visible part of FS.'),
  register(0x080a, 'Guest GS selector', 'Visible part of GS.'),
  register(0x080c, 'Guest LDTR selector', 'Visible part of LDTR.'),
  register(0x080e, 'Guest TR selector', 'Visible part of TR.'),
  register(0x6806, 'Guest ES base', 'Linear address at which ES begins.'),
  register(0x6808, 'Guest CS base', 'Linear address at which CS begins.'),
  register(0x680a, 'Guest SS base', 'Linear address at which SS begins.'),
  register(0x680c, 'Guest DS base', 'Linear address at which DS begins.'),
  register(0x680e, 'Guest FS base', 'Linear address at which FS begins (IA32_FS_BASE).'),
  register(0x6810, 'Guest GS base', 'Linear address at which GS begins (IA32_GS_BASE).'),
  register(0x6812, 'Guest LDTR base', 'Linear address of the local descriptor table.'),
  register(0x6814, 'Guest TR base', 'Linear address of the task-state segment.'),
  register(0x4800, 'Guest ES limit', 'Highest offset in ES, in bytes.'),
  register(0x4802, 'Guest CS limit', 'Highest offset in CS, in bytes.'),
  register(0x4804, 'Guest SS limit', 'Highest offset in SS, in bytes.'),
  register(0x4806, 'Guest DS limit', 'Highest offset in DS, in bytes.'),
  register(0x4808, 'Guest FS limit', 'Highest offset in FS, in bytes.'),
  register(0x480a, 'Guest GS limit', 'Highest offset in GS, in bytes.'),
  register(0x480c, 'Guest LDTR limit', 'Highest offset in the local descriptor table.'),
  register(0x480e, 'Guest TR limit', 'Highest offset in the task-state segment.'),
  register(0x4814, 'Guest ES access rights', 'Type, S, DPL, P, AVL, L, D/B and G of ES; bit 16: unusable.'),
  register(0x4816, 'Guest CS access rights', 'Type, S, DPL, P, AVL, L, D/B and G of CS; bit 16: unusable.'),
  register(0x4818, 'Guest SS access rights', 'Type, S, DPL (the CPL), P, AVL, L, D/B and G of SS; bit 16: unusable.'),
  register(0x481a, 'Guest DS access rights', 'Type, S, DPL, P, AVL, L, D/B and G of DS; bit 16: unusable.'),
  register(0x481c, 'Guest FS access rights', 'Type, S, DPL, P, AVL, L, D/B and G of FS; bit 16: unusable.'),
  register(0x481e, 'Guest GS access rights', 'Type, S, DPL, P, AVL, L, D/B and G of GS; bit 16: unusable.'),
  register(0x4820, 'Guest LDTR access rights', 'Type, DPL, P, AVL and G of LDTR; bit 16: unusable.'),
  register(0x4822, 'Guest TR access rights', 'Type, DPL, P, AVL and G of TR, which must be usable.'),
  register(0x6816, 'Guest GDTR base', 'Linear address of the global descriptor table.'),
  register(0x6818, 'Guest IDTR base', 'Linear address of the interrupt descriptor table.'),
  register(0x4810, 'Guest GDTR limit', 'Highest offset in the global descriptor table.'),
  register(0x4812, 'Guest IDTR limit', 'Highest offset in the interrupt descriptor table.'),
  register(0x2802, 'Guest IA32_DEBUGCTL', 'IA32_DEBUGCTL: last-branch records, single-step on branches.'),
  register(0x482a, 'Guest IA32_SYSENTER_CS', 'IA32_SYSENTER_CS: code segment that SYSENTER loads.'),
  register(0x6824, 'Guest IA32_SYSENTER_ESP', 'IA32_SYSENTER_ESP: stack pointer that SYSENTER loads.'),
  register(0x6826, 'Guest IA32_SYSENTER_EIP', 'IA32_SYSENTER_EIP: where SYSENTER goes.'),
  register(
    0x2808,
    'Guest IA32_PERF_GLOBAL_CTRL',
    'IA32_PERF_GLOBAL_CTRL: which performance counters count.',
    'Load IA32_PERF_GLOBAL_CTRL',
  ),
  register(0x2804, 'Guest IA32_PAT', 'IA32_PAT: page attribute table.', 'Load IA32_PAT', 'Save IA32_PAT'),
  register(
    0x2806,
    'Guest IA32_EFER',
    'IA32_EFER: SYSCALL enable, IA-32e mode, NX.',
    'Load IA32_EFER',
    'Save IA32_EFER',
  ),
  register(0x2812, 'Guest IA32_BNDCFGS', 'IA32_BNDCFGS: memory-protection extensions.', 'Load IA32_BNDCFGS'),
  register(0x2814, 'Guest IA32_RTIT_CTL', 'IA32_RTIT_CTL: Intel Processor Trace.', 'Load IA32_RTIT_CTL'),
  register(0x2816, 'Guest IA32_LBR_CTL', 'IA32_LBR_CTL: architectural last-branch records.', 'Load guest IA32_LBR_CTL'),
  register(0x6828, 'Guest IA32_S_CET', 'IA32_S_CET: supervisor-mode control-flow enforcement.', ...CET),
  register(0x682a, 'Guest SSP', 'Shadow-stack pointer.', ...CET),
  register(
    0x682c,
    'Guest IA32_INTERRUPT_SSP_TABLE_ADDR',
    'Linear address of the interrupt shadow-stack table.',
    ...CET,
  ),
  register(0x2818, 'Guest IA32_PKRS', 'IA32_PKRS: protection keys for supervisor pages.', 'Load PKRS'),
  register(0x0814, 'Guest UINV', 'User-interrupt notification vector.', 'Load UINV'),
  register(0x4828, 'Guest SMBASE', 'Base of system-management RAM.'),

  // ── Guest Non-Register State
  nonRegister(0x4826, 'Guest activity state', '0 active, 1 HLT, 2 shutdown, 3 wait-for-SIPI.'),
  nonRegister(0x4824, 'Guest interruptibility state', 'Blocking by STI (0), MOV SS (1), SMI (2), NMI (3).'),
  nonRegister(
    0x6822,
    'Guest pending debug exceptions',
    'Debug exceptions recognized but not delivered: B3-B0, enabled breakpoint (12), BS (14).',
  ),
  nonRegister(0x2800, 'VMCS link pointer', 'Address of the shadow VMCS, or FFFFFFFF_FFFFFFFFH where there is none.'),
  nonRegister(
    0x482e,
    'VMX-preemption timer value',
    'Initial count of the VMX-preemption timer.',
    'Activate VMX-preemption timer',
  ),
  nonRegister(0x280a, 'Guest PDPTE0', 'PDPTE register 0 of PAE paging under EPT.', 'Enable EPT'),
  nonRegister(0x280c, 'Guest PDPTE1', 'PDPTE register 1 of PAE paging under EPT.', 'Enable EPT'),
  nonRegister(0x280e, 'Guest PDPTE2', 'PDPTE register 2 of PAE paging under EPT.', 'Enable EPT'),
  nonRegister(0x2810, 'Guest PDPTE3', 'PDPTE register 3 of PAE paging under EPT.', 'Enable EPT'),
  nonRegister(
    0x0810,
    'Guest interrupt status',
    'Requesting and servicing virtual interrupt (RVI, SVI).',
    'Virtual-interrupt delivery',
  ),
  nonRegister(0x0812, 'PML index', 'Next entry of the page-modification log.', 'Enable PML'),

  // ── Host State
  host(0x6c00, 'Host CR0', 'CR0 that VM exit loads.'),
  host(0x6c02, 'Host CR3', 'CR3 that VM exit loads.'),
  host(0x6c04, 'Host CR4', 'CR4 that VM exit loads.'),
  host(0x6c14, 'Host RSP', 'Stack pointer that VM exit loads.'),
  host(0x6c16, 'Host RIP', 'Where VM exit goes: the handler.'),
  host(0x0c00, 'Host ES selector', 'Selector that VM exit loads into ES.'),
  host(0x0c02, 'Host CS selector', 'Selector that VM exit loads into CS.'),
  host(0x0c04, 'Host SS selector', 'Selector that VM exit loads into SS.'),
  host(0x0c06, 'Host DS selector', 'Selector that VM exit loads into DS.'),
  host(0x0c08, 'Host FS selector', 'Selector that VM exit loads into FS.'),
  host(0x0c0a, 'Host GS selector', 'Selector that VM exit loads into GS.'),
  host(0x0c0c, 'Host TR selector', 'Selector that VM exit loads into TR; not 0.'),
  host(0x6c06, 'Host FS base', 'FS base that VM exit loads.'),
  host(0x6c08, 'Host GS base', 'GS base that VM exit loads.'),
  host(0x6c0a, 'Host TR base', 'TR base that VM exit loads.'),
  host(0x6c0c, 'Host GDTR base', 'GDTR base that VM exit loads; the limit becomes FFFFH.'),
  host(0x6c0e, 'Host IDTR base', 'IDTR base that VM exit loads; the limit becomes FFFFH.'),
  host(0x4c00, 'Host IA32_SYSENTER_CS', 'IA32_SYSENTER_CS that VM exit loads.'),
  host(0x6c10, 'Host IA32_SYSENTER_ESP', 'IA32_SYSENTER_ESP that VM exit loads.'),
  host(0x6c12, 'Host IA32_SYSENTER_EIP', 'IA32_SYSENTER_EIP that VM exit loads.'),
  host(0x2c04, 'Host IA32_PERF_GLOBAL_CTRL', 'IA32_PERF_GLOBAL_CTRL that VM exit loads.', 'Load IA32_PERF_GLOBAL_CTRL'),
  host(0x2c00, 'Host IA32_PAT', 'IA32_PAT that VM exit loads, if "load IA32_PAT" is 1.', 'Load IA32_PAT'),
  host(0x2c02, 'Host IA32_EFER', 'IA32_EFER that VM exit loads, if "load IA32_EFER" is 1.', 'Load IA32_EFER'),
  host(0x6c18, 'Host IA32_S_CET', 'IA32_S_CET that VM exit loads.', ...CET),
  host(0x6c1a, 'Host SSP', 'Shadow-stack pointer that VM exit loads.', ...CET),
  host(
    0x6c1c,
    'Host IA32_INTERRUPT_SSP_TABLE_ADDR',
    'Interrupt shadow-stack table address that VM exit loads.',
    ...CET,
  ),
  host(0x2c06, 'Host IA32_PKRS', 'IA32_PKRS that VM exit loads.', 'Load PKRS'),

  // ── VM-Execution Control
  execution(0x4000, 'Pin-based VM-execution controls', 'Which asynchronous events exit.'),
  execution(
    0x4002,
    'Primary processor-based VM-execution controls',
    'Which instructions exit, and which further controls are in use.',
  ),
  execution(
    0x401e,
    'Secondary processor-based VM-execution controls',
    'More of the same, in use if "activate secondary controls" is 1.',
    'Activate secondary controls',
  ),
  execution(
    0x2034,
    'Tertiary processor-based VM-execution controls',
    'More of the same, in use if "activate tertiary controls" is 1.',
    'Activate tertiary controls',
  ),
  execution(0x4004, 'Exception bitmap', 'A bit for each exception vector: 1 makes the exception exit.'),
  execution(0x4006, 'Page-fault error-code mask', 'Bits of a page-fault error code to compare.'),
  execution(
    0x4008,
    'Page-fault error-code match',
    'Value to compare with; a difference inverts bit 14 of the exception bitmap.',
  ),
  execution(0x2000, 'Address of I/O bitmap A', 'Bitmap of ports 0000H-7FFFH.', 'Use I/O bitmaps'),
  execution(0x2002, 'Address of I/O bitmap B', 'Bitmap of ports 8000H-FFFFH.', 'Use I/O bitmaps'),
  execution(0x2010, 'TSC offset', 'Added to the time-stamp counter that the guest reads.'),
  execution(0x6000, 'CR0 guest/host mask', 'Bits of CR0 that the host owns.'),
  execution(0x6002, 'CR4 guest/host mask', 'Bits of CR4 that the host owns.'),
  execution(0x6004, 'CR0 read shadow', 'What the guest reads of the bits of CR0 that the host owns.'),
  execution(0x6006, 'CR4 read shadow', 'What the guest reads of the bits of CR4 that the host owns.'),
  execution(0x400a, 'CR3-target count', 'Number of CR3-target values in use, up to 4.'),
  execution(0x6008, 'CR3-target value 0', 'A value that MOV to CR3 may load without an exit.'),
  execution(0x600a, 'CR3-target value 1', 'A value that MOV to CR3 may load without an exit.'),
  execution(0x600c, 'CR3-target value 2', 'A value that MOV to CR3 may load without an exit.'),
  execution(0x600e, 'CR3-target value 3', 'A value that MOV to CR3 may load without an exit.'),
  execution(
    0x2014,
    'APIC-access address',
    'Physical address of the page whose accesses are virtualized.',
    'Virtualize APIC accesses',
  ),
  execution(0x2012, 'Virtual-APIC address', 'Physical address of the virtual-APIC page.', 'Use TPR shadow'),
  execution(0x401c, 'TPR threshold', 'Virtual task priority below which the guest exits.', 'Use TPR shadow'),
  execution(0x201c, 'EOI-exit bitmap 0', 'Vectors 00H-3FH whose end of interrupt exits.', 'Virtual-interrupt delivery'),
  execution(0x201e, 'EOI-exit bitmap 1', 'Vectors 40H-7FH whose end of interrupt exits.', 'Virtual-interrupt delivery'),
  execution(0x2020, 'EOI-exit bitmap 2', 'Vectors 80H-BFH whose end of interrupt exits.', 'Virtual-interrupt delivery'),
  execution(0x2022, 'EOI-exit bitmap 3', 'Vectors C0H-FFH whose end of interrupt exits.', 'Virtual-interrupt delivery'),
  execution(
    0x0002,
    'Posted-interrupt notification vector',
    'Vector that announces posted interrupts.',
    'Process posted interrupts',
  ),
  execution(0x2016, 'Posted-interrupt descriptor address', 'Where posted interrupts are.', 'Process posted interrupts'),
  execution(0x2004, 'Address of MSR bitmaps', 'Bitmaps of the MSRs whose access exits.', 'Use MSR bitmaps'),
  execution(0x200c, 'Executive-VMCS pointer', 'VMCS of the executive monitor, for system-management mode.'),
  execution(0x201a, 'EPT pointer', 'Root and properties of the extended page tables (EPTP).', 'Enable EPT'),
  execution(
    0x0000,
    'Virtual-processor identifier',
    'Tag of the cached translations of this guest; not 0.',
    'Enable VPID',
  ),
  execution(0x4020, 'PLE_Gap', 'Longest time between two PAUSEs of one loop.', 'PAUSE-loop exiting'),
  execution(0x4022, 'PLE_Window', 'Longest time in a PAUSE loop.', 'PAUSE-loop exiting'),
  execution(0x2018, 'VM-function controls', 'Which VM functions VMFUNC may invoke.', 'Enable VM functions'),
  execution(0x2024, 'EPTP-list address', 'EPTPs that VMFUNC may switch to.', 'Enable VM functions'),
  execution(0x2026, 'VMREAD-bitmap address', 'Fields whose VMREAD exits.', 'VMCS shadowing'),
  execution(0x2028, 'VMWRITE-bitmap address', 'Fields whose VMWRITE exits.', 'VMCS shadowing'),
  execution(0x202e, 'ENCLS-exiting bitmap', 'ENCLS leaves that exit.', 'Enable ENCLS exiting'),
  execution(0x2036, 'ENCLV-exiting bitmap', 'ENCLV leaves that exit.', 'Enable ENCLV exiting'),
  execution(0x203e, 'PCONFIG-exiting bitmap', 'PCONFIG leaves that exit.', 'Enable PCONFIG'),
  execution(0x200e, 'PML address', 'Physical address of the page-modification log.', 'Enable PML'),
  execution(
    0x202a,
    'Virtualization-exception information address',
    'Where a #VE leaves its information.',
    'EPT-violation #VE',
  ),
  execution(0x0004, 'EPTP index', 'Index of the EPTP in the EPTP list.', 'EPT-violation #VE'),
  execution(0x202c, 'XSS-exiting bitmap', 'Components whose XSAVES and XRSTORS exit.', 'Enable XSAVES/XRSTORS'),
  execution(
    0x2030,
    'Sub-page-permission-table pointer',
    'Root of the sub-page permission tables.',
    'Sub-page write permissions for EPT',
  ),
  execution(0x2032, 'TSC multiplier', 'Scale of the time-stamp counter that the guest reads.', 'Use TSC scaling'),
  execution(0x2038, 'Low PASID directory address', 'PASID translation, low half.', 'PASID translation'),
  execution(0x203a, 'High PASID directory address', 'PASID translation, high half.', 'PASID translation'),
  execution(0x203c, 'Shared EPT pointer', 'Root of the shared extended page tables.', 'Enable shared EPT'),
  execution(0x2040, 'Hypervisor-managed linear-address translation pointer', 'Root of HLAT paging.', 'Enable HLAT'),
  execution(0x0006, 'HLAT prefix size', 'Linear-address bits that select HLAT paging.', 'Enable HLAT'),
  execution(0x2042, 'PID-pointer table address', 'Table for IPI virtualization.', 'IPI virtualization'),
  execution(0x0008, 'Last PID-pointer index', 'Last entry of that table.', 'IPI virtualization'),
  execution(0x4024, 'Instruction-timeout control', 'Longest time of one instruction.', 'Instruction timeout'),
  execution(
    0x204a,
    'IA32_SPEC_CTRL mask',
    'Bits of IA32_SPEC_CTRL the guest cannot change.',
    'Virtualize IA32_SPEC_CTRL',
  ),
  execution(0x204c, 'IA32_SPEC_CTRL shadow', 'What the guest reads of IA32_SPEC_CTRL.', 'Virtualize IA32_SPEC_CTRL'),

  // ── VM-Exit Control
  exit(0x400c, 'Primary VM-exit controls', 'What VM exit does: size of the host, which MSRs are saved and loaded.'),
  exit(0x2044, 'Secondary VM-exit controls', 'More of the same.', 'Activate secondary VM-exit controls'),
  exit(0x400e, 'VM-exit MSR-store count', 'Number of MSRs that VM exit stores.'),
  exit(0x2006, 'VM-exit MSR-store address', 'Where VM exit stores MSRs.'),
  exit(0x4010, 'VM-exit MSR-load count', 'Number of MSRs that VM exit loads.'),
  exit(0x2008, 'VM-exit MSR-load address', 'From where VM exit loads MSRs.'),

  // ── VM-Entry Control
  entry(0x4012, 'VM-entry controls', 'What VM entry does: IA-32e mode, which MSRs are loaded.'),
  entry(0x4014, 'VM-entry MSR-load count', 'Number of MSRs that VM entry loads.'),
  entry(0x200a, 'VM-entry MSR-load address', 'From where VM entry loads MSRs.'),
  entry(0x4016, 'VM-entry interruption-information field', 'Event that VM entry injects; bit 31: there is one.'),
  entry(0x4018, 'VM-entry exception error code', 'Error code of the event that VM entry injects.'),
  entry(0x401a, 'VM-entry instruction length', 'Length of the software interrupt that VM entry injects, in bytes.'),

  // ── VM-Exit Information
  information(0x4402, 'Exit reason', 'Why the guest exited: basic reason in bits 15:0; bit 31: VM-entry failure.'),
  information(0x6400, 'Exit qualification', 'Details of the exit, by exit reason.'),
  information(0x640a, 'Guest-linear address', 'Linear address that the exit is about.'),
  information(0x2400, 'Guest-physical address', 'Guest-physical address of an EPT violation.', 'Enable EPT'),
  information(0x4404, 'VM-exit interruption information', 'Event that caused the exit; bit 31: valid.'),
  information(0x4406, 'VM-exit interruption error code', 'Error code of that event.'),
  information(0x4408, 'IDT-vectoring information field', 'Event during whose delivery the exit came; bit 31: valid.'),
  information(0x440a, 'IDT-vectoring error code', 'Error code of that event.'),
  information(0x440c, 'VM-exit instruction length', 'Length of the instruction that exited, in bytes.'),
  information(0x440e, 'VM-exit instruction information', 'Operands of the instruction that exited.'),
  information(0x6402, 'I/O RCX', 'RCX before an I/O instruction, for system-management interrupts.'),
  information(0x6404, 'I/O RSI', 'RSI before an I/O instruction, for system-management interrupts.'),
  information(0x6406, 'I/O RDI', 'RDI before an I/O instruction, for system-management interrupts.'),
  information(0x6408, 'I/O RIP', 'RIP of the I/O instruction, for system-management interrupts.'),
  information(0x4400, 'VM-instruction error', 'Why the last VMX instruction failed.'),
] as const satisfies readonly VmcsField[];

export type VmcsFieldName = (typeof vmcsFields)[number]['name'];

/** PDPTE registers 0 to 3. */
export const guestPdpteFields = [
  'Guest PDPTE0', 'Guest PDPTE1', 'Guest PDPTE2', 'Guest PDPTE3',
] as const satisfies readonly VmcsFieldName[]; // biome-ignore format: one table

/** Width class of an encoding: bits 14:13. */
export const widthOf = (encoding: number): FieldWidth => fieldWidths[(encoding >> 13) & 3] as FieldWidth;

/** Width in bits as the debugger shows it; natural width is 64 bits on this CPU. */
export function widthBitsOf(encoding: number): 16 | 32 | 64 {
  const width = widthOf(encoding);
  if (width === '16-bit') return 16;
  return width === '32-bit' ? 32 : 64;
}

/** Whether VMWRITE refuses the field: type 1 in bits 11:10. */
export const isReadOnly = (encoding: number): boolean => ((encoding >> 10) & 3) === 1;
