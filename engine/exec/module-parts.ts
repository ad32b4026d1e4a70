/** Modules of compiled code: the shared functions first, at the indices that all code relies on. */
import { fieldAddress } from '../cpu/state-layout.ts';
import {
  type DefinedFunction,
  encodeModule,
  FunctionBody,
  type FunctionType,
  I32,
  memoryOp,
  op,
} from '../wasm/encoder.ts';
import { deliverEventFunction, deliverPageFaultFunction } from './event-delivery.ts';
import { Exit } from './exits.ts';
import { record } from './record.ts';
import { callRuntime, RUNTIME_TABLE_NAME } from './runtime-functions.ts';
import {
  dispatchFunction,
  emitEnterBlock,
  hostAddressFunction,
  SharedFunction,
  SharedType,
  sharedArithmetic,
  sharedTypes,
} from './shared-functions.ts';
import { enterGuestFunction } from './world-entry-emitter.ts';
import { exitInstructionFunction, leaveGuestFunction } from './world-exit-emitter.ts';

/** The ring transitions, the switches of worlds and what the run loop calls; made once, as all machines have the same. */
function transitions(): readonly DefinedFunction[] {
  known ??= [
    { type: SharedType.hostAddress, body: hostAddressFunction() },
    { type: SharedType.deliverEvent, body: deliverEventFunction(), export: 'deliverEvent' },
    { type: SharedType.handler, body: deliverPageFaultFunction() },
    { type: SharedType.handler, body: enterGuestFunction() },
    { type: SharedType.leaveGuest, body: leaveGuestFunction(), export: 'leaveGuest' },
    { type: SharedType.exitInstruction, body: exitInstructionFunction() },
    { type: SharedType.handler, body: enterFunction(), export: 'enter' },
  ];
  return known;
}
let known: readonly DefinedFunction[] | undefined;

/** The name that modules import the table of handlers by. */
export const HANDLER_TABLE_NAME = 'handlers';

export class DefinedFunctionList {
  readonly #types: FunctionType[] = [...sharedTypes];
  readonly #functions: DefinedFunction[];
  readonly #withDispatcher: boolean;

  /**
   * Only handler modules have the dispatcher: it needs the table, of which every importing instance pays a copy. One of
   * them has the ring transitions and what the run loop calls.
   */
  constructor({ withDispatcher, withTransitions = false }: { withDispatcher: boolean; withTransitions?: boolean }) {
    this.#withDispatcher = withDispatcher;
    this.#functions = [...sharedArithmetic()];
    if (!withDispatcher) return;
    this.#functions.push({ type: SharedType.handler, body: dispatchFunction() });
    this.#functions.push({ type: SharedType.handler, body: enterBlockFunction() });
    if (!withTransitions) return;
    this.#functions.push(...transitions());
  }

  /** Returns the function's index. */
  add(definition: DefinedFunction): number {
    return this.#functions.push(definition) - 1;
  }
  /** Adds a type to those that are shared, and returns its index. */
  addType(type: FunctionType): number {
    return this.#types.push(type) - 1;
  }

  encode(): Uint8Array {
    return encodeModule({
      types: this.#types,
      functions: this.#functions,
      // Without a dispatcher nothing is called through the table of handlers, which is large.
      tables: [this.#withDispatcher ? HANDLER_TABLE_NAME : RUNTIME_TABLE_NAME, RUNTIME_TABLE_NAME],
    });
  }
}

/**
 * (record) → Exit: what the run loop calls. Handlers tail-call one another, so that this is the only frame below them;
 * compiled regions, which cannot see the table, come back here to go on, and so do events that are dealt with in place.
 */
function enterFunction(): Uint8Array {
  const f = new FunctionBody(1);
  const [rec, exit] = [0, f.local(I32)];
  f.get(rec).call(SharedFunction.enterBlock).set(exit).loop();
  f.get(exit).i32(Exit.Event).emit(op.i32Eq).if();
  f.get(rec).call(SharedFunction.deliverPageFault).if().i32(Exit.Dispatch).set(exit).else();
  callRuntime(f.i32(fieldAddress.exitRecord).memory(memoryOp.i32Load), 'event').set(exit).end().end();
  f.get(exit).i32(Exit.Dispatch).emit(op.i32LtU).if().get(exit).emit(op.return).end();
  f.get(exit).i32(Exit.Dispatch).emit(op.i32Eq).if();
  f.get(rec).call(SharedFunction.dispatch).set(exit).branch(1).end();
  f.i32(fieldAddress.exitRecord).memory(memoryOp.i32Load).tee(rec);
  f.get(rec).memory(memoryOp.i32Load, record.interpreter).callIndirect(SharedType.handler).set(exit).branch(0).end();
  return f.emit(op.unreachable).bytes();
}

/** Takes the budget of the block and tail-calls its first handler. */
function enterBlockFunction(): Uint8Array {
  const f = new FunctionBody(1);
  emitEnterBlock(f, 0, () => {});
  return f.bytes();
}
