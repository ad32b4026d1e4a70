/** IRET, IRETD, IRETQ (SDM volume 2, "IRET/IRETD/IRETQ"). */

import type { LinearAddress } from '../isa/linear-address.ts';
import { checkTarget, commitCode } from './code-segment.ts';
import { markAccessed, rplOf } from './descriptors.ts';
import { GP, GuestFault } from './events.ts';
import { iopl, readFlags, WRITABLE_FLAGS } from './flags.ts';
import type { DecodedInstruction, SystemInstruction } from './instruction.ts';
import { is64Bit, isIa32e, isRealMode, isVirtual8086, refreshMode } from './modes.ts';
import { readReturnCode, returnToOuter } from './privilege-return.ts';
import type { Processor } from './processor.ts';
import { BLOCKING, RFLAGS } from './register-bits.ts';
import { loadRealSegment } from './segmentation.ts';
import { PopFrame } from './stack.ts';
import { CS } from './state.ts';
import { returnToPreviousTask } from './task-transfer.ts';
import { iretVirtual8086, returnToVirtual8086 } from './virtual-8086.ts';

interface Popped {
  readonly offset: LinearAddress;
  readonly selector: number;
  readonly flags: number;
}

function popFrame(frame: PopFrame, sizeBytes: number): Popped {
  const offset = frame.popNumber(sizeBytes);
  const selector = frame.popSelector(sizeBytes);
  const flags = frame.popLow32(sizeBytes) | 0;
  return { offset, selector, flags };
}

function iret(cpu: Processor, insn: DecodedInstruction, sizeBytes: 2 | 4 | 8): void {
  const { state } = cpu;
  cpu.intercepts?.onIret?.();
  const unblocks = unblockNmis(cpu);
  cpu.memory.nmiUnblockingDueToIret = unblocks;
  try {
    if (isRealMode(state)) iretReal(cpu, sizeBytes);
    else if (isVirtual8086(state)) iretVirtual8086(cpu, sizeBytes);
    else if (state.flagsOther & RFLAGS.NT) iretNested(cpu, insn);
    else iretProtected(cpu, sizeBytes);
  } catch (event) {
    if (unblocks && event instanceof GuestFault) event.unblockedNmi = true;
    throw event;
  } finally {
    cpu.memory.nmiUnblockingDueToIret = false;
  }
}

function iretNested(cpu: Processor, insn: DecodedInstruction): void {
  if (isIa32e(cpu.state)) throw GP(0);
  returnToPreviousTask(cpu, insn.nextIp);
}

/** NMIs are unblocked even if the return faults (SDM volume 3, "Handling Multiple NMIs"). Returns whether they were blocked. */
function unblockNmis({ state, intercepts }: Processor): boolean {
  if ((state.interruptibility & BLOCKING.NMI) === 0 || intercepts?.keepsNmisBlocked) return false;
  state.interruptibility &= ~BLOCKING.NMI;
  return true;
}

function iretReal(cpu: Processor, sizeBytes: 2 | 4 | 8): void {
  const { state } = cpu;
  const frame = new PopFrame(cpu);
  const { offset, selector, flags } = popFrame(frame, sizeBytes);
  if (offset > state.segment(CS).limit) throw GP(0);
  frame.commit();
  // Real-address mode has no privilege: everything but the virtual-8086 bits is loaded.
  writeReturnedFlags(cpu, flags, sizeBytes, WRITABLE_FLAGS & ~(RFLAGS.VM | RFLAGS.VIF | RFLAGS.VIP));
  loadRealSegment(state, CS, selector);
  refreshMode(cpu);
  cpu.jump(offset);
}

function iretProtected(cpu: Processor, sizeBytes: 2 | 4 | 8): void {
  const { state } = cpu;
  const frame = new PopFrame(cpu);
  const popped = popFrame(frame, sizeBytes);
  if (popped.flags & RFLAGS.VM && state.cpl === 0 && sizeBytes === 4 && !isIa32e(state)) {
    return returnToVirtual8086(cpu, frame, popped);
  }
  const d = readReturnCode(cpu, popped.selector);
  const mask = loadableFlags(cpu);
  const restoreFlags = () => writeReturnedFlags(cpu, popped.flags, sizeBytes, mask);
  if (rplOf(popped.selector) > state.cpl || is64Bit(state)) {
    const pointer = frame.popNumber(sizeBytes);
    const selector = frame.popSelector(sizeBytes);
    return returnToOuter(cpu, d, popped.offset, { selector, pointer, release: 0 }, restoreFlags);
  }
  checkTarget(cpu, d, popped.offset);
  const attributes = markAccessed(cpu, d);
  frame.commit();
  restoreFlags();
  commitCode(state, d, attributes, state.cpl);
  refreshMode(cpu);
  cpu.jump(popped.offset);
}

/** Flags that IRET may change at the CPL it starts from. */
function loadableFlags({ state }: Processor): number {
  let mask = WRITABLE_FLAGS & ~RFLAGS.VM;
  if (state.cpl > 0) mask &= ~(RFLAGS.IOPL | RFLAGS.VIF | RFLAGS.VIP);
  if (state.cpl > iopl(state)) mask &= ~RFLAGS.IF;
  return mask;
}

function writeReturnedFlags(cpu: Processor, flags: number, sizeBytes: number, allowed: number): void {
  const mask = sizeBytes === 2 ? allowed & 0xffff : allowed;
  cpu.writeFlags((readFlags(cpu.state) & ~mask) | (flags & mask));
}

export const IRET: SystemInstruction = (cpu, insn) => iret(cpu, insn, 2);
export const IRETD: SystemInstruction = (cpu, insn) => iret(cpu, insn, 4);
export const IRETQ: SystemInstruction = (cpu, insn) => iret(cpu, insn, 8);
