/** The VMCS view: fields grouped as in the manual, controls bit by bit, what changed since the last stop marked. */
import type {
  VmcsDifference,
  VmcsResponse,
  WireEntryCheck,
  WireViolatedRule,
  WireVmcs,
  WireVmcsField,
  WireVmcsSummary,
} from '../../debug-adapter/protocol/requests.ts';
import { type Ask, colors, type Row, type View } from './row.ts';
import { cell, counted, hex, markdownTable, ofWidth } from './text.ts';

const changedMark = { icon: 'circle-filled', color: colors.changed } as const;

/** Which VMCS is shown, and beside what. */
export interface VmcsShown {
  /** Of a VMCS; the current one without it. */
  readonly address?: string | undefined;
  /** The VM exit since which differences are shown. */
  readonly since?: number | undefined;
}

/** The view with all fields, or without those that are zero. */
export const vmcsView =
  (hideZeroFields: boolean, { address, since }: VmcsShown = {}): View =>
  async (ask) => {
    const which = address === undefined ? {} : { address };
    const [answer, { vmcss }] = await Promise.all([ask('ringside/vmcs', which), ask('ringside/vmcsList', {})]);
    const { vmcs } = answer;
    const list = vmcss.length === 0 ? [] : [listRow(vmcss, vmcs)];
    if (!vmcs)
      return {
        rows: list,
        message: 'No VMCS is current on this vCPU. VMPTRLD makes one current; of AMD-V, VMRUN names the VMCB.',
      };
    const check = address === undefined ? await ask('ringside/checkVmEntry', {}) : undefined;
    const compared = since === undefined ? [] : [await comparedRow(since, which, ask)];
    return {
      rows: [
        ...list,
        ...(check?.vmcs === undefined ? [] : [checkRow(check)]),
        ...compared,
        ...groupRows(answer, vmcs, hideZeroFields, check).map(address === undefined ? same : readOnly),
      ],
      description: headline(vmcs),
      ...(address === undefined
        ? {}
        : { message: `The ${vmcs.structure} at ${hex(address)}, which was picked from the list.` }),
    };
  };

const same = (row: Row): Row => row;

/** Only fields of the current VMCS can be edited. */
function readOnly({ field: _, children, ...row }: Row): Row {
  return { ...row, ...(children && { children: async () => (await children()).map(readOnly) }) };
}

/** What would become of a VM entry now; each rule that is broken leads to its field. */
function checkRow({ instruction, isPossible, outcome, violated }: WireEntryCheck): Row {
  const isWrong = !isPossible && violated.length > 0;
  const broken = `${counted(violated.length, 'rule')} broken`;
  return {
    id: 'check',
    label: `${instruction} now`,
    description: isWrong ? broken : isPossible ? 'passes all checks' : 'not possible',
    tooltip: `**${instruction}**, if it came now\n\n${outcome}`,
    spoken: `${instruction} now: ${isWrong ? `${broken}. ` : ''}${outcome}`,
    ...(isWrong ? { icon: 'error', color: colors.error } : { icon: isPossible ? 'pass' : 'circle-slash' }),
    expanded: isWrong,
    ...(violated.length === 0 ? {} : { children: () => violated.map(ruleRow) }),
  };
}

function ruleRow({ id, fields, text, manual, section }: WireViolatedRule): Row {
  const [field] = fields;
  const values = fields.map(({ name, value }) => `${name} = ${hex(value)}`).join(', ');
  return {
    id: `check/${id}`,
    label: values,
    description: text,
    tooltip: `**${cell(values)}**\n\n${cell(text)}\n\n${manual}, “${cell(section)}”`,
    spoken: `${values}. ${text}`,
    icon: 'error',
    color: colors.error,
    value: `${values}. ${text}`,
    ...(field && { reveals: field, click: 'ringside.vmcs.showField' }),
  };
}

function listRow(vmcss: readonly WireVmcsSummary[], shown: WireVmcs | undefined): Row {
  const isVmcb = vmcss.some(({ structure }) => structure === 'VMCB');
  return {
    id: 'vmcss',
    label: isVmcb ? 'All VMCBs' : 'All VMCSs',
    description: String(vmcss.length),
    tooltip: isVmcb ? 'Every VMCB that VMRUN has named.' : 'Every VMCS that VMCLEAR or VMPTRLD has named.',
    icon: 'files',
    children: () => vmcss.map((vmcs) => summaryRow(vmcs, vmcs.address === shown?.address)),
  };
}

function summaryRow(
  { structure, address, launchState, currentOn, isShadow, hasRevision }: WireVmcsSummary,
  isShown: boolean,
): Row {
  const words = [
    launchState,
    currentOn.length === 0 ? '' : `${structure === 'VMCB' ? 'last' : 'current'} on vCPU ${currentOn.join(', ')}`,
    isShadow ? 'shadow' : '',
    hasRevision ? '' : 'no revision identifier: overwritten',
  ].filter((word) => word !== '');
  return {
    id: `vmcss/${address}`,
    label: hex(address),
    description: words.join(' · '),
    spoken: `${structure} at ${hex(address)}, ${words.join(', ')}${isShown ? ', shown below' : ''}`,
    ...(hasRevision ? { icon: isShown ? 'eye' : 'file-binary' } : { icon: 'warning', color: colors.warning }),
    value: hex(address),
    memory: `hpa:${hex(address)}`,
    vmcs: address,
    click: 'ringside.vmcs.show',
  };
}

