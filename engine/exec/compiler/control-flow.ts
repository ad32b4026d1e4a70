/**
 * From a graph of blocks to nested loops and blocks, as WebAssembly wants control flow, by the dominator-tree method
 * (Ramsey, "Beyond Relooper", ICFP 2022). The root of the tree is the dispatcher: it leads to every entry, and takes the
 * edges that no nesting can express.
 */

/** Edges between nodes, which are numbered from 0, and the nodes that the dispatcher must reach. */
export interface FlowGraph {
  readonly successors: readonly (readonly number[])[];
  readonly entries: readonly number[];
}

/** `dispatch`: through the dispatcher; `back`: to an enclosing loop; `merge`: to a label; `inline`: placed right there. */
export type EdgeKind = 'dispatch' | 'back' | 'merge' | 'inline';

export class ControlFlow {
  /** What the dispatcher branches to, in the order of the numbers it is given. */
  readonly entries: number[];
  readonly #successors: number[][];
  readonly #root: number;
  /** Edges that go through the dispatcher. */
  readonly #dispatched = new Set<string>();
  /** Place of each reachable node in reverse postorder, the root at 0. */
  #position: (number | undefined)[] = [];
  #order: number[] = [];
  #dominator: number[] = [];
  readonly #loopHeaders = new Set<number>();
  readonly #forwardEdges: number[];

  constructor(graph: FlowGraph) {
    this.#root = graph.successors.length;
    this.#successors = graph.successors.map((targets) => [...targets]);
    this.entries = [...new Set(graph.entries)];
    while (this.#sendIrreducibleEdges());
    this.#forwardEdges = new Array(this.#root + 1).fill(0);
    this.#countEdges();
  }

  edgeKind(from: number, to: number): EdgeKind {
    if (this.#dispatched.has(edgeKey(from, to))) return 'dispatch';
    if (this.#isRetreating(from, to)) return 'back';
    return this.isMerge(to) ? 'merge' : 'inline';
  }
  isLoopHeader(node: number): boolean {
    return this.#loopHeaders.has(node);
  }
  /** Whether branches lead to the node's label, instead of its code being placed where its only predecessor ends. */
  isMerge(node: number): boolean {
    return (this.#forwardEdges[node] as number) > 1 || this.entries.includes(node);
  }
  /** The merges directly below a node (undefined: the dispatcher), in the order in which they are placed after it. */
  mergesBelow(node: number | undefined): number[] {
    const parent = node ?? this.#root;
    return this.#order.filter((child) => child !== parent && this.#dominator[child] === parent && this.isMerge(child));
  }

  /** Makes targets of edges that no loop can express entries; true if there were any. */
  #sendIrreducibleEdges(): boolean {
    this.#orderNodes();
    this.#findDominators();
    let found = false;
    for (const from of this.#order) {
      for (const to of this.#targets(from)) {
        if (from === this.#root || !this.#isRetreating(from, to) || this.#dominates(to, from)) continue;
        this.#dispatched.add(edgeKey(from, to));
        if (!this.entries.includes(to)) this.entries.push(to);
        found = true;
      }
    }
    return found;
  }

  /** Where a node's edges lead, those through the dispatcher left out. */
  #targets(node: number): number[] {
    if (node === this.#root) return this.entries;
    const targets = this.#successors[node] as number[];
    return targets.filter((to) => !this.#dispatched.has(edgeKey(node, to)));
  }

  #orderNodes(): void {
    const postorder: number[] = [];
    const seen = new Set([this.#root]);
    const path = [{ node: this.#root, targets: [...this.#targets(this.#root)] }];
    for (let top = path.at(-1); top; top = path.at(-1)) {
      const next = top.targets.pop();
      if (next === undefined) postorder.push((path.pop() as typeof top).node);
      else if (!seen.has(next)) {
        seen.add(next);
        path.push({ node: next, targets: [...this.#targets(next)] });
      }
    }
    this.#order = postorder.reverse();
    this.#position = [];
    for (const [position, node] of this.#order.entries()) this.#position[node] = position;
  }

  /** Immediate dominators (Cooper, Harvey, Kennedy, "A Simple, Fast Dominance Algorithm"). */
  #findDominators(): void {
    const predecessors = this.#predecessors();
    const dominator: number[] = [];
    dominator[this.#root] = this.#root;
    for (let changed = true; changed; ) {
      changed = false;
      for (const node of this.#order) {
        if (node === this.#root) continue;
        const known = (predecessors[node] as number[]).filter((p) => dominator[p] !== undefined);
        const common = known.reduce((a, b) => this.#commonDominator(dominator, a, b));
        if (dominator[node] !== common) {
          dominator[node] = common;
          changed = true;
        }
      }
    }
    this.#dominator = dominator;
  }

  #predecessors(): number[][] {
    const predecessors: number[][] = [];
    for (const from of this.#order) {
      for (const to of this.#targets(from)) (predecessors[to] ??= []).push(from);
    }
    return predecessors;
  }

  #commonDominator(dominator: readonly number[], a: number, b: number): number {
    let [left, right] = [a, b];
    while (left !== right) {
      if (this.#at(left) > this.#at(right)) left = dominator[left] as number;
      else right = dominator[right] as number;
    }
    return left;
  }

  #at(node: number): number {
    return this.#position[node] as number;
  }
  #isRetreating(from: number, to: number): boolean {
    return this.#at(to) <= this.#at(from);
  }
  #dominates(upper: number, node: number): boolean {
    let at = node;
    while (this.#at(at) > this.#at(upper)) at = this.#dominator[at] as number;
    return at === upper;
  }

  #countEdges(): void {
    for (const from of this.#order) {
      for (const to of this.#targets(from)) {
        if (this.#isRetreating(from, to)) this.#loopHeaders.add(to);
        else (this.#forwardEdges[to] as number)++;
      }
    }
  }
}

const edgeKey = (from: number, to: number): string => `${from}>${to}`;
