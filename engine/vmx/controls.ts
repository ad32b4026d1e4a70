/**
 * The VM-execution, VM-exit and VM-entry controls (SDM volume 3, "VM-Execution Control Fields", "VM-Exit Controls",
 * "VM-Entry Controls") as tables: bit, name, what 1 means, and whether the CPU supports it. The settings that the
 * capability MSRs allow derive from them.
 */
import type { VmcsFieldName } from './fields.ts';

export interface Control {
  readonly bit: number;
  /** The manual's name. */
  readonly name: string;
  /** What the setting 1 does. */
  readonly doc: string;
  /** Whether the bit may be 1. */
  readonly supported: boolean;
}

const yes = <const N extends string>(bit: number, name: N, doc: string) => ({ bit, name, doc, supported: true });
const no = <const N extends string>(bit: number, name: N, doc: string) => ({ bit, name, doc, supported: false });

const pinControls = [
  yes(0, 'External-interrupt exiting', 'External interrupts exit instead of going through the guest IDT.'),
  yes(3, 'NMI exiting', 'NMIs exit.'),
  yes(5, 'Virtual NMIs', 'NMIs are never blocked; bit 3 of the interruptibility state is virtual-NMI blocking.'),
  yes(6, 'Activate VMX-preemption timer', 'A timer counts down in the guest and exits at zero.'),
  yes(7, 'Process posted interrupts', 'Interrupts with the notification vector deliver posted interrupts.'),
] as const satisfies readonly Control[];

const primaryControls = [
  yes(2, 'Interrupt-window exiting', 'The guest exits as soon as it could take an interrupt.'),
  yes(3, 'Use TSC offsetting', 'RDTSC, RDTSCP and RDMSR of the TSC give the value plus the TSC offset.'),
  yes(7, 'HLT exiting', 'HLT exits.'),
  yes(9, 'INVLPG exiting', 'INVLPG exits.'),
  yes(10, 'MWAIT exiting', 'MWAIT exits.'),
  yes(11, 'RDPMC exiting', 'RDPMC exits.'),
  yes(12, 'RDTSC exiting', 'RDTSC and RDTSCP exit.'),
  yes(15, 'CR3-load exiting', 'MOV to CR3 exits, unless the value is a CR3-target value.'),
  yes(16, 'CR3-store exiting', 'MOV from CR3 exits.'),
  no(17, 'Activate tertiary controls', 'The tertiary controls are in use.'),
  yes(19, 'CR8-load exiting', 'MOV to CR8 exits.'),
  yes(20, 'CR8-store exiting', 'MOV from CR8 exits.'),
  yes(21, 'Use TPR shadow', 'CR8 and the TPR are virtualized by the virtual-APIC page.'),
  yes(22, 'NMI-window exiting', 'The guest exits as soon as there is no virtual-NMI blocking.'),
  yes(23, 'MOV-DR exiting', 'MOV to and from debug registers exits.'),
  yes(24, 'Unconditional I/O exiting', 'Every I/O instruction exits, unless I/O bitmaps are used.'),
  yes(25, 'Use I/O bitmaps', 'I/O instructions exit as the I/O bitmaps say.'),
  yes(27, 'Monitor trap flag', 'The guest exits after one instruction.'),
  yes(28, 'Use MSR bitmaps', 'RDMSR and WRMSR exit as the MSR bitmaps say; otherwise always.'),
  yes(29, 'MONITOR exiting', 'MONITOR exits.'),
  yes(30, 'PAUSE exiting', 'PAUSE exits.'),
  yes(31, 'Activate secondary controls', 'The secondary controls are in use; if 0, they count as 0.'),
] as const satisfies readonly Control[];

