/** What somebody is told of, as WebAssembly sees it: such things take the slow way. */
import { WATCHED, WATCHED_ADDRESS } from '../cpu/memory-map.ts';
import { type FunctionBody, memoryOp, op } from '../wasm/encoder.ts';

/** Of instructions that neither change the ring nor raise an exception: those of VMX, and what they lead to. */
export const WATCHED_OF_VMX = WATCHED.debugRegisters | WATCHED.instructions | WATCHED.registers;

/** Pushes those of the WATCHED bits that are set. */
export const emitWatched = (f: FunctionBody, bits: number): FunctionBody =>
  f.i32(WATCHED_ADDRESS).memory(memoryOp.i32Load).i32(bits).emit(op.i32And);
