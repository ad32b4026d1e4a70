/** #VMEXITs and VMRUNs of AMD-V as events. */
import { hex } from '../cpu/hexadecimal.ts';
import type { CpuState } from '../cpu/state.ts';
import { explainVmexit } from '../inspect/explain-vmexit.ts';
import { explainNestedFault } from '../inspect/nested-denial.ts';
import { violations } from '../svm/consistency-checks.ts';
import { ExitCode } from '../svm/exit-codes.ts';
import type { SvmExitInfo } from '../svm/exit-info.ts';
import type { VmrunInfo } from '../svm/svm.ts';
import { common, tripleFaultEvent } from './event-descriptions.ts';
import type { Host } from './host.ts';
import type { MachineEvent, StopFilter } from './machine-api.ts';

/** The filter besides `vm-exit` that exits with a code are events of. */
function svmExitFilterOf(code: number): StopFilter | undefined {
  switch (code) {
    case ExitCode.NPF:
      return 'ept-violation';
    case ExitCode.VMMCALL:
      return 'hypercall';
    case ExitCode.SHUTDOWN:
      return 'triple-fault';
    case ExitCode.INVALID:
      return 'vm-entry-failure';
    default:
      return undefined;
  }
}

/** Why the nested page tables refused the access of the last #VMEXIT. */
function nestedSentences({ svm, mmu }: Host, { info1, info2 }: SvmExitInfo): readonly string[] {
  const { nestedPaging } = svm;
  return nestedPaging ? explainNestedFault(mmu, nestedPaging, Number(info2), Number(info1 & 0xffff_ffffn)) : [];
}

/** The guest's general-purpose registers behind a #VMEXIT, until the host changes them. */
function guestRegisters({ svm, state }: Host): Pick<CpuState, 'gpr' | 'gpr32'> {
  const gpr = (index: number) => (index === 0 ? svm.guestRax : state.gpr(index));
  return { gpr, gpr32: (index) => Number(gpr(index) & 0xffff_ffffn) };
}

/** The events of one #VMEXIT: itself, and the more special ones it is. */
export function svmExitEvents(info: SvmExitInfo, host: Host): MachineEvent[] {
  const nested = () => nestedSentences(host, info);
  const explained = explainVmexit(info, guestRegisters(host), host.physical, nested);
  const values = { ...common(host), ...explained.values };
  const event = (filter: StopFilter, title: string, explanation = explained.explanation): MachineEvent => ({
    filter,
    vcpu: host.loaded,
    title,
    values,
    explanation,
  });
  const exit = event('vm-exit', explained.title);
  switch (svmExitFilterOf(info.code)) {
    case 'ept-violation':
      return [exit, event('ept-violation', `Nested page fault at guest-physical ${hex(info.info2)}`)];
    case 'hypercall':
      return [exit, event('hypercall', `Hypercall: VMMCALL with RAX = ${hex(host.svm.guestRax)}`)];
    case 'triple-fault':
      return [exit, event('triple-fault', 'Triple fault', tripleFaultEvent(host).explanation)];
    case 'vm-entry-failure':
      return [exit, event('vm-entry-failure', 'VMRUN refused: VMEXIT_INVALID', violated(host))];
    default:
      return [exit];
  }
}

const violated = ({ svm }: Host): string[] =>
  violations(svm.parts).map(({ text, fields }) => `${text} Look at ${fields.map((field) => `“${field}”`).join(', ')}.`);

function vmrunEvent({ vmcb, rip }: VmrunInfo, host: Host): MachineEvent {
  return {
    filter: 'vm-entry',
    vcpu: host.loaded,
    title: 'VM entry: VMRUN',
    values: { ...common(host), instruction: 'VMRUN', guest_rip: rip, vmcb: BigInt(vmcb) },
    explanation: [
      `VMRUN loaded the guest's state from the VMCB at ${hex(vmcb)}; the guest goes on at RIP ${hex(rip)}.`,
    ],
  };
}

/** Filters that #VMEXITs report. */
const EXIT_FILTERS: readonly StopFilter[] = [
  'vm-exit',
  'ept-violation',
  'hypercall',
  'triple-fault',
  'vm-entry-failure',
];

/** Has what is watched reported; to be called when the filters changed. */
export function tellOfSvm(
  host: Host,
  watches: (filter: StopFilter) => boolean,
  report: (event: MachineEvent) => unknown,
): void {
  const { svm } = host;
  const wanted = EXIT_FILTERS.filter(watches);
  svm.tellsOfExit = (code) => wanted.some((filter) => filter === 'vm-exit' || svmExitFilterOf(code) === filter);
  svm.onVmExit =
    wanted.length > 0
      ? (info) => {
          for (const event of svmExitEvents(info, host)) if (watches(event.filter)) report(event);
        }
      : undefined;
  svm.onVmrun = watches('vm-entry') ? (info) => void report(vmrunEvent(info, host)) : undefined;
}
