/** Which control made the guest exit, by exit reason, from the VMCS as it is. */
import { hex } from '../cpu/hexadecimal.ts';
import { controlGroups, PRIMARY, SECONDARY } from '../vmx/controls.ts';
import type { VmExitInfo } from '../vmx/exit.ts';
import { ExitReason } from '../vmx/exit-reasons.ts';
import type { VmcsFieldName } from '../vmx/fields.ts';

type Peek = (name: VmcsFieldName) => bigint;
type Cause = (info: VmExitInfo, peek: Peek) => string;

const hasPrimary = (peek: Peek, mask: number): boolean => (Number(peek(controlGroups.primary.field)) & mask) !== 0;
const hasSecondary = (peek: Peek, mask: number): boolean =>
  hasPrimary(peek, PRIMARY['Activate secondary controls']) &&
  (Number(peek(controlGroups.secondary.field)) & mask) !== 0;

const control =
  (name: string, group = 'primary processor-based controls'): Cause =>
  () =>
    `It exits because "${name}" is 1 in the ${group}.`;
const always: Cause = ({ name }) => `${name} exits unconditionally: no control can turn that off.`;
const SECONDARY_GROUP = 'secondary processor-based controls';
const PIN_GROUP = 'pin-based controls';

const io: Cause = ({ qualification }, peek) => {
  const port = Number((qualification >> 16n) & 0xffffn);
  if (!hasPrimary(peek, PRIMARY['Use I/O bitmaps'])) {
    return 'It exits because "unconditional I/O exiting" is 1 and I/O bitmaps are not used.';
  }
  const bitmap = port < 0x8000 ? 'A' : 'B';
  const address = peek(`Address of I/O bitmap ${bitmap}`);
  return `It exits because the bit of port ${hex(port)} in I/O bitmap ${bitmap} (byte ${hex(address + BigInt((port & 0x7fff) >>> 3))}, bit ${port & 7}) is 1.`;
};

const msr: Cause = (_, peek) =>
  hasPrimary(peek, PRIMARY['Use MSR bitmaps'])
    ? `It exits because the MSR’s bit in the MSR bitmaps at ${hex(peek('Address of MSR bitmaps'))} is 1, or the MSR is outside their ranges.`
    : 'It exits because "use MSR bitmaps" is 0: then every RDMSR and WRMSR exits.';

const crAccess: Cause = ({ qualification }, peek) => {
  const register = Number(qualification & 15n);
  const type = Number((qualification >> 4n) & 3n);
  if (register === 3) {
    return type === 1
      ? 'It exits because "CR3-store exiting" is 1.'
      : 'It exits because "CR3-load exiting" is 1 and the value is not a CR3-target value.';
  }
  if (register === 8) return `It exits because "CR8-${type === 1 ? 'store' : 'load'} exiting" is 1.`;
  const name = register === 4 ? 'CR4' : 'CR0';
  const mask = peek(`${name} guest/host mask`);
  const shadow = peek(`${name} read shadow`);
  return `It exits because the write would change a bit of ${name} that the host owns (guest/host mask ${hex(mask)}) from what the guest reads of it (read shadow ${hex(shadow)}).`;
};

const exception: Cause = ({ interruptionInformation, interruptionErrorCode }, peek) => {
  const vector = interruptionInformation & 0xff;
  if (vector === 2) return 'It exits because "NMI exiting" is 1 in the pin-based controls.';
  const bit = (peek('Exception bitmap') >> BigInt(vector)) & 1n;
  if (vector !== 14) return `It exits because bit ${vector} of the exception bitmap is 1.`;
  const mask = peek('Page-fault error-code mask');
  const match = peek('Page-fault error-code match');
  const matches = (BigInt(interruptionErrorCode) & mask) === match;
  return `It exits because bit 14 of the exception bitmap is ${bit} and the error code ${hex(interruptionErrorCode)} AND the mask ${hex(mask)} is ${matches ? '' : 'not '}the match ${hex(match)}.`;
};

const shadowable: Cause = ({ name }, peek) =>
  hasSecondary(peek, SECONDARY['VMCS shadowing'])
    ? `It exits because the bit of the field in the ${name} bitmap at ${hex(peek(name === 'VMREAD' ? 'VMREAD-bitmap address' : 'VMWRITE-bitmap address'))} is 1, or the encoding has more than 15 bits.`
    : `It exits because "VMCS shadowing" is 0: then every ${name} of the guest exits.`;

