/** Handlers of the instructions of 64-bit code that enter a guest or leave it, as WebAssembly. */

import { RFLAGS } from '../cpu/register-bits.ts';
import { fieldAddress } from '../cpu/state-layout.ts';
import { FunctionBody, I32, memoryOp, op } from '../wasm/encoder.ts';
import { Exit } from './exits.ts';
import { record } from './record.ts';
import { emitEndOfResumeFlag, emitSlowWay } from './ring-transitions.ts';
import { callRuntime } from './runtime-functions.ts';
import { SharedFunction } from './shared-functions.ts';

/** The record's address, parameter of a handler. */
const REC = 0;

/** VMRESUME. Interrupts that the host held back are the run loop's. */
export function emitVmresume(): Uint8Array {
  const f = new FunctionBody(1);
  const enabled = f.local(I32);
  f.i32(fieldAddress.flagsOther).memory(memoryOp.i32Load).i32(RFLAGS.IF).emit(op.i32And).set(enabled);
  f.get(REC).memory(memoryOp.i32Load16U, record.blockCount).call(SharedFunction.enterGuest).if();
  f.get(enabled).emit(op.i32Eqz).if();
  callRuntime(f.i32(0), 'interruptWanted').if();
  f.i32(Exit.StopAtTarget).emit(op.return).end().end();
  emitEndOfResumeFlag(f);
  f.get(REC).returnCall(SharedFunction.dispatch).end();
  return emitSlowWay(f);
}

/** An instruction that always exits in non-root operation. */
export function emitExiting(reason: number): Uint8Array {
  const f = new FunctionBody(1);
  f.get(REC).i32(reason).call(SharedFunction.exitInstruction).if();
  f.get(REC).returnCall(SharedFunction.dispatch).end();
  return emitSlowWay(f);
}
