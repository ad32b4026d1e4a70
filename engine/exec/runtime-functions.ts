/**
 * The functions of TypeScript that compiled code calls. They are in a table of their own: a module that imported them would
 * have V8 compile an adapter for the signature of each, which for most modules takes longer than all else of them.
 */
import { encodeModule, F64, FunctionBody, type FunctionType, I32, I64 } from '../wasm/encoder.ts';

/** Index of the table in modules of compiled code, and the name they import it by. Table 0 is the quicker one to call through. */
const RUNTIME_TABLE = 1;
export const RUNTIME_TABLE_NAME = 'runtime';

interface RuntimeFunction {
  /** Place in the table. */
  readonly index: number;
  /** Index of its type among those of each module. */
  readonly type: number;
}

/** Types of modules of compiled code: these come first. */
export const RuntimeType = {
  handler: 0,
  slowAccess: 1,
  segmentCheck: 2,
  raise: 3,
  translateFetch: 4,
  call: 5,
} as const;

export const runtimeTypes: readonly FunctionType[] = [
  { parameters: [I32], results: [I32] },
  { parameters: [I64, I32, I32], results: [I32] },
  { parameters: [I32, F64, I32, I32], results: [I32] },
  { parameters: [I32, I32, I32], results: [] },
  { parameters: [I64], results: [I32] },
  { parameters: [I32], results: [] },
];

export const runtimeFunctions = {
  /** (linear, sizeBytes + FOR_WRITE if to be written, record) → SlowStatus; the value is at SCRATCH_ADDRESS. */
  slowRead: { index: 0, type: RuntimeType.slowAccess },
  /** (linear, sizeBytes + PROBE if only checked, record) → SlowStatus; the value is at SCRATCH_ADDRESS. */
  slowWrite: { index: 1, type: RuntimeType.slowAccess },
  /** (record, offset, segment address, sizeBytes + FOR_WRITE if for writing) → SlowStatus. */
  segmentCheck: { index: 2, type: RuntimeType.segmentCheck },
  /** (record, vector, error code or -1): leaves the exception as the pending event. */
  raise: { index: 3, type: RuntimeType.raise },
  /** (record) → 0 to go on at `state.rip`, or an Exit + 1. */
  system: { index: 4, type: RuntimeType.handler },
  /** (record) → whether the region that its block enters may run. */
  enterRegion: { index: 5, type: RuntimeType.handler },
  /** (linear) → host-physical address in RAM that a fetch at the current privilege reads, or NO_FETCH where the run loop has to look. */
  translateFetch: { index: 6, type: RuntimeType.translateFetch },
  /** (index of a function of pure-functions.ts): arguments and results are in memory. */
  call: { index: 7, type: RuntimeType.call },
  /** (record of the instruction that an event ended) → Exit: how to go on, if the event could be dealt with. */
  event: { index: 8, type: RuntimeType.handler },
  /** (unused) → whether an interrupt is to be taken before the next instruction, after a VM entry in compiled code. */
  interruptWanted: { index: 9, type: RuntimeType.handler },
} as const satisfies Record<string, RuntimeFunction>;

export type RuntimeFunctionName = keyof typeof runtimeFunctions;
/** Functions of TypeScript, or exported by modules. */
export type RuntimeFunctions = Readonly<Record<RuntimeFunctionName, CallableFunction>>;

const names = Object.keys(runtimeFunctions) as RuntimeFunctionName[];

/** Calls a function, whose arguments are on the stack. */
export function callRuntime(body: FunctionBody, name: RuntimeFunctionName): FunctionBody {
  const { index, type } = runtimeFunctions[name];
  return body.i32(index).callIndirect(type, RUNTIME_TABLE);
}

/**
 * The table for a machine. Only functions that modules export can be in a table: TypeScript's are called through such.
 *
 * @param exported functions that a module exports, to be called in the place of TypeScript's
 */
export function runtimeTable(functions: RuntimeFunctions, exported: Partial<RuntimeFunctions>): WebAssembly.Table {
  bridge ??= new WebAssembly.Module(bridgeModule());
  const { exports: bridges } = new WebAssembly.Instance(bridge, { runtime: { ...functions } });
  const table = new WebAssembly.Table({ element: 'anyfunc', initial: names.length });
  for (const name of names) table.set(runtimeFunctions[name].index, exported[name] ?? bridges[name]);
  return table;
}

/** Made once, as all machines have the same. */
let bridge: WebAssembly.Module | undefined;

function bridgeModule(): Uint8Array {
  return encodeModule({
    types: runtimeTypes,
    imports: names.map((name) => ({ module: 'runtime', name, type: runtimeFunctions[name].type })),
    functions: names.map((name, imported) => ({
      type: runtimeFunctions[name].type,
      body: passedOn(runtimeTypes[runtimeFunctions[name].type] as FunctionType, imported),
      export: name,
    })),
    memory: false,
  });
}

function passedOn({ parameters }: FunctionType, imported: number): Uint8Array {
  const body = new FunctionBody(parameters.length);
  for (const parameter of parameters.keys()) body.get(parameter);
  return body.call(imported).bytes();
}
