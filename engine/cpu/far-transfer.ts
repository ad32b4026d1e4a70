/** Far JMP, CALL and RET (SDM volume 2, "JMP", "CALL", "RET"; volume 3, "Privilege Levels"). */

import { type LinearAddress, linearAddressOf } from '../isa/linear-address.ts';
import { readOperandMemory } from './access.ts';
import { callThroughGate, jumpThroughGate } from './call-gate.ts';
import { checkCodeSegment, checkTarget, commitCode, enterCode, pushReturnAddress } from './code-segment.ts';
import {
  type Descriptor,
  isCode,
  isNullSelector,
  isPresent,
  isSystem,
  markAccessed,
  readDescriptor,
  rplOf,
  SystemType,
  selectorCode,
  systemType,
} from './descriptors.ts';
import { GP, NP } from './events.ts';
import type { DecodedInstruction, SystemInstruction } from './instruction.ts';
import { isIa32e, refreshMode, usesRealSelectors } from './modes.ts';
import { readReturnCode, returnToOuter } from './privilege-return.ts';
import type { Processor } from './processor.ts';
import { loadRealSegment } from './segmentation.ts';
import { commitToCurrentStack, PopFrame } from './stack.ts';
import { CS } from './state.ts';
import { readTaskDescriptor } from './task-switch.ts';
import { transferToTask } from './task-transfer.ts';

interface FarPointer {
  readonly selector: number;
  readonly offset: LinearAddress;
}

function readFarPointer(processor: Processor, insn: DecodedInstruction): FarPointer {
  const operand = insn.operand(0);
  if (operand.kind === 'far-pointer') return operand;
  if (operand.kind !== 'memory') throw new Error(`internal: far pointer expected, found ${operand.kind}`);
  const sizeBytes = insn.operandSize / 8;
  const offset = linearAddressOf(readOperandMemory(processor, operand, 0, sizeBytes));
  const selector = Number(readOperandMemory(processor, operand, sizeBytes, 2));
  return { selector, offset };
}

/** JMP to a far pointer. */
export const JMP_FAR: SystemInstruction = (cpu, insn) => {
  const target = readFarPointer(cpu, insn);
  if (usesRealSelectors(cpu.state)) return jumpReal(cpu, target);
  if (isNullSelector(target.selector)) throw GP(0);
  const d = readDescriptor(cpu, target.selector);
  if (isCode(d)) return jumpToCode(cpu, d, target.offset);
  const task = readSystemTarget(cpu, d);
  if (task) transferToTask(cpu, task, 'jmp', insn.nextIp);
  else jumpThroughGate(cpu, d);
};

/** CALL to a far pointer. */
export const CALL_FAR: SystemInstruction = (cpu, insn) => {
  const target = readFarPointer(cpu, insn);
  const sizeBytes = insn.operandSize / 8;
  if (usesRealSelectors(cpu.state)) {
    const frame = pushReturnAddress(cpu, sizeBytes, insn.nextIp);
    checkRealTarget(cpu, target);
    commitToCurrentStack(cpu, frame);
    return jumpReal(cpu, target);
  }
  if (isNullSelector(target.selector)) throw GP(0);
  const d = readDescriptor(cpu, target.selector);
  if (isCode(d)) return callCode(cpu, d, target.offset, sizeBytes, insn.nextIp);
  const task = readSystemTarget(cpu, d);
  if (task) transferToTask(cpu, task, 'call', insn.nextIp);
  else callThroughGate(cpu, d, insn.nextIp);
};

function checkRealTarget(processor: Processor, target: FarPointer): void {
  if (target.offset > processor.state.segment(CS).limit) throw GP(0);
}

function jumpReal(processor: Processor, target: FarPointer): void {
  checkRealTarget(processor, target);
  loadRealSegment(processor.state, CS, target.selector);
  refreshMode(processor);
  processor.jump(target.offset);
}

function jumpToCode(processor: Processor, d: Descriptor, offset: LinearAddress): void {
  const { cpl } = processor.state;
  checkCodeSegment(processor, d, rplOf(d.selector), cpl, selectorCode(d.selector));
  checkTarget(processor, d, offset);
  enterCode(processor, d, offset, cpl);
}

function callCode(
  processor: Processor,
  d: Descriptor,
  offset: LinearAddress,
  sizeBytes: number,
  nextIp: LinearAddress,
): void {
  const { cpl } = processor.state;
  checkCodeSegment(processor, d, rplOf(d.selector), cpl, selectorCode(d.selector));
  const frame = pushReturnAddress(processor, sizeBytes, nextIp);
  checkTarget(processor, d, offset);
  const attributes = markAccessed(processor, d);
  commitToCurrentStack(processor, frame);
  commitCode(processor.state, d, attributes, cpl);
  refreshMode(processor);
  processor.jump(offset);
}

/** The TSS that a TSS descriptor or task gate leads to, checked; undefined for a call gate. */
function readSystemTarget(processor: Processor, d: Descriptor): Descriptor | undefined {
  const code = selectorCode(d.selector);
  if (!isSystem(d)) throw GP(code);
  const type = systemType(d);
  if (type === SystemType.callGate) return undefined;
  if (isIa32e(processor.state)) throw GP(code);
  if (type === SystemType.callGate16) return undefined;
  if (d.dpl < Math.max(processor.state.cpl, rplOf(d.selector))) throw GP(code);
  if (type !== SystemType.taskGate) return readTaskDescriptor(processor, d.selector);
  if (!isPresent(d)) throw NP(code);
  return readTaskDescriptor(processor, d.low >>> 16);
}

/** RET far, with or without an immediate count of bytes to release. */
export const RETF: SystemInstruction = (cpu, insn) => {
  const sizeBytes = insn.operandSize / 8;
  const operand = insn.operandCount > 0 ? insn.operand(0) : undefined;
  const release = operand?.kind === 'immediate' ? operand.value & 0xffff : 0;
  const frame = new PopFrame(cpu);
  const offset = frame.popNumber(sizeBytes);
  const selector = frame.popSelector(sizeBytes);
  if (usesRealSelectors(cpu.state)) {
    checkRealTarget(cpu, { selector, offset });
    frame.skip(release);
    frame.commit();
    return jumpReal(cpu, { selector, offset });
  }
  returnTo(cpu, frame, { selector, offset }, { sizeBytes, release });
};

interface ReturnForm {
  readonly sizeBytes: number;
  readonly release: number;
}

function returnTo(processor: Processor, frame: PopFrame, target: FarPointer, form: ReturnForm): void {
  const { state } = processor;
  const d = readReturnCode(processor, target.selector);
  const rpl = rplOf(target.selector);
  frame.skip(form.release);
  if (rpl === state.cpl) {
    checkTarget(processor, d, target.offset);
    const attributes = markAccessed(processor, d);
    frame.commit();
    commitCode(state, d, attributes, rpl);
    refreshMode(processor);
    return processor.jump(target.offset);
  }
  const stackPointer = frame.popNumber(form.sizeBytes);
  const stackSelector = frame.popSelector(form.sizeBytes);
  returnToOuter(processor, d, target.offset, { selector: stackSelector, pointer: stackPointer, release: form.release });
}
