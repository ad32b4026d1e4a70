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
    if (log.total === 0) return { rows: [], message: 'No VM exit yet. Those of AMD-V are not logged.' };
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
  const rows = log.exits.map((exit) => exitRow(exit, log.canGoBack));
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

function exitRow(exit: WireVmExit, canGoBack: boolean): Row {
  const { number, name, subject, source } = exit;
  const facts = [subject, place(exit), cost(exit)].filter((fact) => fact !== '');
  return {
    id: `exit/${number}`,
    label: `#${number} ${name}`,
    description: facts.join(' · '),
    tooltip: exitTooltip(exit),
    spoken: `VM exit ${number}, ${name}, ${facts.join(', ')}`,
    ...(exit.entryFailure ? { icon: 'error', color: colors.error } : { icon: 'debug-step-out' }),
    value: hex(exit.instructionAddress),
    translate: linear(exit.instructionAddress),
    ...(source === undefined ? {} : { source, click: 'ringside.openRowSource' }),
    ...(canGoBack ? { exit: number } : {}),
    children: () => factRows(exit),
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

function facts(exit: WireVmExit): [string, string][] {
  const { reason, qualification, source, vcpu, vmcs, instructions, timeNs } = exit;
  return [
    ['Exit reason', `${exit.name} (${reason})${exit.entryFailure ? ', VM-entry failure' : ''}`],
    ['Exit qualification', hex(qualification)],
    ['Guest RIP', hex(exit.rip)],
    ['Instruction at', place(exit)],
    ...(source ? [['Source', `${source.path.replace(/^.*[\\/]/, '')}:${source.line}`] as [string, string]] : []),
    ['Instructions before it', String(instructions)],
    ['Time', `${timeNs} ns`],
    ['Until the next VM entry', cost(exit)],
    ['VMCS', hex(vmcs)],
    ['vCPU', String(vcpu)],
  ];
}

const factRows = (exit: WireVmExit): Row[] =>
  facts(exit).map(([label, value], index) => ({
    id: `exit/${exit.number}/${index}`,
    label,
    description: value,
    icon: 'symbol-field',
    value,
  }));

const exitTooltip = (exit: WireVmExit): string =>
  `**VM exit ${exit.number}: ${exit.name}**\n\n${markdownTable(['', ''], facts(exit))}`;

function reasonsRow({ reasons, total, kept }: ExitLogResponse): Row {
  const byCount = [...reasons].sort((a, b) => b.count - a.count);
  return {
    id: 'reasons',
    label: 'By reason',
    description: kept === total ? counted(reasons.length, 'reason') : `of all ${total}; the last ${kept} are listed`,
    icon: 'graph',
    children: () => byCount.map((reason) => reasonRow(reason, total)),
  };
}

function reasonRow(
  { reason, name, count, roundTrips, roundTripInstructions }: ExitLogResponse['reasons'][number],
  total: number,
): Row {
  const mean = roundTrips === 0 ? '' : `${Math.round(roundTripInstructions / roundTrips)} instructions on average`;
  const share = `${Math.round((100 * count) / total)} %`;
  const description = [`${count}`, share, mean].filter((word) => word !== '').join(' · ');
  return {
    id: `reason/${reason}`,
    label: `${name} (${reason})`,
    description,
    tooltip: `**${name}** (basic exit reason ${reason})\n\n${counted(count, 'exit')}, ${share} of all. From the exit to the next VM entry: ${mean || 'not over yet'}, ${counted(roundTripInstructions, 'instruction')} in all.`,
    icon: 'symbol-enum',
    value: String(count),
  };
}
