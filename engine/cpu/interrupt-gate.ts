/** Delivery through interrupt and trap gates of the IDT (SDM volume 3, "Exception and Interrupt Handling in 64-bit Mode" and before). */

import { joined, type LinearAddress, low32, offsetInPage, plus } from '../isa/linear-address.ts';
import { checkLongCode, checkTarget, commitCode } from './code-segment.ts';
import {
  type Descriptor,
  isCode,
  isConforming,
  isNullSelector,
  isPresent,
  markAccessed,
  readDescriptor,
  SystemType,
  selectorCode,
  tableAddress,
} from './descriptors.ts';
import { GP, NP } from './events.ts';
import { readFlags } from './flags.ts';
import { isIa32e, isVirtual8086, refreshMode, stackSize } from './modes.ts';
import { type CpuEvent, EventType, Privilege, type Processor } from './processor.ts';
import { ACCESS, RFLAGS } from './register-bits.ts';
import { currentStack, type PushFrame, RSP, readStackPointer, stack64, writeStackPointer } from './stack.ts';
import { CS, SS } from './state.ts';
import { commitInnerStack, commitInnerStack64, openInnerStack, readInnerStackPointer64 } from './task-state.ts';
import { readTaskDescriptor, switchTask } from './task-switch.ts';
import { dropDataSegments, pushDataSegments } from './virtual-8086.ts';

/** Bits of the error codes of faults during delivery. */
const EXT = 1;
const IDT = 2;

interface InterruptGate {
  readonly selector: number;
  readonly offset: LinearAddress;
  /** Width of what is pushed. */
  readonly sizeBytes: 2 | 4 | 8;
  /** Whether entry clears IF. */
  readonly interrupt: boolean;
  /** Interrupt stack table index, 0 for none. */
  readonly ist: number;
}

interface TaskGate {
  /** Selector of the TSS. */
  readonly task: number;
}

const isSoftware = ({ type }: CpuEvent): boolean =>
  type === EventType.softwareInterrupt || type === EventType.softwareException;

export function deliverThroughGate(processor: Processor, event: CpuEvent): void {
  const ext = isSoftware(event) || event.type === EventType.privilegedSoftwareException ? 0 : EXT;
  const gate = readGate(processor, event, ext);
  if ('task' in gate) return enterTask(processor, event, gate.task, ext);
  const code = readHandler(processor, gate, ext);
  const cpl = isConforming(code) ? processor.state.cpl : code.dpl;
  if (isVirtual8086(processor.state) && cpl !== 0) throw GP(selectorCode(gate.selector) | ext);
  if (gate.sizeBytes === 8) enter64(processor, event, gate, code, cpl, ext);
  else if (cpl < processor.state.cpl) enterInner(processor, event, gate, code, cpl, ext);
  else enterSame(processor, event, gate, code, cpl);
}

/** The handler is a task of its own. */
function enterTask(processor: Processor, event: CpuEvent, selector: number, ext: number): void {
  const d = readTaskDescriptor(processor, selector, { ext });
  processor.intercepts?.onTaskSwitch?.(selector, 'idt');
  const { errorCode } = event;
  const returnIp = low32(event.returnIp);
  const flags = savedFlags(processor, event);
  const fault = switchTask(processor, d, { source: 'idt', returnIp, flags, ext, errorCode });
  if (fault) throw fault;
}

function readGate(processor: Processor, event: CpuEvent, ext: number): InterruptGate | TaskGate {
  const { memory, state } = processor;
  const code = event.vector * 8 + IDT + ext;
  const long = isIa32e(state);
  const entryBytes = long ? 16 : 8;
  if (event.vector * entryBytes + entryBytes - 1 > state.idtrLimit) throw GP(code);
  const at = tableAddress(processor, state.idtrBase, event.vector * entryBytes);
  const low = memory.readU32(at, Privilege.Supervisor);
  const high = memory.readU32(plus(at, 4), Privilege.Supervisor);
  const type = (high >>> 8) & 0x1f;
  if (!isGateType(type, long)) throw GP(code);
  if (isSoftware(event) && ((high >>> 13) & 3) < state.cpl) throw GP(code);
  if ((high & 0x8000) === 0) throw NP(code);
  if (type === SystemType.taskGate) return { task: low >>> 16 };
  const wide = (type & 8) !== 0;
  const offset32 = ((low & 0xffff) | (wide ? high & 0xffff_0000 : 0)) >>> 0;
  const upper = long ? memory.readU32(plus(at, 8), Privilege.Supervisor) : 0;
  return {
    selector: low >>> 16,
    offset: joined(upper, offset32),
    sizeBytes: long ? 8 : wide ? 4 : 2,
    interrupt: (type & 1) === 0,
    ist: long ? high & 7 : 0,
  };
}