const causes: Readonly<Record<number, Cause>> = {
  [ExitReason['Exception or non-maskable interrupt (NMI)']]: exception,
  [ExitReason['External interrupt']]: control('external-interrupt exiting', PIN_GROUP),
  [ExitReason['Triple fault']]: always,
  [ExitReason['Interrupt window']]: control('interrupt-window exiting'),
  [ExitReason['NMI window']]: control('NMI-window exiting'),
  [ExitReason['Task switch']]: always,
  [ExitReason.CPUID]: always,
  [ExitReason.HLT]: control('HLT exiting'),
  [ExitReason.INVD]: always,
  [ExitReason.INVLPG]: control('INVLPG exiting'),
  [ExitReason.INVPCID]: control('INVLPG exiting'),
  [ExitReason.RDPMC]: control('RDPMC exiting'),
  [ExitReason.RDTSC]: control('RDTSC exiting'),
  [ExitReason.RDTSCP]: control('RDTSC exiting'),
  [ExitReason.VMCALL]: always,
  [ExitReason['Control-register accesses']]: crAccess,
  [ExitReason['MOV DR']]: control('MOV-DR exiting'),
  [ExitReason['I/O instruction']]: io,
  [ExitReason.RDMSR]: msr,
  [ExitReason.WRMSR]: msr,
  [ExitReason.MWAIT]: control('MWAIT exiting'),
  [ExitReason.MONITOR]: control('MONITOR exiting'),
  [ExitReason.PAUSE]: (info, peek) =>
    hasPrimary(peek, PRIMARY['PAUSE exiting'])
      ? control('PAUSE exiting')(info, peek)
      : `It exits because a loop of PAUSEs, no two of them more than ${peek('PLE_Gap')} apart, has taken longer than ${peek('PLE_Window')} units of the TSC ("PAUSE-loop exiting").`,
  [ExitReason['Access to GDTR or IDTR']]: control('descriptor-table exiting', SECONDARY_GROUP),
  [ExitReason['Access to LDTR or TR']]: control('descriptor-table exiting', SECONDARY_GROUP),
  [ExitReason['EPT violation']]: (_, peek) =>
    `It exits because "enable EPT" is 1 and the tables at EPTP ${hex(peek('EPT pointer'))} do not allow the access.`,
  [ExitReason['EPT misconfiguration']]: (_, peek) =>
    `It exits because an entry of the tables at EPTP ${hex(peek('EPT pointer'))} is not legal.`,
  [ExitReason['WBINVD or WBNOINVD']]: control('WBINVD exiting', SECONDARY_GROUP),
  [ExitReason.XSETBV]: always,
  [ExitReason['Monitor trap flag']]: (info, peek) =>
    hasPrimary(peek, PRIMARY['Monitor trap flag'])
      ? control('monitor trap flag')(info, peek)
      : 'It exits because VM entry injected a pending MTF VM exit (type 7).',
  [ExitReason['VMX-preemption timer expired']]: control('activate VMX-preemption timer', PIN_GROUP),
  [ExitReason['TPR below threshold']]: (_, peek) =>
    `It exits because the virtual task priority (bits 7:4 at 80H of the virtual-APIC page at ${hex(peek('Virtual-APIC address'))}) is below the TPR threshold, ${peek('TPR threshold')}.`,
  [ExitReason['APIC access']]: (_, peek) =>
    `It exits because "virtualize APIC accesses" is 1, the access is to the APIC-access page at ${hex(peek('APIC-access address'))}, and the other controls do not virtualize it.`,
  [ExitReason['Virtualized EOI']]: ({ qualification }) =>
    `It exits because the bit of vector ${hex(qualification)} in the EOI-exit bitmaps is 1.`,
  [ExitReason['APIC write']]: (_, peek) =>
    `It exits because the controls have the register written in the virtual-APIC page at ${hex(peek('Virtual-APIC address'))}, but not its effects carried out.`,
  [ExitReason['Page-modification log full']]: (_, peek) =>
    `It exits because a dirty flag of EPT was to be set and logged ("enable PML"), and the PML index, ${hex(peek('PML index'))}, is beyond the 512 entries.`,
  [ExitReason['SPP-related event']]: (_, peek) =>
    `It exits because "sub-page write permissions for EPT" is 1, the EPT entry asks for them, and the table at ${hex(peek('Sub-page-permission-table pointer'))} does not answer.`,
  [ExitReason.VMREAD]: shadowable,
  [ExitReason.VMWRITE]: shadowable,
  [ExitReason.VMFUNC]: (_, peek) =>
    `It exits because the function in EAX is not enabled (VM-function controls ${hex(peek('VM-function controls'))}), or ECX names no valid EPTP of the list at ${hex(peek('EPTP-list address'))}.`,
  [ExitReason.RDRAND]: control('RDRAND exiting', SECONDARY_GROUP),
  [ExitReason.RDSEED]: control('RDSEED exiting', SECONDARY_GROUP),
};

for (const name of [
  'VMCLEAR',
  'VMLAUNCH',
  'VMPTRLD',
  'VMPTRST',
  'VMRESUME',
  'VMXOFF',
  'VMXON',
  'INVEPT',
  'INVVPID',
] as const) {
  (causes as Record<number, Cause>)[ExitReason[name]] = always; // biome-ignore format: one list
}

/** A sentence that names the control responsible; undefined where there is none to name. */
export function exitCause(info: VmExitInfo, peek: Peek): string | undefined {
  return info.entryFailure ? undefined : causes[info.reason]?.(info, peek);
}
