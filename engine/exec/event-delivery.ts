/**
 * The delivery of INT n and of exceptions in 64-bit mode through interrupt and trap gates, as WebAssembly: what
 * cpu/interrupt-gate.ts does, where nothing about it is out of the ordinary (see ring-transitions.ts).
 */
import { Vector } from '../cpu/events.ts';
import { EVENTS_ADDRESS, PAGE_FAULT_ADDRESS, pageFaultField, WATCHED } from '../cpu/memory-map.ts';
import { CpuMode } from '../cpu/modes.ts';
import { ACCESS, RFLAGS } from '../cpu/register-bits.ts';
import { CS, SS, TR } from '../cpu/state.ts';
import { fieldAddress, segmentAddress } from '../cpu/state-layout.ts';
import { FunctionBody, I32, I64, memoryOp, op } from '../wasm/encoder.ts';
import { MAX_EVENTS } from './exits.ts';
import { record } from './record.ts';
import { SharedFunction } from './shared-functions.ts';
import { type DescriptorLocals, FOR_WRITING, type Frame, RSP, TransitionEmitter } from './transition-emitter.ts';
import { emitWatched } from './watched-emitter.ts';

/** What kind of event is delivered. */
export const EventKind = {
  /** INT n: the gate's DPL is checked. */
  Software: 1,
  /** Has an error code. */
  ErrorCode: 2,
  /** Saves RF as 1. */
  Fault: 4,
} as const;

const GATE_BYTES = 16;
/** Present interrupt and trap gates, in the upper half of their first 8 bytes: the type's last bit tells which. */
const GATE_MASK = 0x9e00;
const GATE_VALUE = 0x8e00;
const TRAP_GATE = 0x100;

/**
 * (vector, error code, EventKind) → 1, or 0 if the event has to be delivered the slow way: enters the handler of an
 * event, with `state.rip` to return to.
 */
export function deliverEventFunction(): Uint8Array {
  const t = new TransitionEmitter(3);
  const { f } = t;
  f.block();
  t.begin();
  t.unless(() => t.field('mode').i32(CpuMode.long64).emit(op.i32Eq));
  deliver(t);
  f.end();
  return f.i32(0).bytes();
}

/**
 * (unused) → 1, or 0 if it is the run loop's: deals with the page fault that a refill found, as the run loop would, after
 * compiled code left with Exit.Event.
 */
export function deliverPageFaultFunction(): Uint8Array {
  const f = new FunctionBody(1);
  const at = f.local(I32);
  const word = (address: number) => f.i32(address).memory(memoryOp.i32Load);
  f.block();
  f.i32(PAGE_FAULT_ADDRESS).memory(memoryOp.i32Load, pageFaultField.isPending).emit(op.i32Eqz).branchIf(0);
  emitWatched(f, WATCHED.exceptions).branchIf(0);
  // With all of the budget taken, the run loop goes block by block, or ends.
  f.i32(fieldAddress.budget).memory(memoryOp.i64Load).i64(0n).emit(op.i64LeS).branchIf(0);
  word(EVENTS_ADDRESS)
    .i32(MAX_EVENTS - 1)
    .emit(op.i32GeU)
    .branchIf(0);
  word(fieldAddress.exitRecord).set(at);
  emitRipOf(f, at);
  f.i32(Vector.PF).i32(PAGE_FAULT_ADDRESS).memory(memoryOp.i32Load, pageFaultField.errorCode);
  f.i32(EventKind.Fault | EventKind.ErrorCode)
    .call(SharedFunction.deliverEvent)
    .emit(op.i32Eqz)
    .branchIf(0);
  f.i32(PAGE_FAULT_ADDRESS).i32(0).memory(memoryOp.i32Store, pageFaultField.isPending);
  f.i32(fieldAddress.cr2)
    .i32(PAGE_FAULT_ADDRESS)
    .memory(memoryOp.i64Load, pageFaultField.linear)
    .memory(memoryOp.i64Store);
  f.i32(fieldAddress.linkSite).i32(0).memory(memoryOp.i32Store);
  emitTakingPlaceOf(f, at);
  f.i32(1).emit(op.return).end();
  return f.i32(0).bytes();
}

