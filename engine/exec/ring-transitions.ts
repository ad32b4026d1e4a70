/**
 * The ring changes of 64-bit mode that kernels live on, as WebAssembly: SYSCALL, SYSRET, INT n, IRETQ, and the delivery
 * of exceptions, where nothing about them is out of the ordinary. Each does exactly what its TypeScript function does
 * (cpu/system-calls.ts, cpu/interrupt-gate.ts, cpu/iret.ts); whatever could fault, has to be told to a filter or needs a
 * walk is left to that function, with nothing changed. A test holds the two against each other.
 */

import { STATUS_FLAGS, WRITABLE_FLAGS } from '../cpu/flags.ts';
import { SET_ASIDE_ADDRESS } from '../cpu/memory-map.ts';
import { ACCESS, EFER, RFLAGS } from '../cpu/register-bits.ts';
import { CS, SS } from '../cpu/state.ts';
import { fieldAddress } from '../cpu/state-layout.ts';
import { FLAT_CODE, FLAT_DATA } from '../cpu/system-calls.ts';
import { FunctionBody, I32, I64, memoryOp, op } from '../wasm/encoder.ts';
import { EventKind } from './event-delivery.ts';
import { Exit } from './exits.ts';
import { record } from './record.ts';
import { callRuntime } from './runtime-functions.ts';
import { SharedFunction } from './shared-functions.ts';
import { type DescriptorLocals, FOR_READING, RSP, TransitionEmitter } from './transition-emitter.ts';

/** The record's address, parameter of a handler. */
const REC = 0;
const RCX = 1;
const R11 = 11;
const RING_3 = 3 << 5;

/** Handler of a system instruction: a TypeScript function, after which execution goes on at `state.rip`. */
export const emitSystemHandler = (): Uint8Array => emitSlowWay(new FunctionBody(1));

/** Ends a handler with the instruction's function. */
export function emitSlowWay(f: FunctionBody): Uint8Array {
  const exit = f.local(I32);
  callRuntime(f.get(REC), 'system').tee(exit).if();
  f.get(exit).i32(1).emit(op.i32Sub, op.return).end();
  f.get(REC).returnCall(SharedFunction.dispatch);
  return f.bytes();
}

/** A handler with a fast way, which ends by leaving the function, before the slow one. */
function handler(emitFast: (t: TransitionEmitter) => void): Uint8Array {
  const t = new TransitionEmitter(1);
  t.f.block();
  t.begin();
  emitFast(t);
  t.f.end();
  return emitSlowWay(t.f);
}

/** RIP after the instruction. */
function nextIp(t: TransitionEmitter): FunctionBody {
  return t.field64('pageBase').get(REC).memory(memoryOp.i64Load32U, record.nextOffset).emit(op.i64Add);
}

/**
 * Goes on at `state.rip`. Interrupts that became enabled are the run loop's, and so is RF where the slice ends here;
 * else the next instruction would clear it.
 */
function proceed(t: TransitionEmitter, before: number, flags: number): void {
  const { f } = t;
  f.get(before).i32(-1).emit(op.i32Xor).get(flags).emit(op.i32And).i32(RFLAGS.IF).emit(op.i32And).if();
  f.i32(Exit.StopAtTarget).emit(op.return).end();
  emitEndOfResumeFlag(f);
  f.get(REC).returnCall(SharedFunction.dispatch);
}

/** The next instruction clears RF, if it is still of this slice. */
export function emitEndOfResumeFlag(f: FunctionBody): void {
  const flags = () => f.i32(fieldAddress.flagsOther).memory(memoryOp.i32Load);
  flags().i32(RFLAGS.RF).emit(op.i32And).if();
  // A region that has left to the interpreter may go on with the budget that it has set aside.
  f.i32(fieldAddress.budget).memory(memoryOp.i64Load);
  f.i32(SET_ASIDE_ADDRESS).memory(memoryOp.i64Load).emit(op.i64Add).i64(0n).emit(op.i64GtS).if();
  f.i32(fieldAddress.flagsOther);
  flags().i32(~RFLAGS.RF).emit(op.i32And).memory(memoryOp.i32Store);
  f.end().end();
}

/** From RFLAGS to the part of it that is not lazy. */
export const withoutStatus = (f: FunctionBody): FunctionBody =>
  f
    .i32(WRITABLE_FLAGS & ~STATUS_FLAGS)
    .emit(op.i32And)
    .i32(RFLAGS.FIXED)
    .emit(op.i32Or);

