/** Returns to code that a far transfer or an event left: what RET far and IRET share. */

import { type LinearAddress, plus } from '../isa/linear-address.ts';
import { checkLongCode, checkTarget, commitCode, isLongCode } from './code-segment.ts';
import {
  type Descriptor,
  isCode,
  isConforming,
  isNullSelector,
  isPresent,
  markAccessed,
  readDescriptor,
  rplOf,
  selectorCode,
} from './descriptors.ts';
import { GP, NP } from './events.ts';
import { refreshMode, stackSize } from './modes.ts';
import type { Processor } from './processor.ts';
import { checkStackDescriptor, commitSegment, dropInnerSegments, loadNull } from './segmentation.ts';
import { readStackPointer, writeStackPointer } from './stack.ts';
import { SS } from './state.ts';

/** Checks of the return code segment that RET and IRET share; returns its descriptor. */
export function readReturnCode(processor: Processor, selector: number): Descriptor {
  if (isNullSelector(selector)) throw GP(0);
  const d = readDescriptor(processor, selector);
  const code = selectorCode(selector);
  const rpl = rplOf(selector);
  if (!isCode(d) || rpl < processor.state.cpl) throw GP(code);
  checkLongCode(processor, d, code);
  if (isConforming(d) ? d.dpl > rpl : d.dpl !== rpl) throw GP(code);
  if (!isPresent(d)) throw NP(code);
  return d;
}

/** Stack that a return to an outer ring restores; `release` bytes of parameters are taken off it too. */
export interface OuterStack {
  readonly selector: number;
  readonly pointer: LinearAddress;
  readonly release: number;
}

/** Loads CS:RIP and SS:RSP of an outer ring (or, for IRETQ, of the same ring), all checks first. */
export function returnToOuter(
  processor: Processor,
  d: Descriptor,
  offset: LinearAddress,
  stack: OuterStack,
  beforeCommit: () => void = () => {},
): void {
  const { state } = processor;
  const cpl = rplOf(d.selector);
  const outer = cpl > state.cpl;
  const loadStack = prepareReturnStack(processor, d, stack.selector, cpl);
  checkTarget(processor, d, offset);
  const attributes = markAccessed(processor, d);
  beforeCommit();
  commitCode(state, d, attributes, cpl);
  processor.setCpl(cpl);
  loadStack();
  refreshMode(processor);
  const size = stackSize(state);
  writeStackPointer(processor, size, stack.pointer);
  if (stack.release > 0) writeStackPointer(processor, size, plus(readStackPointer(processor, size), stack.release));
  if (outer) dropInnerSegments(state);
  processor.jump(offset);
}

/** Checks SS of the ring returned to; the result loads it. */
function prepareReturnStack(processor: Processor, code: Descriptor, selector: number, cpl: number): () => void {
  const { state } = processor;
  if (isNullSelector(selector)) {
    if (!isLongCode(processor, code) || cpl === 3 || rplOf(selector) !== cpl) throw GP(0);
    return () => loadNull(state, SS, selector);
  }
  const d = readDescriptor(processor, selector);
  checkStackDescriptor(d, cpl, GP);
  const attributes = markAccessed(processor, d);
  return () => commitSegment(state, SS, selector, d, attributes);
}
