/** The VMCS view: fields grouped as in the manual, controls bit by bit, what changed since the last stop marked. */
import type { VmcsResponse, WireVmcs, WireVmcsField } from '../../debug-adapter/protocol/requests.ts';
import { colors, type Row, type View } from './row.ts';
import { counted, hex, markdownTable, ofWidth } from './text.ts';

const changedMark = { icon: 'circle-filled', color: colors.changed } as const;

/** The view with all fields, or without those that are zero. */
export const vmcsView =
  (hideZeroFields: boolean): View =>
  async (ask) => {
    const answer = await ask('ringside/vmcs', {});
    if (!answer.vmcs) return { rows: [], message: 'No VMCS is current on this vCPU. VMPTRLD makes one current.' };
    return { rows: groupRows(answer, answer.vmcs, hideZeroFields), description: headline(answer.vmcs) };
  };

const headline = ({ structure, address, launchState }: WireVmcs): string =>
  `${structure === 'VMCB' ? 'VMCB ' : ''}${hex(address)}, ${launchState}`;

function groupRows(answer: VmcsResponse, vmcs: WireVmcs, hideZeroFields: boolean): Row[] {
  const changed = new Set(answer.changed);
  const isShown = (field: WireVmcsField) => !hideZeroFields || BigInt(field.value) !== 0n || changed.has(field.name);
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