const secondaryControls = [
  yes(0, 'Virtualize APIC accesses', 'Accesses to the APIC-access page are virtualized.'),
  yes(1, 'Enable EPT', 'Guest-physical addresses are translated by extended page tables.'),
  yes(2, 'Descriptor-table exiting', 'LGDT, LIDT, LLDT, LTR, SGDT, SIDT, SLDT and STR exit.'),
  yes(3, 'Enable RDTSCP', 'RDTSCP works; otherwise it is #UD.'),
  yes(4, 'Virtualize x2APIC mode', 'RDMSR and WRMSR of APIC registers are virtualized.'),
  yes(5, 'Enable VPID', 'Cached translations are tagged with the VPID and survive VM entries and exits.'),
  yes(6, 'WBINVD exiting', 'WBINVD exits.'),
  yes(7, 'Unrestricted guest', 'The guest may run unpaged or in real-address mode.'),
  yes(8, 'APIC-register virtualization', 'Reads of APIC registers are virtualized.'),
  yes(9, 'Virtual-interrupt delivery', 'Pending virtual interrupts are evaluated and delivered.'),
  yes(10, 'PAUSE-loop exiting', 'A loop of PAUSEs exits.'),
  yes(11, 'RDRAND exiting', 'RDRAND exits.'),
  yes(12, 'Enable INVPCID', 'INVPCID works; otherwise it is #UD.'),
  yes(13, 'Enable VM functions', 'VMFUNC works in the guest.'),
  yes(14, 'VMCS shadowing', 'VMREAD and VMWRITE in the guest may access a shadow VMCS.'),
  no(15, 'Enable ENCLS exiting', 'ENCLS exits as its bitmap says.'),
  yes(16, 'RDSEED exiting', 'RDSEED exits.'),
  yes(17, 'Enable PML', 'Writes that set a dirty flag of EPT are logged.'),
  yes(18, 'EPT-violation #VE', 'EPT violations may cause #VE instead of an exit.'),
  no(19, 'Conceal VMX from PT', 'Intel Processor Trace does not show VMX transitions.'),
  yes(20, 'Enable XSAVES/XRSTORS', 'XSAVES and XRSTORS work; otherwise they are #UD.'),
  no(21, 'PASID translation', 'ENQCMD and ENQCMDS translate PASIDs.'),
  yes(22, 'Mode-based execute control for EPT', 'EPT has execute rights for user and supervisor pages.'),
  yes(23, 'Sub-page write permissions for EPT', 'EPT write rights go down to 128 bytes.'),
  no(24, 'Intel PT uses guest physical addresses', 'Output addresses of Intel Processor Trace are translated.'),
  yes(25, 'Use TSC scaling', 'The TSC that the guest reads is scaled.'),
  no(26, 'Enable user wait and pause', 'TPAUSE, UMONITOR and UMWAIT work.'),
  no(27, 'Enable PCONFIG', 'PCONFIG works.'),
  no(28, 'Enable ENCLV exiting', 'ENCLV exits as its bitmap says.'),
  no(30, 'VMM bus-lock detection', 'Bus locks exit.'),
  no(31, 'Instruction timeout', 'An instruction that takes too long exits.'),
] as const satisfies readonly Control[];

const exitControls = [
  yes(2, 'Save debug controls', 'DR7 and IA32_DEBUGCTL are saved.'),
  yes(9, 'Host address-space size', 'The host runs in 64-bit mode after the exit.'),
  no(12, 'Load IA32_PERF_GLOBAL_CTRL', 'IA32_PERF_GLOBAL_CTRL is loaded.'),
  yes(15, 'Acknowledge interrupt on exit', 'An exit by external interrupt takes the vector from the controller.'),
  yes(18, 'Save IA32_PAT', 'IA32_PAT is saved.'),
  yes(19, 'Load IA32_PAT', 'IA32_PAT is loaded.'),
  yes(20, 'Save IA32_EFER', 'IA32_EFER is saved.'),
  yes(21, 'Load IA32_EFER', 'IA32_EFER is loaded.'),
  yes(22, 'Save VMX-preemption timer value', 'The timer value is saved.'),
  no(23, 'Clear IA32_BNDCFGS', 'IA32_BNDCFGS is cleared.'),
  no(24, 'Conceal VMX from PT', 'Intel Processor Trace does not show the exit.'),
  no(25, 'Clear IA32_RTIT_CTL', 'IA32_RTIT_CTL is cleared.'),
  no(26, 'Clear IA32_LBR_CTL', 'IA32_LBR_CTL is cleared.'),
  no(27, 'Clear UINV', 'UINV is cleared.'),
  no(28, 'Load CET state', 'Shadow-stack state is loaded.'),
  no(29, 'Load PKRS', 'IA32_PKRS is loaded.'),
  no(30, 'Save IA32_PERF_GLOBAL_CTRL', 'IA32_PERF_GLOBAL_CTRL is saved.'),
  no(31, 'Activate secondary VM-exit controls', 'The secondary VM-exit controls are in use.'),
] as const satisfies readonly Control[];

const entryControls = [
  yes(2, 'Load debug controls', 'DR7 and IA32_DEBUGCTL are loaded.'),
  yes(9, 'IA-32e mode guest', 'The guest is in IA-32e mode after the entry.'),
  no(10, 'Entry to SMM', 'The guest is in system-management mode after the entry.'),
  no(11, 'Deactivate dual-monitor treatment', 'The default treatment of SMIs is in effect after the entry.'),
  no(13, 'Load IA32_PERF_GLOBAL_CTRL', 'IA32_PERF_GLOBAL_CTRL is loaded.'),
  yes(14, 'Load IA32_PAT', 'IA32_PAT is loaded.'),
  yes(15, 'Load IA32_EFER', 'IA32_EFER is loaded.'),
  no(16, 'Load IA32_BNDCFGS', 'IA32_BNDCFGS is loaded.'),
  no(17, 'Conceal VMX from PT', 'Intel Processor Trace does not show the entry.'),
  no(18, 'Load IA32_RTIT_CTL', 'IA32_RTIT_CTL is loaded.'),
  no(19, 'Load UINV', 'UINV is loaded.'),
  no(20, 'Load CET state', 'Shadow-stack state is loaded.'),
  no(21, 'Load guest IA32_LBR_CTL', 'IA32_LBR_CTL is loaded.'),
  no(22, 'Load PKRS', 'IA32_PKRS is loaded.'),
] as const satisfies readonly Control[];