function systemCallsEnabled(t: TransitionEmitter): void {
  t.unless(() => t.field('efer').i32(EFER.SCE).emit(op.i32And));
}

export const emitSyscall = (): Uint8Array =>
  handler((t) => {
    const { f } = t;
    systemCallsEnabled(t);
    t.unlessToldOfRing(() => f.i32(1));
    const flags = f.local(I32);
    const other = f.local(I32);
    const cpl = f.local(I32);
    t.flags().i32(~RFLAGS.RF).emit(op.i32And).set(flags);
    t.setGpr(RCX, () => nextIp(t));
    t.setGpr(R11, () => f.get(flags).emit(op.i64ExtendI32U));
    f.get(flags);
    t.field('fmask').i32(-1).emit(op.i32Xor, op.i32And).tee(flags);
    withoutStatus(f).set(other);
    t.setStatusFlags(flags);
    const selector = () => f.i32(fieldAddress.star).memory(memoryOp.i32Load16U, 4).i32(0xfffc).emit(op.i32And);
    t.commitFlat(CS, selector, FLAT_CODE | ACCESS.L);
    t.commitFlat(SS, () => selector().i32(8).emit(op.i32Add), FLAT_DATA);
    f.i32(0).set(cpl);
    t.commitPrivilege(cpl, other);
    t.setField64('rip', () => t.field64('lstar'));
    proceed(t, other, other);
  });

export const emitSysretq = (): Uint8Array =>
  handler((t) => {
    const { f } = t;
    systemCallsEnabled(t);
    t.when(() => t.field('cpl'));
    t.unlessToldOfRing(() => f.i32(1));
    const target = f.local(I64);
    t.gpr(RCX).set(target);
    t.canonical(target);
    const flags = f.local(I32);
    const before = f.local(I32);
    const other = f.local(I32);
    const cpl = f.local(I32);
    t.gpr(R11)
      .emit(op.i32WrapI64)
      .i32(WRITABLE_FLAGS & ~(RFLAGS.RF | RFLAGS.VM))
      .emit(op.i32And)
      .set(flags);
    t.when(() => f.get(flags).i32(RFLAGS.TF).emit(op.i32And));
    t.field('flagsOther').set(before);
    f.get(flags);
    withoutStatus(f).set(other);
    t.setStatusFlags(flags);
    const selector = (offset: number) => () =>
      f
        .i32(fieldAddress.star)
        .memory(memoryOp.i32Load16U, 6)
        .i32(offset)
        .emit(op.i32Add)
        .i32(0xffff)
        .emit(op.i32And)
        .i32(3)
        .emit(op.i32Or);
    t.commitFlat(CS, selector(16), FLAT_CODE | ACCESS.L | RING_3);
    t.commitFlat(SS, selector(8), FLAT_DATA | RING_3);
    f.i32(3).set(cpl);
    t.commitPrivilege(cpl, other);
    t.setField64('rip', () => f.get(target));
    proceed(t, before, other);
  });

/** INT n; the vector is the record's immediate. */
export const emitInt = (): Uint8Array =>
  handler((t) => {
    const { f } = t;
    t.setField64('rip', () => nextIp(t));
    t.unless(() =>
      f
        .get(REC)
        .memory(memoryOp.i32Load, record.immediate)
        .i32(0)
        .i32(EventKind.Software)
        .call(SharedFunction.deliverEvent),
    );
    f.get(REC).returnCall(SharedFunction.dispatch);
  });

export const emitIretq = (): Uint8Array =>
  handler((t) => {
    const { f } = t;
    t.when(() => t.flagsOther(RFLAGS.NT));
    const popped = popFrame(t);
    const segments = readReturnSegments(t, popped);
    const before = f.local(I32);
    const flags = f.local(I32);
    t.field('flagsOther').set(before);
    loadableFlags(t, flags);
    f.get(before).get(flags).i32(-1).emit(op.i32Xor, op.i32And).get(popped.flags).get(flags).emit(op.i32And, op.i32Or);
    withoutStatus(f).set(flags);
    t.setStatusFlags(popped.flags);
    commitReturn(t, popped, segments);
    t.commitPrivilege(segments.cpl, flags);
    proceed(t, before, flags);
  });

