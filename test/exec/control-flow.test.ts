/** What becomes of the edges of small flow graphs; the dispatcher leads to the entries. */
import { describe, expect, test } from 'vitest';
import { ControlFlow, type EdgeKind } from '../../engine/exec/compiler/control-flow.ts';

interface Row {
  readonly name: string;
  readonly successors: number[][];
  readonly entries?: number[];
  readonly kinds: Record<string, EdgeKind>;
  readonly loops: number[];
  /** Entries after those that were given. */
  readonly added?: number[];
}

const rows: Row[] = [
  { name: 'a line', successors: [[1], [2], []], kinds: { '0>1': 'inline', '1>2': 'inline' }, loops: [] },
  { name: 'a loop of one block', successors: [[0, 1], []], kinds: { '0>0': 'back', '0>1': 'inline' }, loops: [0] },
  {
    name: 'a diamond: its end has a label',
    successors: [[1, 2], [3], [3], []],
    kinds: { '0>1': 'inline', '0>2': 'inline', '1>3': 'merge', '2>3': 'merge' },
    loops: [],
  },
  {
    name: 'a branch whose two targets are the same',
    successors: [[1, 1], []],
    kinds: { '0>1': 'merge' },
    loops: [],
  },
  {
    name: 'nested loops',
    successors: [[1], [1, 2], [0, 3], []],
    kinds: { '0>1': 'inline', '1>1': 'back', '1>2': 'inline', '2>0': 'back', '2>3': 'inline' },
    loops: [0, 1],
  },
  {
    name: 'a jump into a loop: one way into it goes through the dispatcher',
    successors: [[1, 2], [2], [1, 3], []],
    kinds: { '0>1': 'merge', '0>2': 'merge', '1>2': 'dispatch', '2>1': 'merge', '2>3': 'inline' },
    loops: [],
    added: [2],
  },
  {
    name: 'a return into a loop: its way round goes through the dispatcher',
    successors: [[1], [], [0, 3], []],
    entries: [0, 2],
    kinds: { '0>1': 'inline', '2>0': 'merge', '2>3': 'inline' },
    loops: [],
  },
];

describe('edges', () => {
  test.each(rows)('$name', ({ successors, entries = [0], kinds, loops, added = [] }) => {
    const flow = new ControlFlow({ successors, entries });
    const edges = successors.flatMap((targets, from) => targets.map((to) => [from, to] as const));
    const found = Object.fromEntries(edges.map(([from, to]) => [`${from}>${to}`, flow.edgeKind(from, to)]));
    expect(found).toEqual(kinds);
    expect(successors.flatMap((_, node) => (flow.isLoopHeader(node) ? [node] : []))).toEqual(loops);
    expect(flow.entries).toEqual([...entries, ...added]);
  });

  test('every node that has a label is placed once, below what dominates it', () => {
    const flow = new ControlFlow({ successors: [[1, 2], [3], [3, 4], [4], []], entries: [0] });
    expect(flow.mergesBelow(undefined)).toEqual([0]);
    expect(flow.mergesBelow(0)).toEqual([3, 4]);
  });
});
