/** Hardware task switches (SDM volume 3, "Task Switching"), which exist outside of IA-32e mode only. */

import { type LinearAddress, low32, plus } from '../isa/linear-address.ts';
import { commitCode } from './code-segment.ts';
import {
  type Descriptor,
  descriptorBase,
  descriptorLimit,
  type FaultOf,
  isCode,
  isConforming,
  isNullSelector,
  isPresent,
  isReadable,
  isSystem,
  markAccessed,
  readDescriptor,
  rplOf,
  SystemType,
  selectorCode,
  systemType,
} from './descriptors.ts';
import { GP, GuestFault, NP, TS } from './events.ts';
import { WRITABLE_FLAGS } from './flags.ts';
import { isVirtual8086, refreshMode } from './modes.ts';
import { Privilege, type Processor } from './processor.ts';
import { ACCESS, CR0, DR6, DR7, hasBit, RFLAGS } from './register-bits.ts';
import { checkStackDescriptor, commitSegment, commitSystemSegment, loadNull, loadRealSegment } from './segmentation.ts';
import { commitToCurrentStack, currentStack } from './stack.ts';
import { CS, DS, ES, FS, GS, LDTR, SS, TR } from './state.ts';
import {
  holdsTask,
  loadTaskRegisters,
  probePreviousTask,
  probeTask,
  readPreviousTask,
  readTask,
  saveTask,
  type TaskImage,
  type TaskSegment,
  takesTask,
  writePreviousTask,
} from './task-image.ts';

export type TaskSwitchSource = 'call' | 'iret' | 'jmp' | 'idt';

export interface TaskSwitch {
  readonly source: TaskSwitchSource;
  /** EIP and EFLAGS of the task that is left. */
  readonly returnIp: number;
  readonly flags: number;
  /** EXT bit of the error codes. */
  readonly ext: number;
  /** Of the exception whose handler the new task is: goes onto its stack. */
  readonly errorCode?: number | undefined;
}

/** In the type of a TSS descriptor. */
const BUSY = 2;
const TSS_TYPES: readonly number[] = [
  SystemType.tss16Available,
  SystemType.tss16Busy,
  SystemType.tssAvailable,
  SystemType.tssBusy,
];

/**
 * The descriptor of the TSS that a selector names: in the GDT, available (for IRET: busy), present. `fault` is thrown
 * for all that is wrong but presence.
 */
export function readTaskDescriptor(
  processor: Processor,
  selector: number,
  { fault = GP, ext = 0, busy = false }: { fault?: FaultOf; ext?: number; busy?: boolean } = {},
): Descriptor {
  const code = selectorCode(selector) | ext;
  if (isNullSelector(selector) || selector & 4) throw fault(code);
  const d = readDescriptor(processor, selector, () => fault(code));
  const type = systemType(d);
  if (!isSystem(d) || !TSS_TYPES.includes(type) || ((type & BUSY) !== 0) !== busy) throw fault(code);
  if (!isPresent(d)) throw NP(code);
  return d;
}

/** The descriptor of the task that the current one returns to by IRET. */
export function readPreviousTaskDescriptor(processor: Processor): Descriptor {
  const selector = readPreviousTask(processor, currentTask(processor));
  return readTaskDescriptor(processor, selector, { fault: TS, busy: true });
}

const taskOf = (d: Descriptor): TaskSegment => ({
  base: descriptorBase(d),
  limit: descriptorLimit(d),
  wide: (systemType(d) & ~BUSY) === SystemType.tssAvailable,
});

function currentTask({ state }: Processor): TaskSegment {
  const { base, limit, attributes } = state.segment(TR);
  return { base: low32(base), limit, wide: (attributes & ACCESS.TYPE & ~BUSY) === SystemType.tssAvailable };
}

/**
 * Switches to the task of a TSS descriptor that has been checked. Faults of the old task are thrown, with nothing
 * changed; that of the new one, whose registers are loaded then, is returned.
 */
export function switchTask(processor: Processor, d: Descriptor, how: TaskSwitch): GuestFault | undefined {
  const { source, ext } = how;
  const next = taskOf(d);
  const nests = source === 'call' || source === 'idt';
  if (!holdsTask(next)) throw TS(selectorCode(d.selector) | ext);
  checkAccess(processor, next, d, how);
  leaveTask(processor, how);
  if (nests) writePreviousTask(processor, next, processor.state.segment(TR).selector);
  if (source !== 'iret') setBusy(processor, d.address, true);
  const image = readTask(processor, next);
  commitSystemSegment(processor.state, TR, d, 0, d.attributes | BUSY);
  try {
    enterTask(processor, image, nests, next.wide, how);
  } catch (thrown) {
    if (thrown instanceof GuestFault) return thrown;
    throw thrown;
  }
  return undefined;
}

/** Raises what any access of the old task would, before the first one has an effect. */
function checkAccess(processor: Processor, next: TaskSegment, d: Descriptor, { source, ext }: TaskSwitch): void {
  const { memory, state } = processor;
  const tr = state.segment(TR);
  const old = currentTask(processor);
  if (hasBit(tr.attributes, ACCESS.UNUSABLE) || !takesTask(old)) throw TS(selectorCode(tr.selector) | ext);
  probeTask(processor, old);
  readTask(processor, next);
  if (source === 'call' || source === 'idt') probePreviousTask(processor, next);
  memory.probeWrite(plus(d.address, 5), 1, Privilege.Supervisor);
  memory.probeWrite(currentDescriptor(processor) + 5, 1, Privilege.Supervisor);
}

