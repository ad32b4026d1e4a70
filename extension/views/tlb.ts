/** The TLB view: every entry with its tags, and a mark on those that a fresh walk would contradict. */
import type { WireTlbEntry } from '../../debug-adapter/protocol/requests.ts';
import { colors, type Row, type View } from './row.ts';
import { bytes, counted, hex, linear, markdownTable } from './text.ts';

const kinds = [
  ['linear', 'Linear mappings', 'linear address to physical address, from the guest’s page tables alone'],
  ['combined', 'Combined mappings', 'linear address to host-physical address, from the guest’s page tables and EPT'],
  ['guest-physical', 'Guest-physical mappings', 'guest-physical address to host-physical address, from EPT'],
  [
    'paging-structure',
    'Paging-structure entries',
    'where walks begin: an entry that references a table, with all above it',
  ],
] as const;

/** So many entries of a kind are shown at once; more only when opened. */
const openAtMost = 64;

export const tlbView: View = async (ask) => {
  const { entries } = await ask('ringside/tlb', {});
  if (entries.length === 0) return { rows: [], message: 'The TLB holds no entry.' };
  const stale = entries.filter((entry) => entry.stale).length;
  const count = counted(entries.length, 'entry', 'entries');
  return { rows: kindRows(entries), description: stale === 0 ? count : `${count}, ${stale} stale` };
};

function kindRows(entries: readonly WireTlbEntry[]): Row[] {
  return kinds.flatMap(([kind, label, meaning]) => {
    const own = entries.filter((entry) => entry.kind === kind).sort(staleFirst);
    if (own.length === 0) return [];
    const stale = own.filter((entry) => entry.stale).length;
    return {
      id: kind,
      label,
      description: stale === 0 ? String(own.length) : `${own.length}, ${stale} stale`,
      tooltip: `**${label}**: ${meaning}`,
      ...(stale === 0 ? { icon: 'layers' } : { icon: 'warning', color: colors.warning }),
      expanded: own.length <= openAtMost || stale > 0,
      children: () => own.map(entryRow),
    };
  });
}

function staleFirst(a: WireTlbEntry, b: WireTlbEntry): number {
  const [first, second] = [a.stale ? 0 : 1, b.stale ? 0 : 1];
  if (first !== second) return first - second;
  return BigInt.asUintN(64, BigInt(a.page)) < BigInt.asUintN(64, BigInt(b.page)) ? -1 : 1;
}

const isLinear = ({ kind }: WireTlbEntry): boolean => kind !== 'guest-physical';
const pageOf = (entry: WireTlbEntry): string => (isLinear(entry) ? linear(entry.page) : hex(entry.page));

/** `RWXU`-style letters, a dash for what is denied. */
export function rightsLetters(rights: WireTlbEntry['rights']): string {
  const letter = (name: string, allowed: boolean) => (allowed ? name : '-');
  const user = rights.user === undefined ? '' : letter('U', rights.user);
  return letter('R', rights.read) + letter('W', rights.write) + letter('X', rights.execute) + user;
}

/** The tags that decide who may use the entry. */
function tags({ global, vpid, pcid, eptrta }: WireTlbEntry): string {
  return [
    global ? 'global' : '',
    vpid === undefined ? '' : `VPID ${vpid}`,
    pcid === undefined ? '' : `PCID ${pcid}`,
    eptrta === undefined ? '' : `EPTRTA ${hex(eptrta)}`,
  ]
    .filter((tag) => tag !== '')
    .join(' ');
}

function entryRow(entry: WireTlbEntry): Row {
  const summary = [
    `${entry.level === undefined ? '' : `${entry.level} `}→ ${hex(entry.physical)}`,
    bytes(entry.pageBytes),
    rightsLetters(entry.rights) + (entry.dirty ? ' D' : ''),
    tags(entry),
  ].join(' · ');
  return {
    id: `${entry.kind}/${entry.slot}`,
    label: pageOf(entry),
    description: entry.stale ? `stale: ${entry.stale.reason} · ${summary}` : summary,
    tooltip: entryTooltip(entry),
    spoken: `${entry.stale ? `Warning, stale entry, ${entry.stale.reason}: ` : ''}${pageOf(entry)} ${summary}`,
    ...entryIcon(entry),
    value: hex(entry.physical),
    memory: `${entry.level === undefined ? 'hpa' : 'gpa'}:${hex(entry.physical)}`,
    ...(isLinear(entry) ? { translate: linear(entry.page) } : {}),
  };
}

function entryIcon(entry: WireTlbEntry): Partial<Row> {
  if (entry.stale) return { icon: 'warning', color: colors.warning };
  if (entry.unknown !== undefined) return { icon: 'question' };
  return entry.usable ? { icon: 'symbol-array' } : { icon: 'symbol-array', color: colors.off };
}

function entryTooltip(entry: WireTlbEntry): string {
  const verdict = entry.stale
    ? `**Stale: ${entry.stale.reason}.** The CPU may use this entry until it is invalidated (INVLPG, MOV to CR3, INVVPID, INVEPT …).`
    : entry.unknown === undefined
      ? 'A walk made now gives the same.'
      : `Whether a walk would give the same is not known: ${entry.unknown}.`;
  const usable = entry.usable
    ? 'The current context can use it.'
    : 'The current context cannot use it: its tags differ.';
  const facts = [
    ['page', pageOf(entry)],
    ...places(entry),
    ['rights', rightsLetters(entry.rights)],
    ['dirty', entry.dirty ? 'yes' : 'no'],
    ['tags', tags(entry)],
  ];
  return `${verdict}\n\n${usable}\n\n${markdownTable(['', ''], facts)}`;
}

/** Where the entry leads, and what it covers. */
function places({ level, physical, pageBytes, guestPageBytes }: WireTlbEntry): [string, string][] {
  if (level !== undefined)
    return [
      [`table of the ${level}`, hex(physical)],
      ['covers', bytes(pageBytes)],
    ];
  return [
    ['host-physical', hex(physical)],
    ['size', `${bytes(pageBytes)}, of a page of ${bytes(guestPageBytes)}`],
  ];
}
