/** Modules of compiled code: the shared functions first, at the indices that all code relies on. */
import { type DefinedFunction, encodeModule, FunctionBody } from '../wasm/encoder.ts';
import {
  dispatchFunction,
  emitEnterBlock,
  SharedType,
  sharedArithmetic,
  sharedImports,
  sharedTypes,
} from './shared-functions.ts';

export class DefinedFunctionList {
  readonly #functions: DefinedFunction[];
  readonly #withDispatcher: boolean;

  /** Only handler modules have the dispatcher: it needs the table, of which every importing instance pays a copy. */
  constructor({ withDispatcher }: { withDispatcher: boolean }) {
    this.#withDispatcher = withDispatcher;
    this.#functions = sharedArithmetic();
    if (!withDispatcher) return;
    this.#functions.push({ type: SharedType.handler, body: dispatchFunction() });
    this.#functions.push({ type: SharedType.handler, body: enterFunction(), export: 'enter' });
  }

  add(definition: DefinedFunction): void {
    this.#functions.push(definition);
  }

  encode(): Uint8Array {
    return encodeModule({
      types: sharedTypes,
      imports: sharedImports,
      functions: this.#functions,
      importsTable: this.#withDispatcher,
    });
  }
}

/** (record) → Exit: what the run loop calls. */
function enterFunction(): Uint8Array {
  const f = new FunctionBody(1);
  emitEnterBlock(f, 0, () => {});
  return f.bytes();
}
