/** Which general-purpose registers instructions read and write. */
import { children, type Expr } from '../../expr/expr.ts';
import type { DecodedInstruction } from '../../isa/decode.ts';
import type { AddressRef, Operation, RegisterRef, Temp } from '../../isa/operation.ts';

/** Numbers of registers. */
export interface RegisterUse {
  readonly used: ReadonlySet<number>;
  /** Those of them that are written. */
  readonly written: ReadonlySet<number>;
}

/** Registers as an operation refers to them, for whatever operands. */
interface References {
  readonly read: readonly RegisterRef[];
  readonly written: readonly RegisterRef[];
}
const references = new WeakMap<Operation, References>();

function referencesOf(operation: Operation): References {
  let known = references.get(operation);
  if (!known) references.set(operation, (known = findReferences(operation)));
  return known;
}

function findReferences(operation: Operation): References {
  const seen = new Set<Expr>();
  for (const expr of rootsOf(operation)) if (expr) collect(expr, seen);
  const read: RegisterRef[] = [];
  for (const { node } of seen) {
    const source = node.kind === 'temp' ? (node.temp as Temp).source : undefined;
    if (source?.kind === 'register') read.push(source.register);
  }
  return { read, written: operation.commits.map(({ register }) => register) };
}

/** All expressions that the operation has, but for those inside of others. */
function rootsOf({ guard, reads, stores, commits, flags, directionFlag, transfer }: Operation): (Expr | undefined)[] {
  const offset = (address: AddressRef) => (address.kind === 'operand' ? address.plus : address.offset);
  const ofFlags = Object.values(flags?.values ?? {}).map((value) => {
    if (!('undefined' in value)) return value;
    return value.value === 'unchanged' ? undefined : value.value;
  });
  return [
    guard,
    ...reads.map((read) => (read.kind === 'raise' ? read.condition : offset(read.address))),
    ...stores.flatMap(({ address, value }) => [offset(address), value]),
    ...commits.map(({ value }) => value),
    ...[flags?.condition, flags?.arithmetic?.result, flags?.arithmetic?.carries, ...ofFlags, directionFlag],
    transfer?.kind === 'indirect' ? transfer.target : transfer?.condition,
  ];
}

function collect(expr: Expr, seen: Set<Expr>): void {
  if (seen.has(expr)) return;
  seen.add(expr);
  for (const child of children(expr)) collect(child, seen);
}

/** The registers of instructions, each with its operation. */
export function registerUse(
  steps: Iterable<{ readonly instruction: DecodedInstruction; readonly operation: Operation }>,
): RegisterUse {
  const [used, written] = [new Set<number>(), new Set<number>()];
  for (const { instruction, operation } of steps) {
    const { operands, memory } = instruction;
    const numberOf = (ref: RegisterRef): number | undefined => {
      if (ref.kind === 'gpr') return ref.number;
      const named = ref.kind === 'operand' ? operands[ref.position]?.register : undefined;
      return named?.kind === 'gpr' ? named.number : undefined;
    };
    const found = referencesOf(operation);
    for (const ref of found.read) add(used, numberOf(ref));
    for (const ref of found.written) add(written, numberOf(ref));
    for (const number of [memory?.base, memory?.index]) if (typeof number === 'number') used.add(number);
  }
  for (const number of written) used.add(number);
  return { used, written };
}

function add(set: Set<number>, number: number | undefined): void {
  if (number !== undefined) set.add(number);
}
