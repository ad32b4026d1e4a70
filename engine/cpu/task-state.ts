/** What is read from the task-state segment: inner stacks (SDM volume 3, "Task Management"). */

import { type LinearAddress, plus } from '../isa/linear-address.ts';
import { isCanonical } from './access.ts';
import {
  type Descriptor,
  descriptorBase,
  descriptorLimit,
  isNullSelector,
  markAccessed,
  readDescriptor,
  SystemType,
  selectorCode,
  tableAddress,
} from './descriptors.ts';
import { SS_, TS } from './events.ts';
import { Privilege, type Processor } from './processor.ts';
import { ACCESS } from './register-bits.ts';
import { checkStackDescriptor, commitSegment, loadNull } from './segmentation.ts';
import { innerStack, type PushFrame, writeStackPointer } from './stack.ts';
import { SS, TR } from './state.ts';

/** Linear address of a field of the current TSS; throws TS(TR selector) beyond its limit. */
function tssField(processor: Processor, offset: number, sizeBytes: number, ext: number): LinearAddress {
  const tr = processor.state.segment(TR);
  if (tr.attributes & ACCESS.UNUSABLE || offset + sizeBytes - 1 > tr.limit) throw TS(selectorCode(tr.selector) | ext);
  return tableAddress(processor, tr.base, offset);
}

/** A stack of an inner ring that has been checked but not yet switched to. */
export interface InnerStack {
  readonly selector: number;
  readonly descriptor: Descriptor;
  readonly attributes: number;
  readonly size: 16 | 32;
  /** Collects the pushes onto it. */
  readonly frame: PushFrame;
}

function readStackPair(processor: Processor, cpl: number, ext: number): { selector: number; pointer: number } {
  const { memory, state } = processor;
  const type = state.segment(TR).attributes & ACCESS.TYPE;
  if (type === SystemType.tss16Busy || type === SystemType.tss16Available) {
    const at = tssField(processor, 2 + cpl * 4, 4, ext);
    return {
      pointer: memory.readU16(at, Privilege.Supervisor),
      selector: memory.readU16(plus(at, 2), Privilege.Supervisor),
    };
  }
  const at = tssField(processor, 4 + cpl * 8, 6, ext);
  return {
    pointer: memory.readU32(at, Privilege.Supervisor),
    selector: memory.readU16(plus(at, 4), Privilege.Supervisor),
  };
}

/** Reads and checks SS:ESP of ring `cpl` outside IA-32e mode. `ext` is the EXT bit of error codes. */
export function openInnerStack(processor: Processor, cpl: number, ext: number): InnerStack {
  const { selector, pointer } = readStackPair(processor, cpl, ext);
  if (isNullSelector(selector)) throw TS(ext);
  const code = selectorCode(selector) | ext;
  const descriptor = readDescriptor(processor, selector, () => TS(code));
  checkStackDescriptor(descriptor, cpl, TS, ext);
  const attributes = markAccessed(processor, descriptor);
  const size = attributes & ACCESS.DB ? 32 : 16;
  const segment = { base: descriptorBase(descriptor), limit: descriptorLimit(descriptor), attributes };
  return { selector, descriptor, attributes, size, frame: innerStack(processor, segment, size, pointer, code) };
}

/** Loads SS:ESP; `pointer` is what the committed frame returned. The CPL is already the new one. */
export function commitInnerStack(processor: Processor, stack: InnerStack, pointer: LinearAddress): void {
  commitSegment(processor.state, SS, stack.selector, stack.descriptor, stack.attributes);
  writeStackPointer(processor, stack.size, pointer);
}

/** RSP of ring `cpl`, or of interrupt stack `ist` if that is not 0, in the 64-bit TSS. */
export function readInnerStackPointer64(processor: Processor, cpl: number, ist: number, ext: number): LinearAddress {
  const at = tssField(processor, ist > 0 ? 28 + ist * 8 : 4 + cpl * 8, 8, ext);
  const pointer = processor.memory.readLinearNumber64(at, Privilege.Supervisor);
  if (!isCanonical(processor.state, pointer)) throw SS_(ext);
  return pointer;
}

/** In 64-bit mode the inner stack segment is null, with the new CPL as RPL. */
export function commitInnerStack64(processor: Processor, cpl: number, pointer: LinearAddress): void {
  loadNull(processor.state, SS, cpl);
  writeStackPointer(processor, 64, pointer);
}
