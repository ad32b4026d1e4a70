/** Which instructions of a block leave flags that somebody may look at. */
import { children, type Expr } from '../../expr/expr.ts';
import { type Operation, statusFlags, type Temp } from '../../isa/operation.ts';

/** What an operation has to do with the status flags. */
interface FlagUse {
  /** Whether something else than flags depends on them: registers, memory, where to go. */
  readonly reads: boolean;
  /** Whether flags after it depend on those before. */
  readonly passesOn: boolean;
  /** Whether it may leave compiled code before it changes anything: the flags before it must be known. */
  readonly mayLeave: boolean;
}

const uses = new WeakMap<Operation, FlagUse>();

function useOf(operation: Operation): FlagUse {
  let use = uses.get(operation);
  if (!use) uses.set(operation, (use = findUse(operation)));
  return use;
}

function findUse({ reads, stores, commits, flags, directionFlag, transfer }: Operation): FlagUse {
  const values = Object.values(flags?.values ?? {}).flatMap((value) => {
    if (!('undefined' in value)) return [value];
    return value.value === 'unchanged' ? [] : [value.value];
  });
  const target = transfer?.kind === 'indirect' ? transfer.target : transfer?.condition;
  const checks = reads.flatMap((read) => (read.kind === 'raise' ? [read.condition] : []));
  const results = [...stores, ...commits].map(({ value }) => value);
  return {
    reads: dependOnFlags([...checks, ...results, directionFlag, target]),
    passesOn: values.length < statusFlags.length || dependOnFlags([...values, flags?.condition]),
    mayLeave: reads.length > 0 || stores.length > 0 || transfer?.kind === 'indirect',
  };
}

function dependOnFlags(exprs: readonly (Expr | undefined)[]): boolean {
  const seen = new Set<Expr>();
  for (const expr of exprs) if (expr) collect(expr, seen);
  return [...seen].some(isFlag);
}

function collect(expr: Expr, seen: Set<Expr>): void {
  if (seen.has(expr)) return;
  seen.add(expr);
  for (const child of children(expr)) collect(child, seen);
}

const isFlag = ({ node }: Expr): boolean => node.kind === 'temp' && (node.temp as Temp).source.kind === 'flag';

/** An operation, and whether its flags change: undefined if only the run can tell. */
export interface FlagStep {
  /** Undefined: an instruction that is not compiled, and so leaves. */
  readonly operation: Operation | undefined;
  readonly changesFlags: boolean | undefined;
}

/** Where in a block somebody may look at the flags. */
export interface FlagLiveness {
  /** By step: whether the flags after it are wanted. */
  readonly after: readonly boolean[];
  /** Whether those before the first step are. */
  readonly atStart: boolean;
}

/** Those after the last step are always wanted: the budget may end there. */
export function flagLiveness(steps: readonly FlagStep[]): FlagLiveness {
  const after: boolean[] = [];
  let live = true;
  for (let index = steps.length - 1; index >= 0; index--) {
    after[index] = live;
    const { operation, changesFlags } = steps[index] as FlagStep;
    if (!operation) {
      live = true;
      continue;
    }
    const { reads, passesOn, mayLeave } = useOf(operation);
    live = mayLeave || reads || (live && (passesOn || changesFlags !== true));
  }
  return { after, atStart: live };
}