/** Bits of the exception bitmap that have a name. */
export const exceptionControls = [
  [0, '#DE', 'Divide error'],
  [1, '#DB', 'Debug exception'],
  [2, 'NMI', 'Not an exception: see "NMI exiting"'],
  [3, '#BP', 'Breakpoint (INT3)'],
  [4, '#OF', 'Overflow (INTO)'],
  [5, '#BR', 'BOUND range exceeded'],
  [6, '#UD', 'Invalid opcode'],
  [7, '#NM', 'Device not available'],
  [8, '#DF', 'Double fault'],
  [10, '#TS', 'Invalid TSS'],
  [11, '#NP', 'Segment not present'],
  [12, '#SS', 'Stack-segment fault'],
  [13, '#GP', 'General protection'],
  [14, '#PF', 'Page fault, subject to the error-code mask and match'],
  [16, '#MF', 'x87 floating-point error'],
  [17, '#AC', 'Alignment check'],
  [18, '#MC', 'Machine check'],
  [19, '#XM', 'SIMD floating-point exception'],
  [20, '#VE', 'Virtualization exception'],
  [21, '#CP', 'Control protection'],
] as const;

export interface ControlGroup {
  readonly field: VmcsFieldName;
  readonly controls: readonly Control[];
  /** Reserved and other bits that are 1 unless the TRUE register says otherwise (SDM volume 3, appendix "VMX Capability Reporting Facility"). */
  readonly default1: number;
  readonly msr: { readonly index: number; readonly name: string };
  readonly trueMsr: { readonly index: number; readonly name: string } | undefined;
}

export const controlGroups = {
  pin: {
    field: 'Pin-based VM-execution controls',
    controls: pinControls,
    default1: 0x16,
    msr: { index: 0x481, name: 'IA32_VMX_PINBASED_CTLS' },
    trueMsr: { index: 0x48d, name: 'IA32_VMX_TRUE_PINBASED_CTLS' },
  },
  primary: {
    field: 'Primary processor-based VM-execution controls',
    controls: primaryControls,
    default1: 0x0401_e172,
    msr: { index: 0x482, name: 'IA32_VMX_PROCBASED_CTLS' },
    trueMsr: { index: 0x48e, name: 'IA32_VMX_TRUE_PROCBASED_CTLS' },
  },
  secondary: {
    field: 'Secondary processor-based VM-execution controls',
    controls: secondaryControls,
    default1: 0,
    msr: { index: 0x48b, name: 'IA32_VMX_PROCBASED_CTLS2' },
    trueMsr: undefined,
  },
  exit: {
    field: 'Primary VM-exit controls',
    controls: exitControls,
    default1: 0x3_6dff,
    msr: { index: 0x483, name: 'IA32_VMX_EXIT_CTLS' },
    trueMsr: { index: 0x48f, name: 'IA32_VMX_TRUE_EXIT_CTLS' },
  },
  entry: {
    field: 'VM-entry controls',
    controls: entryControls,
    default1: 0x11ff,
    msr: { index: 0x484, name: 'IA32_VMX_ENTRY_CTLS' },
    trueMsr: { index: 0x490, name: 'IA32_VMX_TRUE_ENTRY_CTLS' },
  },
} as const satisfies Record<string, ControlGroup>;

export type ControlGroupName = keyof typeof controlGroups;
type NameIn<G extends ControlGroupName> = (typeof controlGroups)[G]['controls'][number]['name'];
type Bits<G extends ControlGroupName> = Readonly<Record<NameIn<G>, number>>;

function bitsOf<G extends ControlGroupName>(group: G): Bits<G> {
  const { controls }: ControlGroup = controlGroups[group];
  return Object.fromEntries(controls.map(({ name, bit }) => [name, 1 << bit])) as Bits<G>;
}

/** Masks of the controls by the manual's names (bit 31 as a signed number). */
export const PIN = bitsOf('pin');
export const PRIMARY = bitsOf('primary');
export const SECONDARY = bitsOf('secondary');
export const EXIT = bitsOf('exit');
export const ENTRY = bitsOf('entry');

export interface AllowedSettings {
  /** Bits that must be 1, as the plain capability MSR reports them. */
  readonly allowed0: number;
  /** Bits that must be 1 in truth: the TRUE capability MSR, and what VM entry checks. */
  readonly trueAllowed0: number;
  /** Bits that may be 1. */
  readonly allowed1: number;
}

/** The settings of a group of controls that the CPU allows; all unsigned. */
export function allowedSettings(group: ControlGroupName): AllowedSettings {
  const { controls, default1 }: ControlGroup = controlGroups[group];
  let supported = 0;
  for (const control of controls) if (control.supported) supported |= 1 << control.bit;
  return {
    allowed0: default1,
    trueAllowed0: (default1 & ~supported) >>> 0,
    allowed1: (default1 | supported) >>> 0,
  };
}

/** Whether any group supports a control of that name: what the existence of a field depends on. */
export function isControlSupported(name: string): boolean {
  return Object.values(controlGroups).some(({ controls }: ControlGroup) =>
    controls.some((control) => control.name === name && control.supported),
  );
}