/** Linear address of the descriptor of the current TSS. */
const currentDescriptor = ({ state }: Processor): number =>
  low32(plus(state.gdtrBase, state.segment(TR).selector & 0xfff8));

function setBusy({ memory }: Processor, descriptor: LinearAddress, busy: boolean): void {
  const attributes = memory.readU8(plus(descriptor, 5), Privilege.Supervisor);
  memory.writeU8(plus(descriptor, 5), busy ? attributes | BUSY : attributes & ~BUSY, Privilege.Supervisor);
}

/** A task that does not nest another stops being busy; IRET leaves it without NT. */
function leaveTask(processor: Processor, { source, returnIp, flags }: TaskSwitch): void {
  if (source === 'jmp' || source === 'iret') setBusy(processor, currentDescriptor(processor), false);
  saveTask(processor, currentTask(processor), returnIp, source === 'iret' ? flags & ~RFLAGS.NT : flags);
}

/** Loads the new task. All registers but the segments are there before the first check. */
function enterTask(processor: Processor, image: TaskImage, nests: boolean, wide: boolean, how: TaskSwitch): void {
  const { state, tlb } = processor;
  state.cr0 = (state.cr0 | CR0.TS) >>> 0;
  state.rip = image.ip;
  processor.transferred = true;
  loadTaskRegisters(processor, image);
  state.dr7 &= ~DR7.LOCAL;
  for (const [index, selector] of image.selectors.entries()) {
    if (index === CS) state.segment(CS).selector = selector;
    else loadNull(state, index, selector);
  }
  processor.writeFlags((image.flags & WRITABLE_FLAGS) | (nests ? RFLAGS.NT : 0));
  // Should SS not be loaded, the handler of that fault is to come with a stack of its own.
  processor.setCpl(3);
  if (image.cr3 !== undefined && hasBit(state.cr0, CR0.PG)) tlb.writeCr3(image.cr3, false);
  loadTaskLdtr(processor, image.ldt, how.ext);
  if (isVirtual8086(state))
    for (const [index, selector] of image.selectors.entries()) loadRealSegment(state, index, selector);
  else loadTaskSegments(processor, image, how.ext);
  refreshMode(processor);
  if (how.errorCode !== undefined) pushErrorCode(processor, how.errorCode, wide);
  if (image.ip > state.segment(CS).limit) throw GP(how.ext);
  if (image.trap) state.pendingDebug |= DR6.BT;
}

function pushErrorCode(processor: Processor, errorCode: number, wide: boolean): void {
  const frame = currentStack(processor);
  frame.push(errorCode, wide ? 4 : 2);
  commitToCurrentStack(processor, frame);
}

function loadTaskLdtr(processor: Processor, selector: number, ext: number): void {
  const { state } = processor;
  const ldtr = state.segment(LDTR);
  ldtr.selector = selector;
  ldtr.attributes = ACCESS.UNUSABLE;
  if (isNullSelector(selector)) return;
  const code = selectorCode(selector) | ext;
  if (selector & 4) throw TS(code);
  const d = readDescriptor(processor, selector, () => TS(code));
  if (!isSystem(d) || systemType(d) !== SystemType.ldt || !isPresent(d)) throw TS(code);
  commitSystemSegment(state, LDTR, d, 0, d.attributes);
}

/** CS and SS with the CPL that CS names, then the data segments (SDM volume 3, "Exception Conditions Checked During a Task Switch"). */
function loadTaskSegments(processor: Processor, { selectors }: TaskImage, ext: number): void {
  const { state } = processor;
  const selectorOf = (index: number) => selectors[index] as number;
  const cpl = rplOf(selectorOf(CS));
  const code = readTaskCode(processor, selectorOf(CS), ext);
  commitCode(state, code, markAccessed(processor, code), cpl);
  refreshMode(processor);
  const stack = readTaskSegment(processor, selectorOf(SS), ext);
  checkStackDescriptor(stack, cpl, TS, ext);
  commitSegment(state, SS, stack.selector, stack, markAccessed(processor, stack));
  processor.setCpl(cpl);
  for (const index of [DS, ES, FS, GS]) loadTaskData(processor, index, selectorOf(index), cpl, ext);
}

/** The descriptor of a selector that must not be null. */
function readTaskSegment(processor: Processor, selector: number, ext: number): Descriptor {
  const code = selectorCode(selector) | ext;
  if (isNullSelector(selector)) throw TS(code);
  return readDescriptor(processor, selector, () => TS(code));
}

function readTaskCode(processor: Processor, selector: number, ext: number): Descriptor {
  const code = selectorCode(selector) | ext;
  const d = readTaskSegment(processor, selector, ext);
  const rpl = rplOf(selector);
  if (!isCode(d) || (isConforming(d) ? d.dpl > rpl : d.dpl !== rpl)) throw TS(code);
  if (!isPresent(d)) throw NP(code);
  return d;
}

function loadTaskData(processor: Processor, index: number, selector: number, cpl: number, ext: number): void {
  if (isNullSelector(selector)) return;
  const code = selectorCode(selector) | ext;
  const d = readDescriptor(processor, selector, () => TS(code));
  const isAllowed = isConforming(d) || d.dpl >= Math.max(cpl, rplOf(selector));
  if (!isReadable(d) || !isAllowed) throw TS(code);
  if (!isPresent(d)) throw NP(code);
  commitSegment(processor.state, index, selector, d, markAccessed(processor, d));
}
