/**
 * VMREAD and VMWRITE between registers of 64-bit code, as WebAssembly: what hypervisors do most. Where anything is out of
 * the ordinary, the instruction's function (vmx/instructions.ts) does it, with nothing changed before.
 */
import { RAM_ADDRESS, VMCS_ENCODINGS, VMCS_OFFSETS_ADDRESS, WRITABLE_VMCS_ADDRESS } from '../cpu/memory-map.ts';
import { RFLAGS } from '../cpu/register-bits.ts';
import { type FieldName, fieldAddress } from '../cpu/state-layout.ts';
import { FunctionBody, I32, I64, memoryOp, op } from '../wasm/encoder.ts';
import { record } from './record.ts';
import { emitSlowWay } from './ring-transitions.ts';
import { SharedFunction } from './shared-functions.ts';
import { emitWatched, WATCHED_OF_VMX } from './watched-emitter.ts';

/** The record's address, parameter of a handler. */
const REC = 0;
/** Depth of the branch to the slow way. */
const SLOW = 0;

const state = (f: FunctionBody, name: FieldName): FunctionBody => f.i32(fieldAddress[name]).memory(memoryOp.i32Load);

/** Wasm address of the register of an operand. */
const register = (f: FunctionBody, operand: number): FunctionBody =>
  f.get(REC).memory(memoryOp.i32Load, record.register + 4 * operand);

/** Leaves for the slow way unless in VMX root operation at CPL 0 with a current VMCS, at an ordinary boundary, unwatched. */
function checkState(f: FunctionBody): void {
  state(f, 'vmxOperation');
  state(f, 'currentVmcsValid').emit(op.i32And, op.i32Eqz).branchIf(SLOW);
  state(f, 'nonRoot');
  state(f, 'cpl').emit(op.i32Or);
  state(f, 'interruptibility').emit(op.i32Or);
  state(f, 'pendingDebug').emit(op.i32Or);
  state(f, 'flagsOther').i32(RFLAGS.TF).emit(op.i32And, op.i32Or);
  emitWatched(f, WATCHED_OF_VMX).emit(op.i32Or).branchIf(SLOW);
}

/** Leaves the encoding in a local, and the wasm address of the field that it names; for the slow way if there is none. */
function findField(f: FunctionBody, operand: number): { readonly encoding: number; readonly at: number } {
  const wide = f.local(I64);
  const encoding = f.local(I32);
  const at = f.local(I32);
  register(f, operand).memory(memoryOp.i64Load).tee(wide).i64(BigInt(VMCS_ENCODINGS)).emit(op.i64GeU).branchIf(SLOW);
  f.get(wide).emit(op.i32WrapI64).tee(encoding).i32(1).emit(op.i32Shl);
  f.memory(memoryOp.i32Load16U, VMCS_OFFSETS_ADDRESS).tee(at).emit(op.i32Eqz).branchIf(SLOW);
  state(f, 'currentVmcs').get(at).emit(op.i32Add).i32(RAM_ADDRESS).emit(op.i32Add).set(at);
  return { encoding, at };
}

/** Emits one of three accesses, by the width that bits 14:13 and 0 of the encoding say. */
function byWidth(f: FunctionBody, encoding: number, accesses: Readonly<Record<16 | 32 | 64, () => void>>): void {
  f.get(encoding).i32(0x6000).emit(op.i32And, op.i32Eqz).if();
  accesses[16]();
  f.else();
  // The width "32-bit", or the access type "high".
  f.get(encoding).i32(0x6000).emit(op.i32And).i32(0x4000).emit(op.i32Eq);
  f.get(encoding).i32(1).emit(op.i32And, op.i32Or).if();
  accesses[32]();
  f.else();
  accesses[64]();
  f.end().end();
}

/** VMsucceed, and on to the next instruction. All status flags are 0 in this lazy form (cpu/flags.ts). */
function succeed(f: FunctionBody): void {
  f.i32(fieldAddress.flagsResult).i64(1n).memory(memoryOp.i64Store);
  f.i32(fieldAddress.flagsAux).i64(0n).memory(memoryOp.i64Store);
  f.i32(fieldAddress.rip).i32(fieldAddress.pageBase).memory(memoryOp.i64Load);
  f.get(REC).memory(memoryOp.i64Load32U, record.nextOffset).emit(op.i64Add).memory(memoryOp.i64Store);
  f.get(REC).returnCall(SharedFunction.dispatch);
}

function handler(emitFast: (f: FunctionBody) => void): Uint8Array {
  const f = new FunctionBody(1);
  f.block();
  emitFast(f);
  f.end();
  return emitSlowWay(f);
}

export const emitVmread = (): Uint8Array =>
  handler((f) => {
    checkState(f);
    const { encoding, at } = findField(f, 1);
    const value = f.local(I64);
    const load = (opcode: number) => () => f.get(at).memory(opcode).set(value);
    byWidth(f, encoding, {
      16: load(memoryOp.i64Load16U),
      32: load(memoryOp.i64Load32U),
      64: load(memoryOp.i64Load),
    });
    register(f, 0).get(value).memory(memoryOp.i64Store);
    succeed(f);
  });

export const emitVmwrite = (): Uint8Array =>
  handler((f) => {
    checkState(f);
    f.i32(WRITABLE_VMCS_ADDRESS).memory(memoryOp.i32Load);
    state(f, 'currentVmcs').i32(1).emit(op.i32Add, op.i32Ne).branchIf(SLOW);
    const { encoding, at } = findField(f, 0);
    const value = f.local(I64);
    register(f, 1).memory(memoryOp.i64Load).set(value);
    byWidth(f, encoding, {
      16: () => f.get(at).get(value).emit(op.i32WrapI64).memory(memoryOp.i32Store16),
      32: () => f.get(at).get(value).memory(memoryOp.i64Store32),
      64: () => f.get(at).get(value).memory(memoryOp.i64Store),
    });
    succeed(f);
  });
