/** A region: blocks that are compiled into one function, and how control flows among them. */

import { PAGE_BYTES } from '../../cpu/memory-map.ts';
import { formOf } from '../../isa/form.ts';
import { type LinearAddress, linearAddressOf, low32, pageOf } from '../../isa/linear-address.ts';
import { type Block, endOf } from '../block.ts';

const MAX_REGION_BLOCKS = 64;
const MAX_REGION_INSTRUCTIONS = 500;

/** How a block ends. RIPs. */
export interface BlockEnd {
  /** `system`: the last instruction is none that can be compiled. */
  readonly kind: 'jump' | 'branch' | 'indirect' | 'system' | 'fall-through';
  readonly taken: LinearAddress | undefined;
  readonly next: LinearAddress;
  /** It is a call: control is expected to come back to `next`. */
  readonly isCall: boolean;
}

export function endOfBlock(block: Block): BlockEnd {
  const { codeSize, stackSize, extensions } = block.location;
  const next = cutToCode(endOf(block.instructions), codeSize);
  const last = block.instructions[block.count - 1];
  const form = last && formOf(last, stackSize, extensions);
  const isCall = last?.mnemonic === 'Call';
  if (!last || !form) return { kind: 'system', taken: undefined, next, isCall: false };
  const { transfer } = form.operation;
  if (!transfer) return { kind: 'fall-through', taken: undefined, next, isCall: false };
  if (transfer.kind === 'repeat') return { kind: 'system', taken: undefined, next, isCall: false };
  if (transfer.kind === 'indirect') return { kind: 'indirect', taken: undefined, next, isCall };
  const target = last.operands.find((operand) => operand.kind === 'near-branch')?.value ?? 0n;
  const taken = cutToCode(linearAddressOf(target), codeSize);
  const isShort = form.sizes.operandSize === 16;
  return { kind: transfer.condition ? 'branch' : 'jump', taken: isShort ? low32(taken) & 0xffff : taken, next, isCall };
}

const cutToCode = (rip: LinearAddress, codeSize: number): LinearAddress => (codeSize === 64 ? rip : low32(rip));

export interface RegionNode {
  readonly block: Block;
  readonly end: BlockEnd;
}

export interface Region {
  readonly nodes: readonly RegionNode[];
  /** Index of the node at an RIP. */
  readonly indexOf: ReadonlyMap<LinearAddress, number>;
  /** Pages of the code: the same translation must hold as when it was compiled. */
  readonly pages: readonly RegionPage[];
  /** Nodes that control may reach other than by the direct edges: the start, returns, targets of indirect transfers. */
  readonly entries: readonly number[];
  readonly codeSize: 16 | 32 | 64;
  /** Data segments (0 = ES …) whose offsets are linear addresses, of any 32 bits. */
  readonly flat: ReadonlySet<number>;
}

/** The fast limits of a segment register of a flat segment. */
export const FLAT_LIMIT = 0xffff_ffffn;

export interface RegionPage {
  readonly linear: number;
  readonly physical: number;
}

/** Finds the decoded block at an RIP that code near `from` leads to; without side effects. */
export type FindBlock = (from: Block, rip: LinearAddress) => Block | undefined;

/** The region that starts with a block: what is decoded and can be reached from it, the nearest first. */
export function regionFrom(start: Block, find: FindBlock, flat: ReadonlySet<number>): Region {
  const found = explore(start, find);
  const kept = inLoopOf(start, found);
  const nodes: RegionNode[] = [];
  const indexOf = new Map<LinearAddress, number>();
  const expected = new Set<LinearAddress>();
  for (const [block, { end }] of found) {
    if (!kept.has(block)) continue;
    if (isCompilable(block)) {
      indexOf.set(block.location.rip, nodes.length);
      nodes.push({ block, end });
    }
    if (end.isCall || end.kind === 'system') expected.add(end.next);
    if (end.kind === 'indirect') for (const rip of block.targets) expected.add(rip);
  }
  const entries = [0, ...[...expected].flatMap((rip) => indexOf.get(rip) ?? [])];
  return { nodes, indexOf, pages: pagesOf(nodes), entries, codeSize: start.location.codeSize, flat };
}

interface Found {
  readonly end: BlockEnd;
  readonly successors: readonly Block[];
}

/** What is decoded and can be reached from a block, the nearest first, up to the size of a region. */
function explore(start: Block, find: FindBlock): Map<Block, Found> {
  const found = new Map<Block, Found>();
  let instructions = 0;
  const seen = new Set([start]);
  for (const block of seen) {
    if (found.size >= MAX_REGION_BLOCKS || instructions + block.count > MAX_REGION_INSTRUCTIONS) break;
    const end = endOfBlock(block);
    if (isCompilable(block)) instructions += block.count;
    const successors = successorsOf(block, end).flatMap((rip) => {
      const next = find(block, rip);
      return next && next.count > 0 && next.pages.length === 1 ? [next] : [];
    });
    found.set(block, { end, successors });
    for (const next of successors) seen.add(next);
  }
  return found;
}

/**
 * What leads back to the start, and the functions called on the way: what comes after the loop runs once where that runs
 * often, but would be compiled with it, and keep machine registers from it. All, if nothing leads back.
 */
function inLoopOf(start: Block, found: ReadonlyMap<Block, Found>): ReadonlySet<Block> {
  const predecessors = new Map<Block, Block[]>();
  for (const [block, { successors }] of found) {
    for (const next of successors) predecessors.set(next, [...(predecessors.get(next) ?? []), block]);
  }
  const kept = closure(predecessors.get(start) ?? [], (block) => predecessors.get(block) ?? []);
  if (!kept.has(start)) return new Set(found.keys());
  const next = (block: Block) => found.get(block)?.successors ?? [];
  const called = [...kept].flatMap((block) => {
    const { end } = found.get(block) as Found;
    return end.isCall ? next(block).filter(({ location }) => location.rip !== end.next) : [];
  });
  return new Set([...kept, ...closure(called, (block) => (returns(block) ? [] : next(block)))]);
}

const returns = (block: Block): boolean => block.instructions[block.count - 1]?.mnemonic === 'Ret';

function closure(roots: readonly Block[], next: (block: Block) => readonly Block[]): Set<Block> {
  const seen = new Set(roots);
  for (const block of seen) for (const other of next(block)) seen.add(other);
  return seen;
}

/** A block that begins with what cannot be compiled has nothing to offer; one on two pages may change with either. */
export function isCompilable(block: Block): boolean {
  if (block.single || block.pages.length !== 1 || block.count === 0) return false;
  return block.count > 1 || endOfBlock(block).kind !== 'system';
}

function successorsOf(block: Block, { kind, taken, next, isCall }: BlockEnd): LinearAddress[] {
  if (kind === 'system') return [next];
  if (kind === 'fall-through') return [next];
  const direct = taken === undefined ? [] : [taken];
  if (kind === 'branch' || isCall) direct.push(next);
  return kind === 'indirect' ? [...direct, ...block.targets] : direct;
}

function pagesOf(nodes: readonly RegionNode[]): RegionPage[] {
  const pages = new Map<number, RegionPage>();
  for (const { block } of nodes) {
    const { linear, physical } = block.location;
    const start = pageOf(linear);
    pages.set(start, { linear: start, physical: physical - (physical % PAGE_BYTES) });
  }
  return [...pages.values()];
}
