/** Views over the engine's real inspection, without VS Code and without the adapter in between. */
import type { RingsideRequests, Wire } from '../../debug-adapter/protocol/requests.ts';
import { type PagingTable, pagingChildren, pagingRoots } from '../../engine/inspect/page-tables.ts';
import { tlbEntries } from '../../engine/inspect/tlb.ts';
import type { Ask, Row, ViewContent } from '../../extension/views/row.ts';
import type { Bench } from '../mmu/machine.ts';

/** Plain data as it arrives over DAP: JSON, bigints as hexadecimal strings. */
export function wire<T>(data: T): Wire<T> {
  const text = JSON.stringify(data, (_, value) => (typeof value === 'bigint' ? `0x${value.toString(16)}` : value));
  return JSON.parse(text);
}

type Answers = {
  readonly [C in keyof RingsideRequests]?: (
    question: RingsideRequests[C]['arguments'],
  ) => RingsideRequests[C]['response'];
};

/** Answers what a view asks; a request that the test does not expect fails. */
export function asking(answers: Answers): Ask {
  return async (command, question) => {
    const answer = answers[command];
    if (!answer) throw new Error(`unexpected request ${command}`);
    return answer(question);
  };
}

/** Answers about the MMU of a bench. */
export function askingMmu({ mmu }: Bench): Ask {
  return asking({
    'ringside/tlb': () => ({ entries: wire(tlbEntries(mmu)) }),
    'ringside/pageTables': ({ kind, table }) => {
      const root = table ? (table as PagingTable) : pagingRoots(mmu)[kind];
      const tree = kind === 'ept' ? 'EPT' : 'Guest paging';
      if (!root) return { tree, nodes: [], reason: `no ${kind}` };
      return { tree, table: wire(root), nodes: wire(pagingChildren(mmu, root)) };
    },
  });
}

/** A row of a view by the ids on the way to it. */
export async function rowAt({ rows }: ViewContent, ...ids: readonly string[]): Promise<Row> {
  let level = rows;
  let found: Row | undefined;
  for (const id of ids) {
    found = level.find((row) => row.id === id);
    if (!found) throw new Error(`expected a row ${id}, found ${level.map((row) => row.id).join(', ')}`);
    level = (await found.children?.()) ?? [];
  }
  if (!found) throw new Error('expected at least one id');
  return found;
}

/** Label and description of the rows below a row. */
export async function childrenOf(row: Row): Promise<string[]> {
  return ((await row.children?.()) ?? []).map(({ label, description }) => `${label}: ${description ?? ''}`);
}

/** The ids of all rows, opened down to `depth`: they must differ, and be the same at the next stop. */
export async function allIds(rows: readonly Row[], depth: number): Promise<string[]> {
  const ids: string[] = [];
  for (const row of rows) {
    ids.push(row.id);
    if (depth > 1 && row.children) ids.push(...(await allIds(await row.children(), depth - 1)));
  }
  return ids;
}
