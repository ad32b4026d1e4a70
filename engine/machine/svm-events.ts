/** #VMEXITs and VMRUNs of AMD-V as events. */
import { violations } from '../svm/consistency-checks.ts';
import { ExitCode, exitCode, FirstCode } from '../svm/exit-codes.ts';
import type { SvmExitInfo } from '../svm/exit-info.ts';
import { explainExitInformation } from '../svm/exit-information.ts';
import type { VmrunInfo } from '../svm/svm.ts';
import { common, hex, tripleFaultEvent } from './event-descriptions.ts';
import type { Host } from './host.ts';
import type { MachineEvent, StopFilter } from './machine-api.ts';

const PORT_SHIFT = 16n;

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

/** Values that conditions may use. */
function exitValues(info: SvmExitInfo): Record<string, bigint | string> {
  const { code, name, info1, info2, intInfo, rip, nextRip, vmcb } = info;
  const values: Record<string, bigint | string> = {
    reason: BigInt.asUintN(64, BigInt(code)),
    reason_name: name,
    exit_info_1: info1,
    exit_info_2: info2,
    exit_int_info: intInfo,
    guest_rip: rip,
    next_rip: nextRip,
    vmcb: BigInt(vmcb),
  };
  if (code === ExitCode.NPF) values.guest_physical = info2;
  if (code === ExitCode.IOIO) values.port = (info1 >> PORT_SHIFT) & 0xffffn;
  if (code >= FirstCode.exception && code < FirstCode.exception + 32)
    values.vector = BigInt(code - FirstCode.exception);
  return values;
}

function explain({ code, info1, info2, rip, nextRip, intInfo }: SvmExitInfo): string[] {
  const parts = (which: 1 | 2, value: bigint) =>
    explainExitInformation(code, which, value).map(
      ([name, shown, doc]) => `EXITINFO${which}: ${name} = ${shown}. ${doc}`,
    );
  const row = exitCode(code);
  return [
    ...(row ? [`At RIP ${hex(rip)}: ${row.doc}`] : []),
    ...(row?.intercept ? [`Intercepted by bit ${row.intercept.bit} of “${row.intercept.field}” of the VMCB.`] : []),
    ...parts(1, info1),
    ...parts(2, info2),
    ...(intInfo === 0n ? [] : ['It interrupted the delivery of the event in EXITINTINFO.']),
    ...(row?.isInstruction
      ? [`The guest RIP is still that of the instruction; the next one is at ${hex(nextRip)} (nRIP).`]
      : []),
  ];
}

/** The events of one #VMEXIT: itself, and the more special ones it is. */
function svmExitEvents(info: SvmExitInfo, host: Host): MachineEvent[] {
  const values = { ...common(host), ...exitValues(info) };
  const event = (filter: StopFilter, title: string, explanation: readonly string[] = explain(info)): MachineEvent => ({
    filter,
    vcpu: host.loaded,
    title,
    values,
    explanation,
  });
  const exit = event('vm-exit', `VM exit: ${info.name} (${hex(info.code)})`);
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
