/** Call gates (SDM volume 3, "Call Gates" and "Accessing a Code Segment Through a Call Gate"). */

import { joined, type LinearAddress, low32, plus } from '../isa/linear-address.ts';
import { checkSegment, readLinearNumber } from './access.ts';
import { checkTarget, commitCode, enterCode, pushReturnAddress } from './code-segment.ts';
import {
  type Descriptor,
  isCode,
  isConforming,
  isNullSelector,
  isPresent,
  markAccessed,
  readDescriptor,
  rplOf,
  SystemType,
  selectorCode,
  systemType,
  upperBase,
} from './descriptors.ts';
import { GP, NP } from './events.ts';
import { isIa32e, refreshMode, stackSize } from './modes.ts';
import { Privilege, type Processor } from './processor.ts';
import { ACCESS } from './register-bits.ts';
import { type PushFrame, readStackPointer, stack64, writeStackPointer } from './stack.ts';
import { CS, SS } from './state.ts';
import {
  commitInnerStack,
  commitInnerStack64,
  type InnerStack,
  openInnerStack,
  readInnerStackPointer64,
} from './task-state.ts';

interface Gate {
  readonly target: Descriptor;
  readonly offset: LinearAddress;
  readonly parameters: number;
  /** Width of what is pushed. */
  readonly sizeBytes: 2 | 4 | 8;
}

/** The checks of the gate and of the code segment it leads to, common to JMP and CALL. */
function readGate(processor: Processor, d: Descriptor): Gate {
  const { state } = processor;
  const code = selectorCode(d.selector);
  if (d.dpl < Math.max(state.cpl, rplOf(d.selector))) throw GP(code);
  const long = isIa32e(state);
  const upper = long ? upperBase(processor, d, GP) : 0;
  if (!isPresent(d)) throw NP(code);
  const selector = d.low >>> 16;
  if (isNullSelector(selector)) throw GP(0);
  const target = readDescriptor(processor, selector);
  const targetCode = selectorCode(selector);
  if (!isCode(target) || target.dpl > state.cpl) throw GP(targetCode);
  if (long && (target.attributes & (ACCESS.L | ACCESS.DB)) !== ACCESS.L) throw GP(targetCode);
  if (!isPresent(target)) throw NP(targetCode);
  const wide = systemType(d) === SystemType.callGate;
  const low = (d.low & 0xffff) | (wide ? d.high & 0xffff_0000 : 0);
  const offset = joined(upper, low);
  return { target, offset, parameters: long ? 0 : d.high & 0x1f, sizeBytes: long ? 8 : wide ? 4 : 2 };
}

export function jumpThroughGate(processor: Processor, d: Descriptor): void {
  const gate = readGate(processor, d);
  const { cpl } = processor.state;
  if (!isConforming(gate.target) && gate.target.dpl !== cpl) throw GP(selectorCode(gate.target.selector));
  checkTarget(processor, gate.target, gate.offset);
  enterCode(processor, gate.target, gate.offset, cpl);
}

export function callThroughGate(processor: Processor, d: Descriptor, nextIp: LinearAddress): void {
  const gate = readGate(processor, d);
  const inner = !isConforming(gate.target) && gate.target.dpl < processor.state.cpl;
  if (inner && gate.sizeBytes === 8) callInner64(processor, gate, nextIp);
  else if (inner) callInner(processor, gate, nextIp);
  else callSame(processor, gate, nextIp);
}

function callSame(processor: Processor, gate: Gate, nextIp: LinearAddress): void {
  const { state } = processor;
  const size = stackSize(state);
  const frame =
    gate.sizeBytes === 8 && size !== 64
      ? pushes64(processor, stack64(processor, readStackPointer(processor, size), 0, Privilege.Current), nextIp)
      : pushReturnAddress(processor, gate.sizeBytes, nextIp);
  checkTarget(processor, gate.target, gate.offset);
  const attributes = markAccessed(processor, gate.target);
  writeStackPointer(processor, gate.sizeBytes === 8 ? 64 : size, frame.commit());
  commitCode(state, gate.target, attributes, state.cpl);
  refreshMode(processor);
  processor.jump(gate.offset);
}

function pushes64(processor: Processor, frame: PushFrame, nextIp: LinearAddress): PushFrame {
  frame.push(processor.state.segment(CS).selector, 8);
  frame.push(nextIp, 8);
  return frame;
}

/** Call to an inner ring outside IA-32e mode: parameters are copied to the stack that the TSS names. */
function callInner(processor: Processor, gate: Gate, nextIp: LinearAddress): void {
  const { state } = processor;
  const { dpl } = gate.target;
  const stack: InnerStack = openInnerStack(processor, dpl, 0);
  const { frame } = stack;
  const oldSize = stackSize(state);
  const oldPointer = readStackPointer(processor, oldSize);
  frame.push(state.segment(SS).selector, gate.sizeBytes);
  frame.push(oldPointer, gate.sizeBytes);
  for (let index = gate.parameters - 1; index >= 0; index--) {
    const raw = low32(plus(oldPointer, index * gate.sizeBytes));
    const offset = oldSize === 32 ? raw : raw & 0xffff;
    const linear = checkSegment(processor, SS, offset, gate.sizeBytes, 'read');
    frame.push(readLinearNumber(processor, linear, gate.sizeBytes, Privilege.Current), gate.sizeBytes);
  }
  frame.push(state.segment(CS).selector, gate.sizeBytes);
  frame.push(nextIp, gate.sizeBytes);
  checkTarget(processor, gate.target, gate.offset);
  const attributes = markAccessed(processor, gate.target);
  const pointer = frame.commit();
  commitCode(state, gate.target, attributes, dpl);
  processor.setCpl(dpl);
  commitInnerStack(processor, stack, pointer);
  refreshMode(processor);
  processor.jump(gate.offset);
}

/** Call to an inner ring in IA-32e mode: RSP comes from the TSS, SS becomes null. */
function callInner64(processor: Processor, gate: Gate, nextIp: LinearAddress): void {
  const { state } = processor;
  const { dpl } = gate.target;
  const newPointer = readInnerStackPointer64(processor, dpl, 0, 0);
  const frame = stack64(processor, newPointer, 0, Privilege.Supervisor);
  const oldSize = stackSize(state);
  frame.push(state.segment(SS).selector, 8);
  frame.push(readStackPointer(processor, oldSize), 8);
  pushes64(processor, frame, nextIp);
  checkTarget(processor, gate.target, gate.offset);
  const attributes = markAccessed(processor, gate.target);
  const pointer = frame.commit();
  commitCode(state, gate.target, attributes, dpl);
  processor.setCpl(dpl);
  refreshMode(processor);
  commitInnerStack64(processor, dpl, pointer);
  processor.jump(gate.offset);
}
