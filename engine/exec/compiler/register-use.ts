/** Which registers instructions read and write, of those that regions keep in locals. */
import { children, type Expr } from '../../expr/expr.ts';
import type { DecodedInstruction } from '../../isa/decode.ts';
import type { AddressRef, Operation, RegisterRef, Temp } from '../../isa/operation.ts';
import { isVectorHalf, regionRegister } from './region-register.ts';

/** Registers as region-register.ts numbers them. */
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

/** Of halves of vector registers, only so many are kept in locals: all written ones are passed on at every way out. */
const MAX_VECTOR_HALVES = 16;

/** The registers of instructions, each with its operation; of many vector registers, those that occur most often. */
export function registerUse(
  steps: Iterable<{ readonly instruction: DecodedInstruction; readonly operation: Operation }>,
): RegisterUse {
  const uses = new Map<number, number>();
  const written = new Set<number>();
  const use = (register: number | undefined): void => {
    if (register !== undefined) uses.set(register, (uses.get(register) ?? 0) + 1);
  };
  for (const { instruction, operation } of steps) {
    const { memory } = instruction;
    const found = referencesOf(operation);
    for (const ref of [...found.read, ...found.written]) use(regionRegister(ref, instruction));
    for (const ref of found.written) add(written, regionRegister(ref, instruction));
    for (const number of [memory?.base, memory?.index]) if (typeof number === 'number') use(number);
  }
  const halves = [...uses].filter(([register]) => isVectorHalf(register)).sort(([, a], [, b]) => b - a);
  for (const [register] of halves.slice(MAX_VECTOR_HALVES)) {
    uses.delete(register);
    written.delete(register);
  }
  return { used: new Set(uses.keys()), written };
}

function add(set: Set<number>, number: number | undefined): void {
  if (number !== undefined) set.add(number);
}
