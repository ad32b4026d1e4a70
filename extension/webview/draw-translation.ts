/** Draws the answer of the Translation panel. */
import type { TranslateResponse, WireTranslation } from '../../debug-adapter/protocol/requests.ts';
import { bytes, hex } from '../views/text.ts';
import { h } from './dom.ts';
import type { ToPanel } from './messages.ts';
import { faultBits, type Stage, stages, type WalkRow, type WalkSection, walkSections } from './walk-table.ts';

type ShowMemory = (reference: string) => void;

export const drawNotice = (text: string, kind: 'notice' | 'error'): HTMLElement =>
  h('p', { class: kind, role: kind === 'error' ? 'alert' : undefined }, text);

export function drawAnswer(message: Extract<ToPanel, { kind: 'answer' }>, showMemory: ShowMemory): HTMLElement[] {
  const { translation } = message.answer;
  const cached = staleWarning(translation);
  return [
    drawStages(message.answer, showMemory),
    ...(cached ? [cached] : []),
    h(
      'div',
      { class: 'columns' },
      drawWalk(translation, showMemory),
      h('div', { class: 'facts' }, drawRights(translation), drawFacts(message.vcpu, message.answer)),
    ),
  ];
}

/** An address; its memory opens on a click, if it has any. */
function address(text: string, reference: string | undefined, showMemory: ShowMemory): HTMLElement {
  if (reference === undefined) return h('code', {}, text);
  const title = `Show memory at ${reference}`;
  return h('button', { type: 'button', class: 'address', title, click: () => showMemory(reference) }, text);
}

function drawStages({ translation, symbol, memoryReferences }: TranslateResponse, showMemory: ShowMemory): HTMLElement {
  const drawn = stages(translation, memoryReferences).map((stage, at) =>
    drawStage(stage, at === 0 ? symbol : undefined, showMemory),
  );
  const bits = faultBits(translation.result);
  const explained = bits.length > 0 && h('li', { class: 'bits' }, h('ul', {}, ...bits.map((bit) => h('li', {}, bit))));
  return h('ol', { class: 'stages', 'aria-label': 'Translation' }, ...drawn, explained);
}

function drawStage(stage: Stage, symbol: string | undefined, showMemory: ShowMemory): HTMLElement {
  return h(
    'li',
    { class: stage.fault ? 'stage fault' : 'stage' },
    h('span', { class: 'name' }, stage.name),
    stage.fault ? h('span', {}, stage.address) : address(stage.address, stage.reference, showMemory),
    symbol !== undefined && h('span', { class: 'symbol' }, symbol),
  );
}

function staleWarning({ cached }: WireTranslation): HTMLElement | undefined {
  if (!cached?.stale) return undefined;
  const used = `The CPU uses a stale TLB entry instead, to ${hex(cached.physical)}: ${cached.stale.reason}.`;
  return h('p', { class: 'warning', role: 'alert' }, used);
}

function drawFacts(vcpu: number, { translation }: TranslateResponse): HTMLElement {
  const { pagingMode, root, eptp, pageBytes, memoryType, cached } = translation;
  const facts: [string, string | undefined][] = [
    ['vCPU', String(vcpu)],
    ['Paging', pagingMode],
    ['Root table', translation.steps.length === 0 ? undefined : hex(root)],
    ['EPTP', eptp === undefined ? undefined : hex(eptp)],
    ['Page size', pageBytes && sizes(pageBytes)],
    [
      'Memory type',
      memoryType && `${memoryType.effective} (${memoryType.baseFrom} ${memoryType.base}, PAT ${memoryType.pat})`,
    ],
    [
      'TLB',
      cached
        ? `holds ${hex(cached.physical)}, ${bytes(cached.pageBytes)}${cached.stale ? ', stale' : ''}`
        : 'holds no entry',
    ],
  ];
  const known = facts.filter(([, value]) => value !== undefined);
  return h('dl', {}, ...known.flatMap(([name, value]) => [h('dt', {}, name), h('dd', {}, value)]));
}

function sizes({ guest, effective }: NonNullable<WireTranslation['pageBytes']>): string {
  return guest === effective ? bytes(guest) : `${bytes(effective)} (the guest’s page: ${bytes(guest)})`;
}

const rightNames = [
  ['read', 'Read'],
  ['write', 'Write'],
  ['execute', 'Fetch'],
  ['user', 'User mode'],
] as const;

function drawRights({ rights }: WireTranslation): HTMLElement {
  const row = ([name, title]: (typeof rightNames)[number]) => {
    const { allowed, deniedBy } = rights[name];
    const verdict = h('td', { class: allowed ? 'allowed' : 'denied' }, allowed ? '✓ allowed' : '✗ denied');
    return h('tr', {}, h('th', { scope: 'row' }, title), verdict, h('td', {}, deniedBy ?? ''));
  };
  const body = h('tbody', {}, ...rightNames.map(row));
  return h('table', { class: 'rights' }, h('caption', {}, 'Effective rights'), body);
}

const columns = ['Entry', 'At', 'Value', 'Flags', 'Leads to', 'Rights so far'];

function drawWalk(translation: WireTranslation, showMemory: ShowMemory): HTMLElement {
  const sections = walkSections(translation);
  if (sections.length === 0) return drawNotice('No table is read: there is no paging.', 'notice');
  const head = h('thead', {}, h('tr', {}, ...columns.map((title) => h('th', { scope: 'col' }, title))));
  const caption = h('caption', {}, 'Entries read, in order');
  const bodies = sections.map((section) => drawSection(section, showMemory));
  return h('div', { class: 'scrolled' }, h('table', { class: 'walk' }, caption, head, ...bodies));
}

function drawSection({ heading, rows }: WalkSection, showMemory: ShowMemory): HTMLElement {
  const title = h('th', { colspan: String(columns.length), scope: 'rowgroup' }, heading);
  const drawn = rows.map((row) => drawRow(row, showMemory));
  return h('tbody', { class: rows[0]?.structure ?? '' }, h('tr', { class: 'heading' }, title), ...drawn);
}

function drawRow(row: WalkRow, showMemory: ShowMemory): HTMLElement {
  const flags = row.flags.map(({ text, isSet, doc }) =>
    h('span', { class: isSet ? 'set' : 'clear', title: doc }, text),
  );
  return h(
    'tr',
    { class: row.faults ? 'fault' : undefined },
    h('th', { scope: 'row' }, row.entry, row.faults && h('strong', {}, ' ← faults here')),
    h('td', {}, address(row.place, row.reference, showMemory)),
    h('td', {}, h('code', {}, row.value)),
    h('td', { class: 'flags' }, ...flags),
    h('td', {}, h('code', {}, row.leadsTo)),
    h('td', {}, h('code', {}, row.rights)),
  );
}
