/** Code segments as targets of control transfers: checks, and loading CS. */

import type { LinearAddress } from '../isa/linear-address.ts';
import { isCanonical } from './access.ts';
import { type Descriptor, descriptorLimit, isCode, isConforming, isPresent, markAccessed } from './descriptors.ts';
import { GP, NP } from './events.ts';
import { isIa32e, refreshMode } from './modes.ts';
import type { Processor } from './processor.ts';
import { ACCESS } from './register-bits.ts';
import { commitSegment } from './segmentation.ts';
import { currentStack, type PushFrame } from './stack.ts';
import { type CpuState, CS } from './state.ts';

/** Checks a code segment as a target at exactly `cpl`, or more privileged if conforming; `code` names the selector. */
export function checkCodeSegment(processor: Processor, d: Descriptor, rpl: number, cpl: number, code: number): void {
  if (!isCode(d)) throw GP(code);
  checkLongCode(processor, d, code);
  if (isConforming(d) ? d.dpl > cpl : rpl > cpl || d.dpl !== cpl) throw GP(code);
  if (!isPresent(d)) throw NP(code);
}

/** In IA-32e mode a code segment cannot be both 64-bit and D = 1. */
export function checkLongCode(processor: Processor, d: Descriptor, code: number): void {
  const both = ACCESS.L | ACCESS.DB;
  if (isIa32e(processor.state) && (d.attributes & both) === both) throw GP(code);
}

/** Whether a code descriptor makes 64-bit mode the mode in force. */
export const isLongCode = (processor: Processor, d: Descriptor): boolean =>
  isIa32e(processor.state) && (d.attributes & ACCESS.L) !== 0;

/** Loads CS; the RPL of the selector becomes the CPL. */
export function commitCode(state: CpuState, d: Descriptor, attributes: number, cpl: number): void {
  commitSegment(state, CS, (d.selector & 0xfffc) | cpl, d, attributes);
}

/** Checks that `offset` may be executed in a code segment; throws GP(0). */
export function checkTarget(processor: Processor, d: Descriptor, offset: LinearAddress): void {
  const valid = isLongCode(processor, d)
    ? isCanonical(processor.state, offset)
    : offset >= 0 && offset <= descriptorLimit(d);
  if (!valid) throw GP(0);
}

/** Loads CS from a checked descriptor at privilege level `cpl` and continues at `offset`. */
export function enterCode(processor: Processor, d: Descriptor, offset: LinearAddress, cpl: number): void {
  commitCode(processor.state, d, markAccessed(processor, d), cpl);
  processor.setCpl(cpl);
  refreshMode(processor);
  processor.jump(offset);
}

/** Pushes CS and the return address onto the current stack, without committing. */
export function pushReturnAddress(processor: Processor, sizeBytes: number, nextIp: LinearAddress): PushFrame {
  const frame = currentStack(processor);
  frame.push(processor.state.segment(CS).selector, sizeBytes);
  frame.push(nextIp, sizeBytes);
  return frame;
}
