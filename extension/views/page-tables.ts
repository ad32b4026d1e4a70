/** The page tables view: the guest's and EPT's paging structures as trees, read level by level as they are opened. */
import type { PageTablesResponse, WirePagingNode, WirePagingTable } from '../../debug-adapter/protocol/requests.ts';
import { type Ask, colors, type Row, type View } from './row.ts';
import { bytes, hex, linear, markdownTable } from './text.ts';

type Kind = 'guest' | 'ept';
type DecodedEntry = NonNullable<WirePagingNode['entry']>;

export const pageTablesView: View = async (ask) => {
  const [guest, ept] = await Promise.all([
    ask('ringside/pageTables', { kind: 'guest' }),
    ask('ringside/pageTables', { kind: 'ept' }),
  ]);
  return { rows: [rootRow(ask, 'guest', guest), rootRow(ask, 'ept', ept)] };
};

function rootRow(ask: Ask, kind: Kind, { tree, table, nodes, reason }: PageTablesResponse): Row {
  const common = { id: kind, label: tree, icon: 'list-tree' };
  if (!table) return { ...common, description: reason ?? 'none', color: colors.off };
  const place = table.depth < 0 ? 'PDPTE registers' : hex(table.address);
  return {
    ...common,
    description: reason === undefined ? place : `${place} · ${reason}`,
    value: place,
    expanded: true,
    ...memoryOf(table),
    children: () => nodes.map((node) => nodeRow(ask, kind, kind, node)),
  };
}

function memoryOf({ structure, depth, address }: WirePagingTable): Partial<Row> {
  return depth < 0 ? {} : { memory: `${structure === 'guest' ? 'gpa' : 'hpa'}:${hex(address)}` };
}

function nodeRow(ask: Ask, kind: Kind, parent: string, node: WirePagingNode): Row {
  if (node.kind === 'empty') return emptyRow(parent, node);
  if (node.kind === 'unreadable' || !node.entry) return unreadableRow(parent, node);
  return entryRow(ask, kind, parent, node, node.entry);
}

const covered = ({ first, last }: WirePagingNode): string => `${linear(first)}–${linear(last)}`;

function emptyRow(parent: string, node: WirePagingNode): Row {
  const { firstIndex, lastIndex, level } = node;
  const range = firstIndex === lastIndex ? `${firstIndex}` : `${firstIndex}–${lastIndex}`;
  return {
    id: `${parent}/empty${firstIndex}`,
    label: `${level} ${range}`,
    description: `not present · ${covered(node)}`,
    icon: 'circle-large-outline',
    color: colors.off,
  };
}

function unreadableRow(parent: string, { reason }: WirePagingNode): Row {
  return {
    id: `${parent}/unreadable`,
    label: 'cannot be read',
    description: reason ?? '',
    icon: 'error',
    color: colors.error,
  };
}

function entryRow(ask: Ask, kind: Kind, parent: string, node: WirePagingNode, entry: DecodedEntry): Row {
  const id = `${parent}/${node.firstIndex}`;
  const { table } = node;
  return {
    id,
    label: `${node.level} ${node.firstIndex}`,
    description: entrySummary(node, entry),
    tooltip: entryTooltip(node, entry),
    icon: table ? 'list-tree' : 'file',
    value: entry.value,
    ...placeOf(node, entry),
    ...(kind === 'guest' ? { translate: linear(node.first) } : {}),
    ...(table ? { children: () => tableRows(ask, kind, id, table) } : {}),
  };
}

/** Where the entry itself lies. */
function placeOf({ guestPhysical, hostPhysical }: WirePagingNode, { valueBytes }: DecodedEntry): Partial<Row> {
  const address = guestPhysical ?? hostPhysical;
  if (address === undefined) return {};
  const space = guestPhysical === undefined ? 'hpa' : 'gpa';
  const width = valueBytes === 4 ? 'dword' : 'qword';
  return { memory: `${space}:${hex(address)}`, watch: `${width} ${space}:[${hex(address)}]` };
}

/** The flags that are set, by name; EPT's memory type with its number. */
export function setFlags({ flags }: DecodedEntry): string {
  const set = flags.filter(({ value }) => value !== 0);
  return set.map(({ name, value }) => (value > 1 ? `${name}=${value}` : name)).join(' ');
}

function entrySummary(node: WirePagingNode, entry: DecodedEntry): string {
  const leadsTo = entry.target === undefined ? 'nothing' : hex(entry.target);
  const what = entry.maps === 'page' ? `${bytes(entry.coversBytes)} page ` : '';
  return `${covered(node)} → ${what}${leadsTo} · ${setFlags(entry)}`;
}

function entryTooltip(node: WirePagingNode, entry: DecodedEntry): string {
  const flags = entry.flags.map(({ name, value, doc }) => [name, String(value), doc]);
  const lines = [
    `**${node.level} ${node.firstIndex}** = \`${hex(entry.value, 2 * entry.valueBytes)}\``,
    `Translates ${covered(node)}, ${bytes(entry.coversBytes)}.`,
    markdownTable(['flag', 'value', 'meaning'], flags),
  ];
  return lines.join('\n\n');
}

async function tableRows(ask: Ask, kind: Kind, parent: string, table: WirePagingTable): Promise<Row[]> {
  const { nodes } = await ask('ringside/pageTables', { kind, table });
  return nodes.map((node) => nodeRow(ask, kind, parent, node));
}