/** RIP becomes that of the instruction of a record (local). */
export function emitRipOf(f: FunctionBody, at: number): void {
  f.i32(fieldAddress.rip).i32(fieldAddress.pageBase).memory(memoryOp.i64Load);
  f.get(at).memory(memoryOp.i64Load32U, record.nextOffset).emit(op.i64Add);
  f.get(at).memory(memoryOp.i64Load16U, record.length).emit(op.i64Sub).memory(memoryOp.i64Store);
}

/** An event takes the place of the instruction of a record (local): RunBudget.giveBack. */
export function emitTakingPlaceOf(f: FunctionBody, at: number): void {
  f.i32(EVENTS_ADDRESS).i32(EVENTS_ADDRESS).memory(memoryOp.i32Load).i32(1).emit(op.i32Add).memory(memoryOp.i32Store);
  // The event takes one from the budget, and what the block did not execute goes back.
  f.i32(fieldAddress.budget).i32(fieldAddress.budget).memory(memoryOp.i64Load);
  f.get(at).memory(memoryOp.i64Load16U, record.blockCount).emit(op.i64Add).i64(1n).emit(op.i64Sub);
  f.memory(memoryOp.i64Store);
}

const VECTOR = 0;
const ERROR_CODE = 1;
const KIND = 2;

function deliver(t: TransitionEmitter): void {
  const { f } = t;
  const isKind = (kind: number) => f.get(KIND).i32(kind).emit(op.i32And);
  const oldPointer = f.local(I64);
  t.gpr(RSP).set(oldPointer);
  t.canonical(oldPointer);
  const gate = readGate(t, isKind);
  const code = t.descriptor(gate.selector);
  const cpl = checkHandlerSegment(t, code);
  const inner = f.local(I32);
  f.get(cpl);
  t.field('cpl').emit(op.i32LtU).set(inner);
  t.unlessToldOfRing(() => f.get(inner));
  const top = stackTop(t, { cpl, inner, ist: gate.ist, oldPointer });
  const start = f.local(I64);
  const length = f.local(I32);
  f.i32(48).i32(40);
  isKind(EventKind.ErrorCode).emit(op.select).set(length);
  f.get(top).i64(~15n).emit(op.i64And).get(length).emit(op.i64ExtendI32U, op.i64Sub).set(start);
  const set = () => {
    f.get(t.supervisor);
    t.field('tlbBase').get(inner).emit(op.select);
  };
  const frame = t.frame(start, length, set, FOR_WRITING);
  pushFrame(t, frame, oldPointer, isKind);
  t.commitSegment(CS, () => f.get(gate.selector).i32(0xfffc).emit(op.i32And).get(cpl).emit(op.i32Or), code);
  f.get(inner).if();
  t.commitNullStack(() => f.get(cpl), cpl);
  f.end();
  t.setGpr(RSP, () => f.get(start));
  const cleared = RFLAGS.TF | RFLAGS.NT | RFLAGS.RF | RFLAGS.VM;
  const flags = f.local(I32);
  f.i32(~cleared)
    .i32(~(cleared | RFLAGS.IF))
    .get(gate.high)
    .i32(TRAP_GATE)
    .emit(op.i32And, op.select);
  t.field('flagsOther').emit(op.i32And).set(flags);
  t.commitPrivilege(cpl, flags);
  t.setField('repeating', () => f.i32(0));
  t.setField64('rip', () => f.get(gate.offset));
  f.i32(1).emit(op.return);
}