type Popped = Readonly<Record<'rip' | 'cs' | 'flags' | 'rsp' | 'ss', number>>;

/** Locals with what is popped. */
function popFrame(t: TransitionEmitter): Popped {
  const { f } = t;
  const start = f.local(I64);
  const length = f.local(I32);
  t.gpr(RSP).set(start);
  f.i32(40).set(length);
  const frame = t.frame(start, length, () => t.field('tlbBase'), FOR_READING);
  const slot = (index: number) => t.slot(frame, () => f.i32(8 * index));
  const address = (index: number): number => {
    const local = f.local(I64);
    slot(index);
    f.memory(memoryOp.i64Load).set(local);
    t.canonical(local);
    return local;
  };
  const word = (index: number, opcode: number): number => {
    const local = f.local(I32);
    slot(index);
    f.memory(opcode).set(local);
    return local;
  };
  const popped = {
    rip: address(0),
    cs: word(1, memoryOp.i32Load16U),
    flags: word(2, memoryOp.i32Load),
    rsp: address(3),
    ss: word(4, memoryOp.i32Load16U),
  };
  t.when(() => f.get(popped.flags).i32(RFLAGS.TF).emit(op.i32And));
  return popped;
}

interface ReturnSegments {
  /** Local. */
  readonly cpl: number;
  readonly code: DescriptorLocals;
  readonly stack: DescriptorLocals;
}

/** Checks CS and SS of the ring returned to. A null SS has no descriptor. */
function readReturnSegments(t: TransitionEmitter, { cs, ss }: Popped): ReturnSegments {
  const { f } = t;
  const code = t.descriptor(cs);
  t.isLongCode(code);
  const cpl = f.local(I32);
  f.get(cs).i32(3).emit(op.i32And).set(cpl);
  const isCpl = (value: () => FunctionBody) => () => value().get(cpl).emit(op.i32Eq);
  t.unless(isCpl(() => t.dpl(code)));
  t.unless(isCpl(() => f.get(ss).i32(3).emit(op.i32And)));
  t.when(() => {
    f.get(cpl);
    t.field('cpl').emit(op.i32LtU);
  });
  t.unlessToldOfRing(() => {
    f.get(cpl);
    t.field('cpl').emit(op.i32Ne);
  });
  let stack: DescriptorLocals | undefined;
  t.either(
    () => isNull(f, ss),
    () => t.when(() => f.get(cpl).i32(3).emit(op.i32Eq)),
    () => {
      stack = t.descriptor(ss);
      t.isStackData(stack);
      t.unless(isCpl(() => t.dpl(stack as DescriptorLocals)));
    },
  );
  return { cpl, code, stack: stack as unknown as DescriptorLocals };
}

const isNull = (f: FunctionBody, selector: number): FunctionBody =>
  f.get(selector).i32(0xfffc).emit(op.i32And, op.i32Eqz);

/** Leaves in a local which flags IRET may change at the CPL it starts from. */
function loadableFlags(t: TransitionEmitter, mask: number): void {
  const { f } = t;
  const loadable = WRITABLE_FLAGS & ~RFLAGS.VM;
  f.i32(loadable & ~(RFLAGS.IOPL | RFLAGS.VIF | RFLAGS.VIP)).i32(loadable);
  t.field('cpl').emit(op.select);
  f.i32(~RFLAGS.IF).i32(-1);
  t.field('cpl');
  t.field('flagsOther').i32(12).emit(op.i32ShrU).i32(3).emit(op.i32And, op.i32GtU, op.select, op.i32And).set(mask);
}

function commitReturn(t: TransitionEmitter, popped: Popped, { cpl, code, stack }: ReturnSegments): void {
  const { f } = t;
  t.commitSegment(CS, () => f.get(popped.cs), code);
  t.either(
    () => isNull(f, popped.ss),
    () => t.commitNullStack(() => f.get(popped.ss), cpl),
    () => t.commitSegment(SS, () => f.get(popped.ss), stack),
  );
  t.setGpr(RSP, () => f.get(popped.rsp));
  t.either(
    () => {
      f.get(cpl);
      return t.field('cpl').emit(op.i32GtU);
    },
    () => t.dropInnerSegments(cpl),
  );
  t.setField64('rip', () => f.get(popped.rip));
}
