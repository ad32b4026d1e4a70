/** Loading segment registers and the system segments, with the manual's checks (SDM volume 3, "Protection"). */

import { joined, plus } from '../isa/linear-address.ts';
import {
  type Descriptor,
  descriptorBase,
  descriptorLimit,
  type FaultOf,
  isConforming,
  isNullSelector,
  isPresent,
  isReadable,
  isSystem,
  isWritableData,
  markAccessed,
  readDescriptor,
  rplOf,
  SystemType,
  selectorCode,
  systemType,
  upperBase,
} from './descriptors.ts';
import { GP, NP, SS_ } from './events.ts';
import { is64Bit, isIa32e, isVirtual8086, refreshFastLimits, usesRealSelectors } from './modes.ts';
import { Privilege, type Processor } from './processor.ts';
import { ACCESS, BLOCKING } from './register-bits.ts';
import { type CpuState, LDTR, SS, TR } from './state.ts';

/** Present, accessed, writable data of DPL 3: what virtual-8086 mode loads. */
const VIRTUAL_8086_ATTRIBUTES = ACCESS.P | ACCESS.S | ACCESS.DPL | 3;

/** Loads ES, SS, DS, FS or GS as MOV, POP and LDS do; throws before anything is changed. */
export function loadDataSegment(processor: Processor, index: number, selector: number): void {
  const { state } = processor;
  if (usesRealSelectors(state)) return loadRealSegment(state, index, selector);
  if (isNullSelector(selector)) {
    if (index === SS) checkNullStack(state, selector);
    return loadNull(state, index, selector);
  }
  const descriptor = readDescriptor(processor, selector);
  if (index === SS) checkStackDescriptor(descriptor, state.cpl, GP);
  else checkDataDescriptor(descriptor, state.cpl);
  commitSegment(state, index, selector, descriptor, markAccessed(processor, descriptor));
}

/** The same for MOV SS and POP SS, which also hold off interrupts until after the next instruction. */
export function loadDataSegmentWithShadow(processor: Processor, index: number, selector: number): void {
  loadDataSegment(processor, index, selector);
  if (index === SS) processor.state.interruptibility |= BLOCKING.MOV_SS;
}

/** Real-address mode keeps limit and access rights; virtual-8086 mode sets them. */
export function loadRealSegment(state: CpuState, index: number, selector: number): void {
  const segment = state.segment(index);
  segment.selector = selector;
  segment.base = selector * 16;
  if (isVirtual8086(state)) {
    segment.limit = 0xffff;
    segment.attributes = VIRTUAL_8086_ATTRIBUTES;
  } else {
    segment.attributes = (segment.attributes & ~ACCESS.UNUSABLE) | ACCESS.P | ACCESS.S;
  }
  refreshFastLimits(state, index);
}

function checkNullStack(state: CpuState, selector: number): void {
  if (!is64Bit(state) || state.cpl === 3 || rplOf(selector) !== state.cpl) throw GP(0);
}

/** Checks of a stack segment for privilege level `cpl`; `fault` is GP for loads, TS for stack switches. */
export function checkStackDescriptor(d: Descriptor, cpl: number, fault: FaultOf, ext = 0): void {
  const code = selectorCode(d.selector) | ext;
  if (rplOf(d.selector) !== cpl || !isWritableData(d) || d.dpl !== cpl) throw fault(code);
  if (!isPresent(d)) throw SS_(code);
}

function checkDataDescriptor(d: Descriptor, cpl: number): void {
  const code = selectorCode(d.selector);
  if (!isReadable(d)) throw GP(code);
  if (!isConforming(d) && Math.max(cpl, rplOf(d.selector)) > d.dpl) throw GP(code);
  if (!isPresent(d)) throw NP(code);
}

/** Loads a null selector. SS keeps the CPL in its DPL, as VMX expects to find it. */
export function loadNull(state: CpuState, index: number, selector: number): void {
  const segment = state.segment(index);
  segment.selector = selector;
  segment.base = 0;
  segment.limit = 0;
  segment.attributes = ACCESS.UNUSABLE | (index === SS ? state.cpl << 5 : 0);
  refreshFastLimits(state, index);
}

/** Loads the hidden part from a descriptor that has been checked. */
export function commitSegment(
  state: CpuState,
  index: number,
  selector: number,
  descriptor: Descriptor,
  attributes: number,
): void {
  const segment = state.segment(index);
  segment.selector = selector;
  segment.base = descriptorBase(descriptor);
  segment.limit = descriptorLimit(descriptor);
  segment.attributes = attributes;
  refreshFastLimits(state, index);
}

/**
 * After a return to an outer ring, data segment registers that the new CPL may not use are made null
 * (SDM volume 2, RET, "RETURN-TO-OUTER-PRIVILEGE-LEVEL").
 */
export function dropInnerSegments(state: CpuState): void {
  for (const index of [0, 3, 4, 5]) {
    const { attributes } = state.segment(index);
    if (attributes & ACCESS.UNUSABLE) continue;
    const conforming = (attributes & (ACCESS.CODE | ACCESS.CONFORMING)) === (ACCESS.CODE | ACCESS.CONFORMING);
    if (!conforming && ((attributes >>> 5) & 3) < state.cpl) loadNull(state, index, 0);
  }
}

/** LLDT with its checks; a null selector makes LDTR unusable. */
export function loadLdtr(processor: Processor, selector: number): void {
  const { state } = processor;
  const ldtr = state.segment(LDTR);
  if (isNullSelector(selector)) {
    ldtr.selector = selector;
    ldtr.attributes = ACCESS.UNUSABLE;
    return;
  }
  const d = readSystemDescriptor(processor, selector, (type) => type === SystemType.ldt);
  const upper = isIa32e(state) ? upperBase(processor, d, GP) : 0;
  commitSystemSegment(state, LDTR, d, upper, d.attributes);
}

/** LTR with its checks; marks the TSS busy in the GDT. */
export function loadTr(processor: Processor, selector: number): void {
  const { state } = processor;
  if (isNullSelector(selector)) throw GP(0);
  const available = (type: number) =>
    type === SystemType.tssAvailable || (type === SystemType.tss16Available && !isIa32e(state));
  const d = readSystemDescriptor(processor, selector, available);
  const upper = isIa32e(state) ? upperBase(processor, d, GP) : 0;
  processor.memory.writeU8(plus(d.address, 5), ((d.high >>> 8) & 0xff) | 2, Privilege.Supervisor);
  commitSystemSegment(state, TR, d, upper, d.attributes | 2);
}

/** A present descriptor in the GDT of a type that `accepts` takes. */
function readSystemDescriptor(processor: Processor, selector: number, accepts: (type: number) => boolean): Descriptor {
  const code = selectorCode(selector);
  if (selector & 4) throw GP(code);
  const d = readDescriptor(processor, selector);
  if (!isSystem(d) || !accepts(systemType(d))) throw GP(code);
  if (!isPresent(d)) throw NP(code);
  return d;
}

/** Loads LDTR or TR from a descriptor that has been checked; `upper` are bits 63:32 of the base. */
export function commitSystemSegment(
  state: CpuState,
  index: number,
  d: Descriptor,
  upper: number,
  attributes: number,
): void {
  const segment = state.segment(index);
  segment.selector = d.selector;
  segment.base = joined(upper, descriptorBase(d));
  segment.limit = descriptorLimit(d);
  segment.attributes = attributes;
}
