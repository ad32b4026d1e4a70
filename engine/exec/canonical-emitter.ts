/** Whether addresses are canonical, in WebAssembly (`isCanonical` of cpu/access.ts). */
import { CR4 } from '../cpu/register-bits.ts';
import { fieldAddress } from '../cpu/state-layout.ts';
import { type FunctionBody, memoryOp, op } from '../wasm/encoder.ts';

/** Pushes whether linear addresses have 57 bits: CR4.LA57, or 0. */
export const emitHas57Bits = (body: FunctionBody): FunctionBody =>
  body.i32(fieldAddress.cr4).memory(memoryOp.i32Load).i32(CR4.LA57).emit(op.i32And);

/** Pushes whether an address (a local, i64) has other bits above `bits` than copies of the uppermost of these. */
function emitIsNotExtended(body: FunctionBody, linear: number, bits: number): void {
  const above = BigInt(64 - bits);
  body.get(linear).get(linear).i64(above).emit(op.i64Shl).i64(above).emit(op.i64ShrS, op.i64Ne);
}

/** Runs what `emit` emits if an address (a local, i64) is not canonical. Those of 48 bits are not looked at again. */
export function emitUnlessCanonical(body: FunctionBody, linear: number, emit: () => void): void {
  emitIsNotExtended(body, linear, 48);
  body.if();
  emitIsNotExtended(body, linear, 57);
  emitHas57Bits(body).emit(op.i32Eqz, op.i32Or).if();
  emit();
  body.end().end();
}