function isGateType(type: number, long: boolean): boolean {
  if (type === SystemType.interruptGate || type === SystemType.trapGate) return true;
  const legacy: number[] = [SystemType.interruptGate16, SystemType.trapGate16, SystemType.taskGate];
  return !long && legacy.includes(type);
}

/** Reads and checks the code segment of the handler. */
function readHandler(processor: Processor, gate: InterruptGate, ext: number): Descriptor {
  if (isNullSelector(gate.selector)) throw GP(ext);
  const code = selectorCode(gate.selector) | ext;
  const d = readDescriptor(processor, gate.selector, () => GP(code));
  if (!isCode(d) || d.dpl > processor.state.cpl) throw GP(code);
  checkLongCode(processor, d, code);
  if (gate.sizeBytes === 8 && (d.attributes & ACCESS.L) === 0) throw GP(code);
  if (!isPresent(d)) throw NP(code);
  return d;
}

/** Faults save RF = 1, traps and interrupts save it as it is (SDM volume 3, "Instruction-Breakpoint Exception Condition"). */
function savedFlags(processor: Processor, event: CpuEvent): number {
  const flags = readFlags(processor.state);
  return event.resume ? flags | RFLAGS.RF : flags;
}

function pushEvent(processor: Processor, frame: PushFrame, event: CpuEvent, sizeBytes: number): void {
  frame.push(savedFlags(processor, event), sizeBytes);
  frame.push(processor.state.segment(CS).selector, sizeBytes);
  frame.push(event.returnIp, sizeBytes);
  if (event.errorCode !== undefined) frame.push(event.errorCode, sizeBytes);
}

function finish(processor: Processor, gate: InterruptGate): void {
  const cleared = RFLAGS.TF | RFLAGS.NT | RFLAGS.RF | RFLAGS.VM | (gate.interrupt ? RFLAGS.IF : 0);
  processor.writeFlags(readFlags(processor.state) & ~cleared);
  refreshMode(processor);
  processor.state.rip = gate.offset;
}

function enterSame(processor: Processor, event: CpuEvent, gate: InterruptGate, code: Descriptor, cpl: number): void {
  const frame = currentStack(processor);
  pushEvent(processor, frame, event, gate.sizeBytes);
  checkTarget(processor, code, gate.offset);
  const attributes = markAccessed(processor, code);
  const size = stackSize(processor.state);
  writeStackPointer(processor, size, frame.commit());
  commitCode(processor.state, code, attributes, cpl);
  finish(processor, gate);
}

function enterInner(
  processor: Processor,
  event: CpuEvent,
  gate: InterruptGate,
  code: Descriptor,
  cpl: number,
  ext: number,
): void {
  const { state } = processor;
  const stack = openInnerStack(processor, cpl, ext);
  const leavesVirtual8086 = isVirtual8086(state);
  if (leavesVirtual8086) pushDataSegments(processor, stack.frame, gate.sizeBytes);
  stack.frame.push(state.segment(SS).selector, gate.sizeBytes);
  // All of ESP, also where the old stack is 16 bits wide.
  stack.frame.push(state.gpr32(RSP), gate.sizeBytes);
  pushEvent(processor, stack.frame, event, gate.sizeBytes);
  checkTarget(processor, code, gate.offset);
  const attributes = markAccessed(processor, code);
  const pointer = stack.frame.commit();
  commitCode(state, code, attributes, cpl);
  processor.setCpl(cpl);
  commitInnerStack(processor, stack, pointer);
  if (leavesVirtual8086) dropDataSegments(processor);
  finish(processor, gate);
}

/** IA-32e mode: SS:RSP is always pushed, onto a stack aligned to 16 bytes. */
function enter64(
  processor: Processor,
  event: CpuEvent,
  gate: InterruptGate,
  code: Descriptor,
  cpl: number,
  ext: number,
): void {
  const { state } = processor;
  const inner = cpl < state.cpl;
  const oldPointer = readStackPointer(processor, 64);
  const switched = inner || gate.ist > 0;
  const top = switched ? readInnerStackPointer64(processor, cpl, gate.ist, ext) : oldPointer;
  const frame = stack64(
    processor,
    plus(top, -(offsetInPage(top) % 16)),
    ext,
    inner ? Privilege.Supervisor : Privilege.Current,
  );
  frame.push(state.segment(SS).selector, 8);
  frame.push(oldPointer, 8);
  pushEvent(processor, frame, event, 8);
  checkTarget(processor, code, gate.offset);
  const attributes = markAccessed(processor, code);
  const pointer = frame.commit();
  commitCode(state, code, attributes, cpl);
  processor.setCpl(cpl);
  refreshMode(processor);
  if (inner) commitInnerStack64(processor, cpl, pointer);
  else writeStackPointer(processor, 64, pointer);
  finish(processor, gate);
}