/** The vector's gate: locals. */
function readGate(t: TransitionEmitter, isKind: (kind: number) => FunctionBody) {
  const { f } = t;
  const at = () => f.get(VECTOR).i32(GATE_BYTES).emit(op.i32Mul);
  t.when(() => {
    at()
      .i32(GATE_BYTES - 1)
      .emit(op.i32Add);
    t.field('idtrLimit').emit(op.i32GtU);
  });
  const address = () => {
    t.field64('idtrBase');
    at().emit(op.i64ExtendI32U, op.i64Add);
  };
  const host = t.tableEntry(address, GATE_BYTES);
  const [high, selector, ist, offset] = [f.local(I32), f.local(I32), f.local(I32), f.local(I64)];
  f.get(host).memory(memoryOp.i32Load, 4).tee(high).i32(7).emit(op.i32And).set(ist);
  t.unless(() => f.get(high).i32(GATE_MASK).emit(op.i32And).i32(GATE_VALUE).emit(op.i32Eq));
  t.when(() => {
    isKind(EventKind.Software).emit(op.i32Eqz, op.i32Eqz);
    f.get(high).i32(13).emit(op.i32ShrU).i32(3).emit(op.i32And);
    t.field('cpl').emit(op.i32LtU, op.i32And);
  });
  f.get(host).memory(memoryOp.i32Load16U, 2).set(selector);
  f.get(host).memory(memoryOp.i64Load16U).get(high).i32(0xffff_0000).emit(op.i32And, op.i64ExtendI32U, op.i64Or);
  f.get(host).memory(memoryOp.i64Load32U, 8).i64(32n).emit(op.i64Shl, op.i64Or).set(offset);
  t.canonical(offset);
  return { high, selector, ist, offset };
}

/** Checks the code segment of the handler; its DPL, the CPL to be, in a local. */
function checkHandlerSegment(t: TransitionEmitter, code: DescriptorLocals): number {
  const { f } = t;
  t.isLongCode(code);
  const cpl = f.local(I32);
  t.dpl(code).set(cpl);
  t.when(() => {
    f.get(cpl);
    t.field('cpl').emit(op.i32GtU);
  });
  return cpl;
}

/** Where the stack of the handler starts: that of the ring or IST in the TSS, or the current one. A local. */
function stackTop(
  t: TransitionEmitter,
  { cpl, inner, ist, oldPointer }: Readonly<Record<'cpl' | 'inner' | 'ist' | 'oldPointer', number>>,
): number {
  const { f } = t;
  const top = f.local(I64);
  const offset = f.local(I32);
  f.get(oldPointer).set(top);
  // IST1 is at 36, RSP0 at 4.
  f.get(ist).i32(8).emit(op.i32Mul).i32(28).emit(op.i32Add).get(cpl).i32(8).emit(op.i32Mul).i32(4).emit(op.i32Add);
  f.get(ist).emit(op.select).set(offset);
  t.either(
    () => f.get(inner).get(ist).emit(op.i32Or),
    () => {
      t.when(() => t.segment(TR, 'attributes').i32(ACCESS.UNUSABLE).emit(op.i32And));
      t.when(() => {
        f.get(offset).i32(7).emit(op.i32Add);
        t.segment(TR, 'limit').emit(op.i32GtU);
      });
      const address = () =>
        f.i32(segmentAddress(TR)).memory(memoryOp.i64Load).get(offset).emit(op.i64ExtendI32U, op.i64Add);
      const host = t.tableEntry(address, 8);
      f.get(host).memory(memoryOp.i64Load).set(top);
      t.canonical(top);
    },
  );
  return top;
}

/** Writes SS, RSP, RFLAGS, CS, RIP and the error code, if there is one. */
function pushFrame(
  t: TransitionEmitter,
  frame: Frame,
  oldPointer: number,
  isKind: (kind: number) => FunctionBody,
): void {
  const { f } = t;
  const bias = f.local(I32);
  f.i32(8).i32(0);
  isKind(EventKind.ErrorCode).emit(op.select).set(bias);
  const slot = (index: number, value: () => FunctionBody) => {
    t.slot(frame, () =>
      f
        .get(bias)
        .i32(8 * index)
        .emit(op.i32Add),
    );
    value().memory(memoryOp.i64Store);
  };
  slot(0, () => t.field64('rip'));
  slot(1, () => t.segment(CS, 'selector').emit(op.i64ExtendI32U));
  slot(2, () => {
    t.flags().i32(RFLAGS.RF).i32(0);
    return isKind(EventKind.Fault).emit(op.select, op.i32Or, op.i64ExtendI32U);
  });
  slot(3, () => f.get(oldPointer));
  slot(4, () => t.segment(SS, 'selector').emit(op.i64ExtendI32U));
  isKind(EventKind.ErrorCode).if();
  t.slot(frame, () => f.i32(0));
  f.get(ERROR_CODE).emit(op.i64ExtendI32U).memory(memoryOp.i64Store).end();
}
