/**
 * The functions of a region's module that it leaves through, by tail calls: they write to the CPU state what the region
 * keeps in locals. So nothing in the region itself is held across a call or wanted at one common place, and V8 can keep
 * the locals in machine registers.
 */
import { INTERPRETED_LEFT_ADDRESS, SET_ASIDE_ADDRESS } from '../../cpu/memory-map.ts';
import { fieldAddress } from '../../cpu/state-layout.ts';
import { FunctionBody, I32, I64, memoryOp, op, type ValueType } from '../../wasm/encoder.ts';
import { Exit } from '../exits.ts';
import type { DefinedFunctionList } from '../module-parts.ts';
import { SharedFunction } from '../shared-functions.ts';
import { storeValue } from '../value-types.ts';
import { addressOfRegister, isVectorHalf, typeOfRegister, widthOfRegister } from './region-register.ts';

/** Indices of the functions. Both take the registers written, then kind, a and b of the flags, the budget, and … */
export interface LeaveFunctions {
  /** … record (i32), pageBase (i64): leaves the instruction of the record to the interpreter. */
  readonly toInterpreter: number;
  /** … Exit (i32), RIP (i64). */
  readonly elsewhere: number;
}

/** Kind, a and b; budget; and two of each function's own. */
const STATE_TYPES: readonly ValueType[] = [I32, I64, I64, I64];
const OWN_TYPES: readonly ValueType[] = [I32, I64];

/**
 * Vector halves that are passed at most, as many as V8 passes in registers: what its tail calls pass on the stack beside
 * these, 16 bytes wide, may be overwritten by another parameter.
 */
const PASSED_VECTOR_HALVES = 6;

/** Of the registers that a region writes, those that it passes to the functions. */
export function passedOnLeaving(written: readonly number[]): number[] {
  const halves = written.filter(isVectorHalf).slice(0, PASSED_VECTOR_HALVES);
  return written.filter((register) => !isVectorHalf(register) || halves.includes(register));
}

/** Writes a register to the CPU state from a local. */
export function storeRegister(f: FunctionBody, register: number, local: number): void {
  storeValue(f.i32(addressOfRegister(register)).get(local), widthOfRegister(register));
}

/** @param written registers that are passed, as region-register.ts numbers them, in the order of the parameters */
export function addLeaveFunctions(parts: DefinedFunctionList, written: readonly number[]): LeaveFunctions {
  const parameters = [...written.map(typeOfRegister), ...STATE_TYPES, ...OWN_TYPES];
  const type = parts.addType({ parameters, results: [I32] });
  const first = parameters.length - OWN_TYPES.length;
  const toInterpreter = emitSpill(parameters.length, written);
  toInterpreter.i32(fieldAddress.exitRecord).get(first).memory(memoryOp.i32Store);
  toInterpreter
    .i32(fieldAddress.pageBase)
    .get(first + 1)
    .memory(memoryOp.i64Store);
  const elsewhere = emitSpill(parameters.length, written);
  elsewhere
    .i32(fieldAddress.rip)
    .get(first + 1)
    .memory(memoryOp.i64Store);
  return {
    toInterpreter: parts.add({ type, body: toInterpreter.i32(Exit.Resume).bytes() }),
    elsewhere: parts.add({ type, body: elsewhere.get(first).bytes() }),
  };
}

function emitSpill(parameterCount: number, written: readonly number[]): FunctionBody {
  const f = new FunctionBody(parameterCount);
  for (const [index, register] of written.entries()) {
    storeRegister(f, register, index);
  }
  const kind = written.length;
  const [a, b, budget] = [kind + 1, kind + 2, kind + 3];
  emitBudget(f, budget);
  f.i32(fieldAddress.flagsResult).get(kind).get(a).get(b).call(SharedFunction.deferredResult).memory(memoryOp.i64Store);
  f.i32(fieldAddress.flagsAux).get(kind).get(a).get(b).call(SharedFunction.deferredAux).memory(memoryOp.i64Store);
  return f;
}

/**
 * Interpreted code may run for a stretch before the run loop sees it, in one piece or in several between regions: where time
 * goes it comes to be seen, however little it executes. The rest of the budget is there for a region that is entered before.
 */
function emitBudget(f: FunctionBody, budget: number): void {
  const left = f.local(I64);
  f.i32(INTERPRETED_LEFT_ADDRESS).memory(memoryOp.i64Load).set(left);
  f.get(budget).get(left).get(budget).get(left).emit(op.i64LtS, op.select).set(left);
  f.i32(fieldAddress.budget).get(left).memory(memoryOp.i64Store);
  f.i32(SET_ASIDE_ADDRESS).get(budget).get(left).emit(op.i64Sub).memory(memoryOp.i64Store);
}

/** Sets a local to the budget as a region is entered. */
export function emitTakeBudget(f: FunctionBody, budget: number): void {
  f.i32(INTERPRETED_LEFT_ADDRESS);
  f.i32(fieldAddress.budget).memory(memoryOp.i64Load).tee(budget).memory(memoryOp.i64Store);
  f.get(budget).i32(SET_ASIDE_ADDRESS).memory(memoryOp.i64Load).emit(op.i64Add).set(budget);
  f.i32(SET_ASIDE_ADDRESS).i64(0n).memory(memoryOp.i64Store);
}
