/** The VM Exits view: the last exits, newest first, and what all of them cost by reason. */
import type { ExitLogResponse, WireVmExit } from '../../debug-adapter/protocol/requests.ts';
import { type Ask, colors, type Row, type View } from './row.ts';
import { counted, hex, linear, markdownTable } from './text.ts';

/** So many exits are shown at once; older ones when asked for. */
const PAGE = 100;

/** The view with all exits, or with those of some basic exit reasons. */
export const exitsView =
  (reasons: readonly number[] = []): View =>
  async (ask) => {
    const log = await ask('ringside/exitLog', query(reasons));
    if (log.total === 0) return { rows: [], message: 'No VM exit yet.' };
    const names = log.reasons.filter(({ reason }) => reasons.includes(reason)).map(({ name }) => name);
    return {
      rows: [reasonsRow(log), ...exitRows(log, reasons, ask)],
      description: counted(log.total, 'exit'),
      ...(reasons.length === 0 ? {} : { message: `Only ${names.join(', ') || 'reasons that did not occur'}.` }),
    };
  };

const query = (reasons: readonly number[], before?: number) => ({
  limit: PAGE,
  ...(reasons.length === 0 ? {} : { reasons }),
  ...(before === undefined ? {} : { before }),
});

function exitRows(log: ExitLogResponse, reasons: readonly number[], ask: Ask): Row[] {
  const rows = log.exits.map((exit) => exitRow(exit, log));
  const last = log.exits.at(-1);
  if (!log.hasMore || !last) return rows;
  const older: Row = {
    id: `older/${last.number}`,
    label: 'Older exits',
    description: `before #${last.number}`,
    icon: 'ellipsis',
    children: async () => exitRows(await ask('ringside/exitLog', query(reasons, last.number)), reasons, ask),
  };
  return [...rows, older];
}

function exitRow(exit: WireVmExit, { canGoBack, structure }: ExitLogResponse): Row {
  const { number, name, subject, source } = exit;
  const facts = [levels(exit), subject, place(exit), cost(exit)].filter((fact) => fact !== '');
  return {
    id: `exit/${number}`,
    label: `#${number} ${name}`,
    description: facts.join(' · '),
    tooltip: exitTooltip(exit, structure),
    spoken: `VM exit ${number}, ${name}, ${facts.join(', ')}`,
    ...(exit.entryFailure ? { icon: 'error', color: colors.error } : { icon: 'debug-step-out' }),
    value: hex(exit.instructionAddress),
    translate: linear(exit.instructionAddress),
    ...(source === undefined ? {} : { source, click: 'ringside.openRowSource' }),
    ...(canGoBack ? { exit: number } : {}),
    children: () => factRows(exit, structure),
  };
}

const place = ({ symbol, instructionAddress }: WireVmExit): string =>
  symbol === undefined ? linear(instructionAddress) : `${symbol} (${linear(instructionAddress)})`;

/** What it took until the guest ran again. */
function cost({ roundTrip }: WireVmExit): string {
  if (!roundTrip) return 'not entered again';
  const waited = roundTrip.waitedNs === 0 ? '' : `, waited ${roundTrip.waitedNs} ns`;
  return `${counted(roundTrip.instructions, 'instruction')}${waited}`;
}

/** Of a guest's guest: who has it. Others are told by their VMCS. */
const levels = ({ levels }: WireVmExit): string => (levels?.from === 'L2' ? `L2 → ${levels.to}` : '');

type Structure = ExitLogResponse['structure'];

/** Exit codes of AMD-V are written in hexadecimal. */
const codeText = (reason: number, structure: Structure): string =>
  structure === 'VMCB' ? hex(reason) : String(reason);

function facts(exit: WireVmExit, structure: Structure): [string, string][] {
  const { information, source, vcpu, vmcs, instructions, timeNs } = exit;
  return [
    [structure === 'VMCB' ? 'EXITCODE' : 'Exit reason', reasonText(exit, structure)],
    ...information.map(({ name, value }): [string, string] => [name, hex(value)]),
    ['Guest RIP', hex(exit.rip)],
    ['Instruction at', place(exit)],
    ...(source ? [['Source', `${source.path.replace(/^.*[\\/]/, '')}:${source.line}`] as [string, string]] : []),
    ...(exit.levels ? [['Left', exit.levels.from] as const, ['Handled by', exit.levels.to] as const] : []).map(
      ([label, value]): [string, string] => [label, value],
    ),
    ['Instructions before it', String(instructions)],
    ['Time', `${timeNs} ns`],
    ['Until the next VM entry', cost(exit)],
    [structure, hex(vmcs)],
    ['vCPU', String(vcpu)],
  ];
}

const reasonText = ({ name, reason, entryFailure }: WireVmExit, structure: Structure): string =>
  `${name} (${codeText(reason, structure)})${entryFailure ? ', VM-entry failure' : ''}`;

const factRows = (exit: WireVmExit, structure: Structure): Row[] =>
  facts(exit, structure).map(([label, value], index) => ({
    id: `exit/${exit.number}/${index}`,
    label,
    description: value,
    icon: 'symbol-field',
    value,
  }));

const exitTooltip = (exit: WireVmExit, structure: Structure): string =>
  `**VM exit ${exit.number}: ${exit.name}**\n\n${markdownTable(['', ''], facts(exit, structure))}`;

function reasonsRow({ reasons, total, kept, structure }: ExitLogResponse): Row {
  const byCount = [...reasons].sort((a, b) => b.count - a.count);
  return {
    id: 'reasons',
    label: 'By reason',
    description: kept === total ? counted(reasons.length, 'reason') : `of all ${total}; the last ${kept} are listed`,
    icon: 'graph',
    children: () => byCount.map((reason) => reasonRow(reason, total, structure)),
  };
}

function reasonRow(
  { reason, name, count, roundTrips, roundTripInstructions }: ExitLogResponse['reasons'][number],
  total: number,
  structure: Structure,
): Row {
  const mean = roundTrips === 0 ? '' : `${Math.round(roundTripInstructions / roundTrips)} instructions on average`;
  const code = codeText(reason, structure);
  const share = `${Math.round((100 * count) / total)} %`;
  const description = [`${count}`, share, mean].filter((word) => word !== '').join(' · ');
  return {
    id: `reason/${reason}`,
    label: `${name} (${code})`,
    description,
    tooltip: `**${name}** (${structure === 'VMCB' ? 'exit code' : 'basic exit reason'} ${code})\n\n${counted(count, 'exit')}, ${share} of all. From the exit to the next VM entry: ${mean || 'not over yet'}, ${counted(roundTripInstructions, 'instruction')} in all.`,
    icon: 'symbol-enum',
    value: String(count),
  };
}