/** What has changed since an exit; where that cannot be found out any more, why. */
async function comparedRow(since: number, which: { readonly address?: string }, ask: Ask): Promise<Row> {
  const row = { id: `since/${since}`, label: `Since VM exit #${since}` };
  try {
    const { differences } = await ask('ringside/compareVmcs', { ...which, exit: since });
    const children = () => differences.map((difference) => differenceRow(row.id, difference));
    const description =
      differences.length === 0 ? 'no field differs' : `${counted(differences.length, 'field')} changed`;
    return { ...row, description, icon: 'diff', expanded: true, ...(differences.length === 0 ? {} : { children }) };
  } catch (error) {
    const description = error instanceof Error ? error.message : String(error);
    return { ...row, description, icon: 'warning', color: colors.warning };
  }
}

function differenceRow(id: string, { field, group, before, now }: VmcsDifference): Row {
  return {
    id: `${id}/${field}`,
    label: field,
    description: `${hex(before)} → ${hex(now)}`,
    tooltip: `**${field}** (${group})\n\n${markdownTable(['then', 'now'], [[hex(before), hex(now)]])}`,
    spoken: `${field}, then ${hex(before)}, now ${hex(now)}`,
    ...changedMark,
    value: hex(now),
    field,
  };
}

const headline = ({ structure, address, launchState }: WireVmcs): string =>
  `${structure === 'VMCB' ? 'VMCB ' : ''}${hex(address)}, ${launchState}`;

function groupRows(answer: VmcsResponse, vmcs: WireVmcs, hideZeroFields: boolean, check?: WireEntryCheck): Row[] {
  const changed = new Set(answer.changed);
  const violated = new Set(check?.violated.flatMap(({ fields }) => fields.map(({ name }) => name)));
  const isShown = ({ name, value }: WireVmcsField) =>
    !hideZeroFields || BigInt(value) !== 0n || changed.has(name) || violated.has(name);
  const groups = new Map<string, WireVmcsField[]>();
  for (const field of vmcs.fields.filter(isShown)) {
    const group = groups.get(field.group);
    if (group) group.push(field);
    else groups.set(field.group, [field]);
  }
  return [...groups].map(([group, fields]) => groupRow(group, fields, changed));
}

function groupRow(group: string, fields: readonly WireVmcsField[], changed: ReadonlySet<string>): Row {
  const marked = fields.filter(({ name }) => changed.has(name)).length;
  return {
    id: group,
    label: group,
    description: marked === 0 ? String(fields.length) : `${fields.length}, ${marked} changed`,
    spoken: `${group}, ${counted(fields.length, 'field')}${marked === 0 ? '' : `, ${marked} changed since the last stop`}`,
    ...(marked === 0 ? { icon: 'list-unordered' } : changedMark),
    children: () => fields.map((field) => fieldRow(field, changed.has(field.name))),
  };
}

function fieldRow(field: WireVmcsField, isChanged: boolean): Row {
  const value = ofWidth(field.value, field.widthBits);
  const words = [hex(field.value), inWords(field.parts), isChanged ? 'changed' : ''].filter((word) => word !== '');
  return {
    id: `${field.group}/${field.name}`,
    label: field.name,
    description: words.join(' · '),
    tooltip: fieldTooltip(field, value),
    spoken: `${field.name}, ${hex(field.value)}${isChanged ? ', changed since the last stop' : ''}`,
    ...(isChanged ? changedMark : { icon: 'symbol-field' }),
    value,
    field: field.name,
    watch: `vmcs:${field.name}`,
    ...(field.parts.length === 0 ? {} : { children: () => field.parts.map((part, at) => partRow(field, part, at)) }),
  };
}

/** Parts whose description is the name of their value: of 48 "EPT violation". */
const enumerated = new Set(['basic exit reason', 'memory type', 'type']);

/** The bits that are set by name, the other parts that are not zero with their values. */
function inWords(parts: WireVmcsField['parts']): string {
  const word = ({ name, value, description }: WireVmcsField['parts'][number]) => {
    if (enumerated.has(name)) return `${description} (${value})`;
    return value === '1' ? name : `${name}: ${value}`;
  };
  return parts
    .filter(({ value }) => value !== '0')
    .map(word)
    .join(', ');
}

function fieldTooltip(field: WireVmcsField, value: string): string {
  const facts = markdownTable(
    ['encoding', 'width', 'value'],
    [[hex(field.encoding, 8), `${field.widthBits} bits`, value]],
  );
  return `**${field.name}**\n\n${field.description}\n\n${facts}`;
}

function partRow(field: WireVmcsField, part: WireVmcsField['parts'][number], at: number): Row {
  const icons: Readonly<Record<string, string>> = { 0: 'circle-large-outline', 1: 'pass-filled' };
  return {
    id: `${field.group}/${field.name}/${at}`,
    label: part.name,
    description: part.value,
    tooltip: `**${part.name}** = ${part.value}\n\n${part.description}`,
    icon: icons[part.value] ?? 'symbol-number',
    ...(part.value === '0' ? { color: colors.off } : {}),
    value: part.value,
  };
}
